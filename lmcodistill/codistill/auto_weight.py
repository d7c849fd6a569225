"""The distillation weight that the predictions themselves ask for.

Where student and teachers disagree, the labels say who is right. Let p be the
student's probabilities of all tokens, q the teachers' mean and y the label as
a vector. The step from p towards q that comes nearest to the labels, in squared
error, is

    share = sum (y - p) . (q - p)  /  sum |q - p|^2
          = 1/2 + (sum |y - p|^2 - sum |y - q|^2) / (2 sum |q - p|^2)

over text that neither was trained on: 1/2 for two models of equal Brier score,
whatever they disagree about, less for a worse teacher. The term phi + w * psi asks for
the mixture (y + w * q) / (1 + w), which is `share` of q for w = share / (1 - share).
docs/guide/algorithm.md has the derivation, its two conditions and what they leave open.

A student that falls behind confirms its teachers, whatever made it fall behind, if
need be their lessons. So the weight is not raised while it does. It falls behind while
its cross entropy is above the mean of its teachers' own, and by more than it once was;
both are running means over the memory of the share. At the first measurement it was
taught nothing yet: who is behind then is not so because of lessons.

Differs from the paper: there the weight is 1.0 throughout. Pure arithmetic.
"""

import dataclasses
import math
from typing import NamedTuple


class Measurement(NamedTuple):
    """What a text says of student and teachers, summed over its tokens.

    Attributes:
        confirmed: (y - p) . (q - p).
        disagreement: |q - p|^2.
        student_nats: The student's cross entropy.
        teacher_nats: The mean of the teachers' own.
        tokens: How many.
    """

    confirmed: float
    disagreement: float
    student_nats: float
    teacher_nats: float
    tokens: float

    @property
    def is_finite(self) -> bool:
        """Whether it can be used; one that is not would spoil the sums for ever."""
        return all(map(math.isfinite, self))


@dataclasses.dataclass
class AutoWeight:
    """A running estimate of the share, and the weight that follows from it.

    Attributes:
        memory: Share of the sums that stays at a measurement.
        confirmed: Running sum; see `Measurement`, as of the next four.
        disagreement: Running sum.
        student_nats: Running sum.
        teacher_nats: Running sum.
        tokens: Running sum; 0.0 before the first measurement.
        least_lead: The smallest lead of the teachers so far, nats per token; None
            before the first measurement.
        falls_behind: Whether the teachers lead, and by more than once before.
        weight: That of the last update with teachers.
    """

    memory: float
    confirmed: float = 0.0
    disagreement: float = 0.0
    student_nats: float = 0.0
    teacher_nats: float = 0.0
    tokens: float = 0.0
    least_lead: float | None = None
    falls_behind: bool = False
    weight: float = 0.0

    def observe(self, measured: Measurement) -> None:
        """Adds a measurement; those before it fade."""
        for name, value in measured._asdict().items():
            setattr(self, name, self.memory * getattr(self, name) + value)
        least = self.lead if self.least_lead is None else self.least_lead
        self.falls_behind = self.lead > max(0.0, least)
        self.least_lead = min(least, self.lead)

    @property
    def share(self) -> float:
        """How far from p to q the labels are; 0.0 where p and q are the same."""
        return self.confirmed / self.disagreement if self.disagreement else 0.0

    @property
    def lead(self) -> float:
        """By how much the teachers are better than the student, nats per token."""
        return (self.student_nats - self.teacher_nats) / self.tokens

    def next(self, limit: float) -> float:
        """Returns the weight of an update, from 0.0 to `limit`."""
        share = max(0.0, self.share)
        weight = min(limit, share / (1.0 - share)) if share < 1.0 else limit
        if self.falls_behind:
            weight = min(weight, self.weight)
        self.weight = weight
        return weight
