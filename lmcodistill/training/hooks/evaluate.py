"""The validation cross entropy, between updates."""

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lmcodistill.data import windows as windows_lib
from lmcodistill.inference import evaluation
from lmcodistill.model import contract
from lmcodistill.training import cluster, metrics
from lmcodistill.training import job as job_lib
from lmcodistill.training.hooks.every import Every

log = logging.getLogger("lmcodistill")


class Score(NamedTuple):
    """What an evaluation found.

    Attributes:
        cross_entropy: Nats per token.
        tokens: Scored.
        seconds: It took.
    """

    cross_entropy: float
    tokens: int
    seconds: float

    def write(self, step: int, writer: metrics.MetricsWriter) -> None:
        """Reports it as the score of a step. Chief only."""
        writer.write("validation", step, self._asdict())
        log.info("step=%d validation_cross_entropy=%.4f", step, self.cross_entropy)


class Evaluate:
    """Scores the held-out text. Collective."""

    def __init__(
        self,
        job: job_lib.Job,
        inputs: job_lib.Inputs,
        model: contract.Model,
        group: cluster.Group,
        *,
        on_window: Callable[[int], None],
        on_score: Callable[[int, Score], None],
    ):
        """Has scored nothing yet; the workers of `group` share the streams.

        `on_window` is called with the number of windows done, and on every worker
        `on_score` with the step and the score.
        """
        self._every = Every(job.training.evaluate_every_steps, job.training.last_step)
        self._windows = windows_lib.EvaluationWindows(
            inputs.data.tokens_of(inputs.data.held_out_split("validation")),
            streams=job.training.evaluation_lanes,
            window=job.batches.window,
            end_id=inputs.data.manifest.end_id,
            reset_at_documents=job.batches.reset_at_documents,
            first_token=job.training.evaluation_first_token,
            max_tokens=job.training.evaluation_tokens or None,
        )
        self._group = group
        self._on_window, self._on_score = on_window, on_score
        self._small_weight = min(
            model.weights.values(), key=lambda weight: weight.shape.num_elements()
        )
        self._evaluator = evaluation.Evaluator([model])

    def __call__(self, step: int) -> None:
        """Evaluates where due."""
        if not self._every.is_due(step):
            return
        # What the device has not done yet is training's: reading a weight waits for it.
        self._small_weight.numpy()
        began = time.monotonic()
        share = -(-self._windows.streams // self._group.num_workers)
        first = self._group.worker_index * share
        total = self._evaluator.total(self._windows, first, share, self._on_window)
        nats, tokens = self._group.sum(np.asarray(total, np.float64))
        seconds = round(time.monotonic() - began, 3)
        self._on_score(step, Score(float(nats / tokens), int(tokens), seconds))
