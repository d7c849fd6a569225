"""The distillation weight that the predictions themselves ask for.

Where student and teachers disagree, the labels say who is right. Let p be the
student's probabilities of all tokens, q the teachers' mean and y the label as
a vector. The step from p towards q that comes nearest to the labels, in squared
error, is

    share = sum (y - p) . (q - p)  /  sum |q - p|^2

over fresh positions: 1/2 for two models of equal strength whose errors have
nothing to do with each other, 0 where the teachers know nothing that the student
does not know, or the student has learnt the text by heart. The term phi + w * psi
asks for the mixture (y + w * q) / (1 + w), which is `share` of q for
w = share / (1 - share): the paper's w = 1.0 for two equal models.

Differs from the paper: there the weight is 1.0 throughout. Pure arithmetic.
"""

import dataclasses


@dataclasses.dataclass
class AutoWeight:
    """A running estimate of the share.

    Attributes:
        memory: Share of the sums that stays at a measurement.
        confirmed: Running sum of the numerator.
        disagreement: Running sum of the denominator.
    """

    memory: float
    confirmed: float = 0.0
    disagreement: float = 0.0

    def observe(self, confirmed: float, disagreement: float) -> None:
        """Adds the sums of a batch."""
        self.confirmed = self.memory * self.confirmed + confirmed
        self.disagreement = self.memory * self.disagreement + disagreement

    def at_most(self, limit: float) -> float:
        """Returns the weight, from 0.0 to `limit`."""
        if self.confirmed <= 0.0 or self.disagreement <= 0.0:
            return 0.0
        if self.confirmed >= self.disagreement:
            return limit
        return min(limit, self.confirmed / (self.disagreement - self.confirmed))
