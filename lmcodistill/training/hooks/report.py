"""Means over the updates since the last report, for `metrics.jsonl` and the log.

What is reported of teachers is the mean over the updates that had soft targets. The
time is training's: what validation and tracing took is reported apart, and all three
add up to the clock.
"""

import logging
import time
from collections.abc import Callable, Mapping

import numpy as np

from lmcodistill.report import units
from lmcodistill.training import divergence, metrics, step
from lmcodistill.training import student as student_lib
from lmcodistill.training.hooks.every import Every

log = logging.getLogger("lmcodistill")


class Report:
    """Writes reports. Chief only."""

    def __init__(
        self,
        student: student_lib.Student,
        writer: metrics.MetricsWriter,
        every: Every,
        first_step: int,
        *,
        tokens_per_step: int,
        exchange: Callable[[], Mapping[str, object]],
    ):
        """Has nothing to report yet; `exchange` returns what is reported of it."""
        self._student, self._writer, self._every = student, writer, every
        self._tokens_per_step, self._exchange = tokens_per_step, exchange
        self._totals: list[step.Totals] = []
        self._since = (first_step, time.monotonic(), student.tracing_seconds)
        self._validation_seconds = 0.0

    def note_validation(self, seconds: float) -> None:
        """Takes the time that an evaluation took."""
        self._validation_seconds += seconds

    def __call__(self, reached: int, totals: step.Totals) -> None:
        """Takes the totals of the update that reached a step."""
        self._totals.append(totals)
        if not self._every.is_due(reached):
            return
        rows = np.asarray([[float(x) for x in t] for t in self._totals], np.float64)
        columns = step.Totals(*rows.T)
        counted = rows[columns.skipped == 0.0]
        taught = rows[(columns.skipped == 0.0) & (columns.taught == 1.0)]
        means = self._means(counted, taught)
        score = means["cross_entropy"]
        values = {
            **self._pace(reached),
            **means,
            "perplexity": None if score is None else units.perplexity(score),
            "taught_updates": len(taught),
            "skipped_updates": len(rows) - len(counted),
            "learning_rate": self._student.learning_rate_at(reached - 1),
            "distillation_weight": self._student.distillation_weight,
            "gradient_staleness": float(columns.staleness.mean()),
            "gradient_staleness_max": float(columns.staleness.max()),
            **self._student.guide_report,
            "teachers": [
                {"peer": t.peer, "step": t.step, "staleness_steps": reached - t.step}
                for t in self._student.teachers.active
            ],
            **self._exchange(),
        }
        self._totals = []
        self._writer.write("train", reached, values)
        if score is None or divergence.is_lost(score, self._student.model.vocab_size):
            log.warning(
                "step=%d event=diverging reason=a guess among all pieces does better",
                reached,
            )
        shown = (
            *("cross_entropy", "perplexity"),
            *("distillation_loss", "tokens_per_second"),
        )
        log.info(
            "step=%d cross_entropy=%s perplexity=%s distillation=%s "
            "tokens_per_second=%s",
            reached,
            *("-" if values[n] is None else f"{values[n]:.6g}" for n in shown),
        )

    def _pace(self, reached: int) -> dict[str, float]:
        first, began, traced = self._since
        now, validation = time.monotonic(), self._validation_seconds
        self._since = (reached, now, self._student.tracing_seconds)
        self._validation_seconds = 0.0
        tracing = self._student.tracing_seconds - traced
        seconds = max(now - began - validation - tracing, 1e-9)
        tokens = (reached - first) * self._tokens_per_step
        return {
            "tokens": reached * self._tokens_per_step,
            "seconds": round(seconds, 3),
            "tokens_per_second": round(tokens / seconds, 1),
            "validation_seconds": round(validation, 3),
            "tracing_seconds": round(tracing, 3),
        }

    def _means(
        self, counted: np.ndarray, taught: np.ndarray
    ) -> dict[str, float | None]:
        """Returns means per token; None where there is no update to average."""
        of_all, of_taught = _mean(counted), _mean(taught)
        sums = {
            "cross_entropy": of_all.label_loss,
            "distillation_loss": of_taught.soft_loss,
            "teacher_cross_entropy": of_taught.teacher_label_loss,
            "agreement": of_taught.agreement,
            "open_share": of_taught.open,
        }
        per_token = 1.0 / self._tokens_per_step
        per_tokens = {n: None if x is None else x * per_token for n, x in sums.items()}
        return per_tokens | {"gradient_norm": of_all.gradient_norm}


def _mean(rows: np.ndarray) -> step.Totals:
    """Returns the mean of each column of [updates, totals]; None without updates."""
    return step.Totals(*(rows.mean(0) if len(rows) else [None] * rows.shape[1]))
