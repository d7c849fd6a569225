"""What happens between steps: publish, reload, report, evaluate, checkpoint.

Each action is called with the step that was reached and decides by arithmetic
whether it is due, so all workers of a group act alike. Those marked
*collective* talk to the other workers.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.codistill import exchange, exporter, narrowing, publisher
from lmcodistill.data import windows
from lmcodistill.storage import layout, publication
from lmcodistill.training import (
    checkpoints,
    cluster,
    divergence,
    evaluation,
    job,
    lessons,
    metrics,
    step,
    student,
)

# A pause between tries, in durations of a try.
_PAUSE = 9.0
# How often the last checkpoint of a run is tried: for about half a minute.
_LAST_TRIES = 6

log = logging.getLogger("lmcodistill")


class Publish:
    """Publishes the student's weights for its peers, in the background. Chief only.

    A `freshest` exchange goes without an export that storage refuses or that the
    one before is in the way of; a `scheduled` one cannot.

    Attributes:
        owner: By what right.
    """

    def __init__(
        self,
        what: job.Job,
        inputs: job.Inputs,
        learner: student.Student,
        owner: publication.Ownership,
    ):
        """Makes what all exports have in common."""
        self._job, self._student, self.owner = what, learner, owner
        self._is_scheduled = what.exchange.mode == "scheduled"
        # Until when exports stay for peers that may still be reading them.
        self._young: dict[publication.Snapshot, float] = {}
        self._narrow = None
        if what.exchange.export_dtype != "float32":
            self._narrow = narrowing.Narrowing(
                what.exchange.export_dtype,
                lessons.probe_of(what, inputs),
                what.exchange.max_quantization_loss,
            )
        one = exporter.Exporter(
            learner.model.config,
            inputs.data.vocabulary,
            student=what.student,
            reset_at_documents=what.batches.reset_at_documents,
            narrow=self._narrow,
        )
        folder = what.layout.exports
        keep = exchange.exports_to_keep(
            what.exchange, what.training.checkpoint_every_steps
        )

        def publish(at: int, weights: exporter.Weights) -> None:
            made = one.publish(folder, at, weights, owner)
            self._young[made] = time.monotonic() + what.exchange.keep_export_seconds
            self._young = {
                s: until for s, until in self._young.items() if until > time.monotonic()
            }
            try:
                publication.keep_newest(folder, layout.EXPORT, keep, set(self._young))
            except OSError as error:  # The export stands; the next one tries again.
                log.warning("step=%d event=old_exports_kept reason=%s", at, error)

        patience = what.exchange.deadline_seconds if self._is_scheduled else 0.0
        self._publisher = publisher.Publisher(publish, patience_seconds=patience)

    @property
    def num_in_full(self) -> int:
        """How many exports lost too much in a narrower type, since the start."""
        return len(self._narrow.refused) if self._narrow else 0

    def __call__(self, at: int) -> None:
        """Publishes where due; the last step always is, and is waited for.

        Raises:
            SnapshotError: the last export could not be published.
            GroupLostError: another process took the student over.
        """
        self._publisher.check()
        is_last = at == self._job.training.num_train_steps
        if not (is_last or exchange.is_due(at, self._job.exchange.publish_every_steps)):
            return
        may_skip = not (is_last or self._is_scheduled)
        self._publisher.submit(
            at, lambda: exporter.weights_of(self._student.model), may_skip=may_skip
        )
        if is_last and not self._publisher.wait():
            raise errors.SnapshotError(
                f"The last export, of step {at}, could not be written to "
                f"{self._job.layout.exports}; the log says why. The checkpoint was "
                "saved. Make room or give back the right to write, and start the same "
                "command again.",
                reason="not_saved",
            )

    def close(self) -> None:
        """Waits for the export under way: no thread may outlive TensorFlow."""
        self._publisher.wait()

    def settle(self) -> None:
        """Makes sure that no export is missing of a step that a restart skips.

        Raises:
            GroupLostError: an export that peers wait for could not be published.
        """
        if self._is_scheduled and not self._publisher.wait():
            raise errors.GroupLostError(
                f"An export could not be written to {self._job.layout.exports} within "
                f"{self._job.exchange.deadline_seconds:g} s, and a scheduled exchange "
                "needs every one. Make room or give back the right to write, and "
                "start the same command again."
            )


class Report:
    """Writes means over the updates since the last report."""

    def __init__(
        self,
        what: job.Job,
        learner: student.Student,
        writer: metrics.MetricsWriter | None,
        first_step: int,
        reload: lessons.Reload,
        publish: Publish | None = None,
    ):
        self._job, self._student, self._writer = what, learner, writer
        self._reload, self._publish = reload, publish
        self._totals: list[step.Totals] = []
        self._since = (first_step, time.monotonic())

    def __call__(self, at: int, totals: step.Totals) -> None:
        """Takes the totals of the update that reached step `at`."""
        if self._writer is None:
            return
        self._totals.append(totals)
        is_last = at == self._job.training.num_train_steps
        if at % self._job.training.report_every_steps and not is_last:
            return
        rows = np.asarray([[float(x) for x in t] for t in self._totals], np.float64)
        counted = rows[rows[:, step.Totals._fields.index("skipped")] == 0.0]
        means = self._means(counted)
        values = {
            **self._pace(at),
            **means,
            "skipped_updates": len(rows) - len(counted),
            "learning_rate": self._student.learning_rate_at(at - 1),
            "distillation_weight": (
                self._job.weight.at(at - 1) if self._student.has_targets else 0.0
            ),
            "teachers": [
                {"peer": t.peer, "step": t.step, "staleness_steps": at - t.step}
                for t in self._student.teachers.active
            ],
            "refused_exports": self._reload.refusals,
            "exports_in_full": self._publish.num_in_full if self._publish else 0,
        }
        self._totals = []
        self._writer.write("train", at, values)
        score = means["cross_entropy"]
        if score is None or divergence.is_lost(score, self._student.model.vocab_size):
            log.warning(
                "step=%d event=diverging reason=a guess among all pieces does better",
                at,
            )
        shown = ("cross_entropy", "distillation_loss", "tokens_per_second")
        log.info(
            "step=%d cross_entropy=%s distillation=%s tokens_per_second=%s",
            at,
            *("-" if values[n] is None else f"{values[n]:.4f}" for n in shown),
        )

    def _pace(self, at: int) -> dict[str, float]:
        first, began = self._since
        self._since = (at, time.monotonic())
        seconds = max(time.monotonic() - began, 1e-9)
        tokens = (at - first) * self._job.tokens_per_step
        return {
            "tokens": at * self._job.tokens_per_step,
            "seconds": round(seconds, 3),
            "tokens_per_second": round(tokens / seconds, 1),
        }

    def _means(self, rows: np.ndarray) -> dict[str, float | None]:
        """Returns means per token; None where every update was skipped."""
        means = step.Totals(*(rows.mean(0) if len(rows) else [None] * rows.shape[1]))
        sums = {
            "cross_entropy": means.label_loss,
            "distillation_loss": means.soft_loss,
            "teacher_cross_entropy": means.teacher_label_loss,
            "agreement": means.agreement,
        }
        per_token = 1.0 / self._job.tokens_per_step
        found = {n: None if x is None else x * per_token for n, x in sums.items()}
        return found | {"gradient_norm": means.gradient_norm}


class Evaluate:
    """Reports the validation cross entropy. Collective."""

    def __init__(
        self,
        what: job.Job,
        inputs: job.Inputs,
        group: cluster.Group,
        learner: student.Student,
        writer: metrics.MetricsWriter | None,
        checkpoint: "Checkpoint",
        on_window: Callable[[int], None],
    ):
        self._job, self._group, self._writer = what, group, writer
        self._checkpoint, self._on_window = checkpoint, on_window
        settings = what.training
        data = inputs.data
        self._windows = windows.EvaluationWindows(
            data.stream(data.held_out_split("validation")),
            lanes=settings.evaluation_lanes,
            window=what.batches.window,
            end_id=data.manifest.end_id,
            reset_at_documents=what.batches.reset_at_documents,
            max_tokens=settings.evaluation_tokens or None,
        )
        self._evaluator = evaluation.Evaluator([learner.model])

    def __call__(self, at: int) -> None:
        """Evaluates where due; the last step always is."""
        period = self._job.training.evaluate_every_steps
        is_last = at == self._job.training.num_train_steps
        if not period or not (is_last or exchange.is_due(at, period)):
            return
        began = time.monotonic()
        share = -(-self._windows.lanes // self._group.num_workers)
        first = self._group.worker_index * share
        total = self._evaluator.total(self._windows, first, share, self._on_window)
        sums = self._group.sum(np.asarray(total, np.float64))
        cross_entropy = float(sums[0] / sums[1])
        self._checkpoint.note_evaluation(at, cross_entropy)
        if self._writer is not None:
            seconds = round(time.monotonic() - began, 3)
            self._writer.write(
                "validation",
                at,
                {
                    "cross_entropy": cross_entropy,
                    "tokens": int(sums[1]),
                    "seconds": seconds,
                },
            )
            log.info("step=%d validation_cross_entropy=%.4f", at, cross_entropy)


class Checkpoint:
    """Saves what a restart needs. Collective: the lanes are gathered.

    Where storage refuses, training goes on and the save is tried again after 1, 2,
    4, ... more steps, or later where storage takes long to refuse: no more than a
    tenth of the time goes into trying. The checkpoints before stay as they are.
    """

    def __init__(
        self,
        what: job.Job,
        group: cluster.Group,
        learner: student.Student,
        publish: Publish | None,
    ):
        """Saves nothing yet.

        Args:
            what: The job.
            group: The workers.
            learner: What is saved.
            publish: On the chief: the exports, which come first.
        """
        self._job, self._group, self._student = what, group, learner
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
            is_due = exchange.is_due(at, settings.checkpoint_every_steps)
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
            exporter.refuse_non_finite(self._student.model.weights, at)
        except errors.DivergedError as error:
            found = error
        if any(self._group.any(found is not None)):
            raise found or errors.DivergedError(
                f"The weights of another worker are not finite after step {at}."
            )

    def _save(
        self, at: int, values: Any, tries: int, owner: publication.Ownership
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
