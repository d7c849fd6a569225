"""The loop: updates, one after the other, and what happens between them.

The same on every worker of a group. What only the chief does stands in `Chief`,
which does nothing elsewhere.
"""

import collections
import dataclasses
import enum
from collections.abc import Callable
from typing import NamedTuple

from lmcodistill import errors
from lmcodistill.model import gradient_angle
from lmcodistill.storage import faults, publication
from lmcodistill.training import divergence
from lmcodistill.training import step as step_lib
from lmcodistill.training import student as student_lib
from lmcodistill.training.hooks import checkpoint as checkpoint_lib
from lmcodistill.training.hooks import evaluate as evaluate_lib
from lmcodistill.training.hooks import gradients as gradients_lib
from lmcodistill.training.hooks import reload as reload_lib

# Steps between an update and the look at its totals: by then they have long
# arrived, so looking never waits for the device.
_LAG = 2


class Outcome(enum.Enum):
    """How a stretch of training ended."""

    DONE = "done"
    STOPPED = "stopped"
    ROLLED_BACK = "rolled_back"


class Ending(NamedTuple):
    """How a stretch of training ended, and at which step."""

    outcome: Outcome
    step: int


# The step that an update reached, and its results, which may still be on their way.
Updates = collections.deque[tuple[int, step_lib.Totals, step_lib.Control]]


def _nothing(*_: object, **__: object) -> None:
    pass


@dataclasses.dataclass(frozen=True)
class Chief:
    """What the chief does beside training; elsewhere nothing.

    Attributes:
        owner: Its right to write in the student's folder.
        publish: Before the update of a step, and once after the last.
        settle: Before a checkpoint: waits for exports that must not be missing.
        report: After an update, with the step that it reached and its totals.
        angle: Before the update of a step, with the angle of the two gradients.
        score: After an evaluation, with its step and its result.
    """

    owner: publication.Owner | None = None
    publish: Callable[[int], None] = _nothing
    settle: Callable[[], None] = _nothing
    report: Callable[[int, step_lib.Totals], None] = _nothing
    angle: Callable[[int, gradient_angle.GradientAngle], None] = _nothing
    score: Callable[[int, evaluate_lib.Score], None] = _nothing


@dataclasses.dataclass
class Loop:
    """One stretch of training: from a checkpoint to the end, or to the next one.

    Attributes:
        last: The step at which training is done.
        student: What is trained.
        chief: What the chief does besides.
        reload: Swaps teachers.
        gradients: Compares the gradients of the two terms.
        evaluate: Scores the held-out text.
        checkpoint: Saves.
        guard: Judges the updates.
        asked_to_stop: Whether this worker was.
        asked_to_save: Whether this worker was asked for a checkpoint.
        on_step: Called before each update: training goes on.
        beat: After everything else, with the step that was reached.
    """

    last: int
    student: student_lib.Student
    chief: Chief
    reload: reload_lib.Reload
    gradients: gradients_lib.Gradients
    evaluate: evaluate_lib.Evaluate
    checkpoint: checkpoint_lib.Checkpoint
    guard: divergence.Guard
    asked_to_stop: Callable[[], bool]
    asked_to_save: Callable[[], bool]
    on_step: Callable[[int], None]
    beat: Callable[..., None] = _nothing

    def run(self, first: int) -> Ending:
        """Makes the updates from step `first` on. Collective.

        Raises:
            GroupLostError: what peers published did not come in time.
            DivergedError: too many updates were not finite.
            SnapshotError: no checkpoint, or not the last export, can be saved.
        """
        updates: Updates = collections.deque()
        for step in range(first, self.last):
            self.on_step(step)
            faults.point("update")
            self.chief.publish(step)
            try:
                self.reload(step)
            except reload_lib.WaitStopped:
                self.checkpoint(step, is_last=True)
                return Ending(Outcome.STOPPED, step)
            self.gradients(step)
            control = step_lib.Control(
                self.asked_to_stop(), self.reload.announce(), self.asked_to_save()
            )
            reached = step + 1
            totals, agreed = self.student.update(step, control)
            updates.append((reached, totals, agreed))
            self.chief.report(reached, totals)
            self.evaluate(reached)
            # Saving waits for the device in any case, and only good states are saved.
            is_due = self.checkpoint.is_due(reached)
            outcome = self._settle(updates, 0 if is_due else _LAG, reached)
            if outcome is not Outcome.ROLLED_BACK:
                outcome = self._save(reached, is_due, outcome) or outcome
            if outcome is not None:
                return Ending(outcome, reached)
            self.beat(reached)
        end = max(first, self.last)  # An earlier start may have gone further.
        self.on_step(end)
        self.chief.publish(end)
        self.beat(end, force=True)
        return Ending(Outcome.DONE, end)

    def _settle(self, updates: Updates, lag: int, reached: int) -> Outcome | None:
        """Acts on all but the last `lag` updates; returns how training ends, if so."""
        outcome = None
        while len(updates) > lag:
            step, totals, agreed = updates.popleft()
            verdict = self.guard.look(step, totals)
            if verdict is divergence.Verdict.ROLL_BACK:
                return self._rolled_back()
            if verdict is divergence.Verdict.DROP_TEACHERS:
                self.student.teachers.swap([], reached)
            if float(agreed.teachers_ready):
                self.reload.swap_staged(reached)
            if float(agreed.save):
                self.checkpoint.ask()
            if float(agreed.stop):
                outcome = Outcome.STOPPED
        return outcome

    def _save(
        self, reached: int, is_due: bool, outcome: Outcome | None
    ) -> Outcome | None:
        """Saves where that is due, or training ends; returns whether it goes back."""
        is_last = outcome is Outcome.STOPPED or reached == self.last
        if not is_last and (not is_due or self.guard.skipped_in_a_row):
            return None
        try:
            self.checkpoint(reached, is_last)
        except errors.DivergedError:
            self.guard.roll_back(reached, "a weight is not finite")
            return self._rolled_back()
        return None

    def _rolled_back(self) -> Outcome:
        """Returns `ROLLED_BACK` where there is a checkpoint to go back to."""
        if not self.checkpoint.exists():
            raise self.guard.gave_up("There is no checkpoint to go back to")
        return Outcome.ROLLED_BACK
