"""Checkpoints between updates: when to save, and what to do where storage refuses."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from lmcodistill import errors
from lmcodistill.exports import writer
from lmcodistill.settings import training
from lmcodistill.storage import places, publication
from lmcodistill.training import checkpoints, cluster
from lmcodistill.training import student as student_lib
from lmcodistill.training.hooks.every import Every

# A pause between tries, in durations of a try.
_PAUSE = 9.0
# How often the last checkpoint of a run is tried: for about half a minute.
_LAST_TRIES = 6

log = logging.getLogger("lmcodistill")


class Checkpoint:
    """Saves what a restart needs. Collective: the streams are gathered.

    Where storage refuses, training goes on and the save is tried again after 1, 2,
    4, ... more steps, or later where storage takes long to refuse: no more than a
    tenth of the time goes into trying. The checkpoints before stay as they are.
    """

    def __init__(
        self,
        settings: training.Training,
        folder: places.Place,
        group: cluster.Group,
        student: student_lib.Student,
        *,
        key: bytes | None,
        owner: publication.Owner | None,
        settle: Callable[[], None] = lambda: None,
        on_save: Callable[[], None] = lambda: None,
        on_answer: Callable[[int], None] = lambda _: None,
    ):
        """Saves nothing yet.

        On the chief, `owner` is who may write, and `settle` waits for the exports
        that come before a checkpoint. `on_save` is called before each save, and
        `on_answer` with the step of one that somebody had asked for.
        """
        self._settings, self._folder = settings, folder
        self._group, self._student = group, student
        self._key, self._owner, self._settle = key, owner, settle
        self._on_save, self._on_answer = on_save, on_answer
        self._is_asked = False
        self._every = Every(settings.checkpoint_every_steps, settings.last_step)
        self._failures, self._retry_step = 0, 0
        # The step of the last try, and when it ended.
        self._tried: tuple[int, float] | None = None
        # The validation cross entropy of the step that was evaluated last.
        self._evaluated: tuple[int, float | None] = (0, None)

    def note_evaluation(self, step: int, cross_entropy: float) -> None:
        """Notes what the model of a step scored, to know the best one."""
        self._evaluated = (step, cross_entropy)

    def ask(self) -> None:
        """Makes a checkpoint due. To be called on all workers at the same step."""
        self._is_asked = True

    def is_due(self, step: int) -> bool:
        """Returns whether to save at `step`."""
        if self._failures and not self._every.is_last(step):
            return step >= self._retry_step
        return self._is_asked or self._every.is_due(step)

    def exists(self) -> bool:
        """Returns whether there is a checkpoint to go back to. Collective."""
        newest = checkpoints.newest_of_group(self._group, self._folder, self._key)
        return newest is not None

    def __call__(self, step: int, is_last: bool = False) -> None:
        """Saves; tries longer where the run ends here and there is no later try.

        Raises:
            DivergedError: a weight of any worker is not finite.
            SnapshotError: storage refused too often.
        """
        self._on_save()
        self._refuse_non_finite(step)
        values = self._student.values()
        failure, pause = None, 0
        if self._group.is_chief:
            self._settle()
            began = time.monotonic()
            failure = self._save(step, values, _LAST_TRIES if is_last else 1)
            pause = self._pause(step, began)
        failure, pause = self._group.broadcast_json([failure, pause])
        if failure is None:
            self._failures = 0
            if self._is_asked:
                self._is_asked = False
                self._on_answer(step)
            return
        self._failures += 1
        steps = min(2 ** (self._failures - 1), self._settings.checkpoint_every_steps)
        self._retry_step = step + max(steps, pause)
        if is_last or self._failures > self._settings.max_failed_saves:
            raise errors.SnapshotError(
                f"The checkpoint of step {step} could not be saved ({failure}), nor "
                f"could the {self._failures - 1} before it. The earlier ones are as "
                "they were. Make room or give back the right to write, and start the "
                "same command again.",
                reason="not_saved",
            )

    def _pause(self, step: int, began: float) -> int:
        """Returns in how many steps a try as long as this one is made up for."""
        before, self._tried = self._tried, (step, time.monotonic())
        if before is None or before[0] == step:
            return 0
        seconds_per_step = (began - before[1]) / (step - before[0])
        seconds = time.monotonic() - began
        return math.ceil(_PAUSE * seconds / max(seconds_per_step, 1e-6))

    def _refuse_non_finite(self, step: int) -> None:
        """Refuses on all workers what one of them refuses."""
        refusal = None
        try:
            writer.refuse_non_finite(self._student.model.weights, step)
        except errors.DivergedError as error:
            refusal = error
        if any(self._group.any(refusal is not None)):
            raise refusal or errors.DivergedError(
                f"The weights of another worker are not finite after step {step}."
            )

    def _save(self, step: int, values: Mapping[str, Any], tries: int) -> str | None:
        """Saves; returns why it could not."""
        assert self._owner is not None  # The chief has one.
        evaluated, score = self._evaluated
        failure = None
        for number in range(tries):
            if number:
                time.sleep(2.0 ** (number - 1))
            try:
                checkpoints.save(
                    self._folder,
                    step,
                    values,
                    self._student.manifest(),
                    self._settings,
                    owner=self._owner,
                    validation=score if evaluated == step else None,
                )
            except (OSError, tf.errors.OpError) as error:
                failure = f"{type(error).__name__}: {error}"[:300]
                log.warning(
                    "step=%d event=checkpoint_not_saved reason=%s", step, failure
                )
                continue
            log.info("step=%d event=checkpoint_saved", step)
            return None
        return failure
