"""What updates that are not finite mean: go on, roll back, give up.

The update itself skips what is not finite (`step`). Here the totals of every
update are judged, in order. They are the group's, so all workers come to the same
verdict at the same step, however many steps late they look: nothing waits for the
device. Pure but for the log.
"""

import enum
import logging
import math

from lmcodistill import errors
from lmcodistill.settings import training
from lmcodistill.training import step

# A guess among all pieces has log V; a model that is worse than twice that is lost.
_LOST = 2.0

log = logging.getLogger("lmcodistill")


class Verdict(enum.Enum):
    """What to do after an update."""

    GO_ON = "go_on"
    DROP_TEACHERS = "drop_teachers"
    ROLL_BACK = "roll_back"


class Guard:
    """Watches the updates since the last restore.

    Attributes:
        skipped_in_a_row: Updates up to the latest that were skipped. While there
            are any, the state is no good one to go back to.
    """

    def __init__(self, settings: training.Training, rollbacks: int):
        """Has seen nothing yet; the student went back `rollbacks` times so far."""
        self._settings, self._rollbacks = settings, rollbacks
        self.skipped_in_a_row = 0
        self._cause = ""

    def look(self, reached: int, totals: step.Totals) -> Verdict:
        """Judges the update that reached a step.

        Teachers are dropped where the labels' loss is finite and theirs is not; a
        later reload may bring better ones.

        Raises:
            DivergedError: too many were skipped, and a rollback is not allowed.
        """
        if not float(totals.skipped):
            self.skipped_in_a_row = 0
            return Verdict.GO_ON
        self.skipped_in_a_row += 1
        values = step.Totals(*map(float, totals))
        label, soft = values.label_loss, values.soft_loss
        teacher_label, norm = values.teacher_label_loss, values.gradient_norm
        log.warning(
            "step=%d event=update_skipped in_a_row=%d label_loss=%g soft_loss=%g "
            "teacher_label_loss=%g gradient_norm=%g",
            *(reached, self.skipped_in_a_row, label, soft, teacher_label, norm),
        )
        if self.skipped_in_a_row > self._settings.max_skipped_updates:
            return self.roll_back(
                reached,
                f"{self.skipped_in_a_row} updates in a row were not finite: the loss "
                f"on the labels was {label:g}, on the soft targets {soft:g}, the "
                f"gradient norm {norm:g}",
            )
        if math.isfinite(label) and not math.isfinite(soft + teacher_label):
            return Verdict.DROP_TEACHERS
        return Verdict.GO_ON

    def roll_back(self, reached: int, cause: str) -> Verdict:
        """Returns `ROLL_BACK` where that is still allowed.

        Raises:
            DivergedError: it is not; `cause` is why, without a full stop.
        """
        self._cause = f"Training diverged at step {reached}: {cause}"
        if self._rollbacks >= self._settings.max_rollbacks:
            raise self.gave_up(
                f"It went back to a checkpoint {self._rollbacks} times, and "
                f"Training.max_rollbacks is {self._settings.max_rollbacks}"
            )
        log.warning(
            "step=%d event=rolling_back rollback=%d learning_rate_factor=%g cause=%s",
            *(reached, self._rollbacks + 1),
            self._settings.rollback_rate_factor ** (self._rollbacks + 1),
            cause,
        )
        return Verdict.ROLL_BACK

    def gave_up(self, why: str) -> errors.DivergedError:
        """Returns the error that ends the run; `why` has no full stop."""
        return errors.DivergedError(
            f"{self._cause}. {why}. Nothing that is not finite was saved. Lower "
            "LEARNING_RATE, or clip gradients harder with Optimizer.clip_norm (0.0 "
            "never clips), and start the same command again with "
            "--accept_changed_config: it goes on from the last checkpoint, or from the "
            "beginning where there is none."
        )


def is_lost(cross_entropy: float, vocab_size: int) -> bool:
    """Returns whether a mean cross entropy, in nats per token, tells of divergence."""
    return not cross_entropy <= _LOST * math.log(vocab_size)
