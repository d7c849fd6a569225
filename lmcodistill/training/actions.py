"""Reports and evaluations between steps.

Each action here, in `publishing.py` and in `saving.py` is called with the step that
was reached and decides by arithmetic whether it is due, so all workers of a group
act alike. Those marked *collective* talk to the other workers.
"""

import logging
import time
from collections.abc import Callable

import numpy as np

from lmcodistill.codistill import topologies
from lmcodistill.data import windows
from lmcodistill.inference import evaluation
from lmcodistill.training import (
    cluster,
    divergence,
    lessons,
    metrics,
    publishing,
    saving,
    step,
)
from lmcodistill.training import job as job_lib
from lmcodistill.training import student as student_lib

log = logging.getLogger("lmcodistill")


class Report:
    """Writes means over the updates since the last report."""

    def __init__(
        self,
        job: job_lib.Job,
        student: student_lib.Student,
        writer: metrics.MetricsWriter | None,
        first_step: int,
        reload: lessons.Reload,
        publish: publishing.Publish | None = None,
    ):
        self._job, self._student, self._writer = job, student, writer
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
            "distillation_weight": self._student.distillation_weight,
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
        job: job_lib.Job,
        inputs: job_lib.Inputs,
        group: cluster.Group,
        student: student_lib.Student,
        writer: metrics.MetricsWriter | None,
        checkpoint: saving.Checkpoint,
        on_window: Callable[[int], None],
    ):
        self._job, self._group, self._writer = job, group, writer
        self._checkpoint, self._on_window = checkpoint, on_window
        settings = job.training
        data = inputs.data
        self._windows = windows.EvaluationWindows(
            data.tokens_of(data.held_out_split("validation")),
            streams=settings.evaluation_lanes,
            window=job.batches.window,
            end_id=data.manifest.end_id,
            reset_at_documents=job.batches.reset_at_documents,
            max_tokens=settings.evaluation_tokens or None,
        )
        self._evaluator = evaluation.Evaluator([student.model])

    def __call__(self, at: int) -> None:
        """Evaluates where due; the last step always is."""
        period = self._job.training.evaluate_every_steps
        is_last = at == self._job.training.num_train_steps
        if not period or not (is_last or topologies.is_due(at, period)):
            return
        began = time.monotonic()
        share = -(-self._windows.streams // self._group.num_workers)
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
