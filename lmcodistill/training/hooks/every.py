"""When something happens that has a period."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Every:
    """Every `period` steps, and at the last step of a run whatever the period.

    Attributes:
        period: In steps; 0: never, not even at the last.
        last: The last step of the run.
    """

    period: int
    last: int

    def is_due(self, step: int) -> bool:
        """Returns whether it is `step`'s turn; never at 0."""
        if self.period == 0 or step == 0:
            return False
        return step % self.period == 0 or self.is_last(step)

    def is_last(self, step: int) -> bool:
        """Returns whether the run ends at `step`."""
        return step == self.last
