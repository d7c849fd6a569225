"""The validation cross entropy, between updates; and what teachers know, if asked."""

import functools
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lmcodistill.data import windows as windows_lib
from lmcodistill.inference import evaluation
from lmcodistill.report import units
from lmcodistill.training import cluster, metrics
from lmcodistill.training import job as job_lib
from lmcodistill.training import student as student_lib
from lmcodistill.training.hooks.every import Every

log = logging.getLogger("lmcodistill")


class TeacherScore(NamedTuple):
    """What an evaluation found of a teacher; means per token.

    Attributes:
        peer: Whose weights it has.
        step: In updates, of these weights.
        staleness_steps: By how much the student is ahead of them.
        measures: Of its cross entropy, and of how far the student's predictions are
            from its own.
    """

    peer: int
    step: int
    staleness_steps: int
    measures: evaluation.TeacherMeasures

    def values(self) -> dict[str, float]:
        """Returns what is reported."""
        values = self._asdict() | self.measures._asdict()
        del values["measures"]
        return values


class Score(NamedTuple):
    """What an evaluation found.

    Attributes:
        cross_entropy: Nats per token.
        tokens: Scored.
        bytes: Of the source text that they are; None where a part was scored, of
            which nobody knows.
        seconds: It took.
        ensemble_cross_entropy: Of the mean of the student and its teachers, nats per
            token: what it is below `cross_entropy` is what the student lacks yet.
            None where they were not asked for.
        teachers: What was found of each.
    """

    cross_entropy: float
    tokens: int
    bytes: int | None
    seconds: float
    ensemble_cross_entropy: float | None = None
    teachers: tuple[TeacherScore, ...] = ()

    @property
    def bits_per_byte(self) -> float | None:
        """The cross entropy in a unit that does not depend on the vocabulary."""
        if not self.bytes:
            return None
        return units.bits_per_byte(self.cross_entropy * self.tokens, self.bytes)

    def write(self, step: int, writer: metrics.MetricsWriter) -> None:
        """Reports it as the score of a step. Chief only."""
        values = self._asdict() | {
            "perplexity": units.perplexity(self.cross_entropy),
            "bits_per_byte": self.bits_per_byte,
            "teachers": [x.values() for x in self.teachers],
        }
        if not self.teachers:
            del values["ensemble_cross_entropy"], values["teachers"]
        writer.write("validation", step, values)
        log.info(
            "step=%d validation_cross_entropy=%.4f perplexity=%.2f",
            *(step, self.cross_entropy, units.perplexity(self.cross_entropy)),
        )


class Evaluate:
    """Scores the held-out text. Collective."""

    def __init__(
        self,
        job: job_lib.Job,
        inputs: job_lib.Inputs,
        student: student_lib.Student,
        group: cluster.Group,
        *,
        on_window: Callable[[int], None],
        on_score: Callable[[int, Score], None],
    ):
        """Has scored nothing yet; the workers of `group` share the streams.

        `on_window` is called with the number of windows done, from none on, and on
        every worker `on_score` with the step and the score.
        """
        self._every = Every(job.training.evaluate_every_steps, job.training.last_step)
        self._split = inputs.data.held_out_split("validation")
        self._windows = windows_lib.EvaluationWindows(
            inputs.data.tokens_of(self._split),
            streams=job.training.evaluation_lanes,
            window=job.batches.window,
            end_id=inputs.data.manifest.end_id,
            reset_at_documents=job.batches.reset_at_documents,
            first_token=job.training.evaluation_first_token,
            max_tokens=job.training.evaluation_tokens or None,
        )
        self._group, self._student = group, student
        self._scores_teachers = job.training.evaluate_teachers
        self._on_window, self._on_score = on_window, on_score
        self._small_weight = min(
            student.published.weights.values(), key=lambda v: v.shape.num_elements()
        )
        self._evaluator = evaluation.Evaluator([student.published])
        # By the models: a swap changes their weights alone.
        self._against: Callable[..., evaluation.Evaluator] = functools.cache(
            lambda *models: evaluation.Evaluator(models, evaluation.against_teachers)
        )

    def __call__(self, step: int) -> None:
        """Evaluates where due."""
        if not self._every.is_due(step):
            return
        self._on_window(0)
        # What the device has not done yet is training's: reading a weight waits for it.
        self._small_weight.numpy()
        began = time.monotonic()
        nats, tokens = self._totals(self._evaluator)
        ensemble, teachers = (
            self._teachers(step) if self._scores_teachers else (None, ())
        )
        seconds = round(time.monotonic() - began, 3)
        is_whole = tokens == self._split.tokens
        score = Score(
            float(nats / tokens),
            int(tokens),
            self._split.bytes if is_whole else None,
            seconds,
            ensemble,
            teachers,
        )
        self._on_score(step, score)

    def _totals(self, evaluator: evaluation.Evaluator) -> np.ndarray:
        """Returns the group's sum of each measured value, then its number of tokens."""
        share = -(-self._windows.streams // self._group.num_workers)
        first = self._group.worker_index * share
        sums, tokens = evaluator.totals(self._windows, first, share, self._on_window)
        return self._group.sum(np.asarray([*sums, tokens], np.float64))

    def _teachers(self, step: int) -> tuple[float | None, tuple[TeacherScore, ...]]:
        """Returns the cross entropy of all together, and what each teacher is like."""
        active = self._student.teachers.active
        if not active:
            return None, ()
        models = (self._student.published, *(t.model for t in active))
        *sums, tokens = self._totals(self._against(*models))
        ensemble, *rest = (float(x / tokens) for x in sums)
        count = len(evaluation.TeacherMeasures._fields)
        return ensemble, tuple(
            TeacherScore(
                teacher.peer,
                teacher.step,
                step - teacher.step,
                evaluation.TeacherMeasures(*rest[k * count : (k + 1) * count]),
            )
            for k, teacher in enumerate(active)
        )
