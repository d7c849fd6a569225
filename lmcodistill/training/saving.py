"""Checkpoints between steps: when to save, and what to do where storage refuses."""

import logging
import math
import time
from typing import Any

import tensorflow as tf

from lmcodistill import errors
from lmcodistill.codistill import topologies
from lmcodistill.exports import writer
from lmcodistill.storage import publication
from lmcodistill.training import checkpoints, cluster, publishing
from lmcodistill.training import job as job_lib
from lmcodistill.training import student as student_lib

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
        job: job_lib.Job,
        group: cluster.Group,
        student: student_lib.Student,
        publish: publishing.Publish | None,
    ):
        """Saves nothing yet.

        Args:
            job: The job.
            group: The workers.
            student: What is saved.
            publish: On the chief: the exports, which come first.
        """
        self._job, self._group, self._student = job, group, student
        self._publish = publish
        self._failures, self._retry_at = 0, 0
        # The step of the last try, and when it ended.
        self._tried: tuple[int, float] | None = None
        # The validation cross entropy of the step that was evaluated last.
        self._evaluated: tuple[int, float] | None = None

    def note_evaluation(self, at: int, cross_entropy: float) -> None:
        """Notes what the model of step `at` scored, to know the best one."""
        self._evaluated = (at, cross_entropy)

    def is_due(self, at: int) -> bool:
        """Returns whether to save at step `at`; the last step always is."""
        settings = self._job.training
        if self._failures:
            is_due = at >= self._retry_at
        else:
            is_due = topologies.is_due(at, settings.checkpoint_every_steps)
        return is_due or at == settings.num_train_steps

    def __call__(self, at: int, force: bool = False) -> None:
        """Saves where due, or where `force` says that it is the last time.

        Raises:
            DivergedError: a weight of any worker is not finite.
            SnapshotError: storage refused too often.
        """
        settings = self._job.training
        is_last = force or at == settings.num_train_steps
        if not (is_last or self.is_due(at)):
            return
        self._refuse_non_finite(at)
        values = self._student.values()
        failure, pause = None, 0
        if self._publish:
            self._publish.settle()
            tries = _LAST_TRIES if is_last else 1
            began = time.monotonic()
            failure = self._save(at, values, tries, self._publish.owner)
            pause = self._pause(at, began)
        failure, pause = self._group.broadcast_json([failure, pause])
        if failure is None:
            self._failures = 0
            return
        self._failures += 1
        steps = min(2 ** (self._failures - 1), settings.checkpoint_every_steps)
        self._retry_at = at + max(steps, pause)
        if is_last or self._failures > settings.max_failed_saves:
            raise errors.SnapshotError(
                f"The checkpoint of step {at} could not be saved ({failure}), nor "
                f"could the {self._failures - 1} before it. The earlier ones are as "
                "they were. Make room or give back the right to write, and start the "
                "same command again.",
                reason="not_saved",
            )

    def _pause(self, at: int, began: float) -> int:
        """Returns in how many steps a try as long as this one is made up for."""
        before, self._tried = self._tried, (at, time.monotonic())
        if before is None or before[0] == at:
            return 0
        seconds_per_step = (began - before[1]) / (at - before[0])
        seconds = time.monotonic() - began
        return math.ceil(_PAUSE * seconds / max(seconds_per_step, 1e-6))

    def _refuse_non_finite(self, at: int) -> None:
        """Refuses on all workers what one of them found."""
        found = None
        try:
            writer.refuse_non_finite(self._student.model.weights, at)
        except errors.DivergedError as error:
            found = error
        if any(self._group.any(found is not None)):
            raise found or errors.DivergedError(
                f"The weights of another worker are not finite after step {at}."
            )

    def _save(
        self, at: int, values: Any, tries: int, owner: publication.Owner
    ) -> str | None:
        """Saves; returns why it could not."""
        failure = None
        for number in range(tries):
            if number:
                time.sleep(2.0 ** (number - 1))
            try:
                checkpoints.save(
                    self._job.layout.checkpoints,
                    at,
                    values,
                    self._student.manifest(),
                    self._job.training,
                    owner=owner,
                    validation=self._score_of(at),
                )
            except (OSError, tf.errors.OpError) as error:
                failure = f"{type(error).__name__}: {error}"[:300]
                log.warning("step=%d event=checkpoint_not_saved reason=%s", at, failure)
                continue
            log.info("step=%d event=checkpoint_saved", at)
            return None
        return failure

    def _score_of(self, at: int) -> float | None:
        if self._evaluated is None or self._evaluated[0] != at:
            return None
        return self._evaluated[1]
