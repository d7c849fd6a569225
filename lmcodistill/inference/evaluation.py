"""Held-out cross entropy of one model or of an ensemble."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.data import windows as windows_lib
from lmcodistill.exports import manifest
from lmcodistill.model import contract, scoring


def reset_at_documents(exports: Collection[manifest.Description]) -> bool:
    """Returns whether exports that are scored together forget at a document's start.

    Raises:
        UsageError: some were trained so, and some were not.
    """
    by_reset = {export.reset_at_documents: export for export in exports}
    if len(by_reset) > 1:
        raise errors.UsageError(
            f"{by_reset[True].label} was trained with Batches.reset_at_documents = "
            f"True and {by_reset[False].label} with False, so they cannot read one "
            "text together. Give them in two commands."
        )
    return True in by_reset


class Evaluator:
    """Scores the streams of held-out windows on this process's first device.

    The compiled function is kept: the models' weights may change between calls.
    """

    def __init__(self, models: Sequence[contract.Model]):
        """Takes one model, or several whose probabilities are averaged."""
        self._models = models
        self._losses = tf.function(self._window_losses, autograph=False)

    def _window_losses(
        self,
        tokens: tf.Tensor,
        targets: tf.Tensor,
        is_start: tf.Tensor,
        states: tuple[contract.State, ...],
    ) -> tuple[tf.Tensor, tuple[contract.State, ...]]:
        heads, new_states = [], []
        for model, state in zip(self._models, states, strict=True):
            hidden, state = model(tokens, is_start, state)
            heads.append(model.output_head(hidden))
            new_states.append(state)
        return scoring.label_losses(heads, targets), tuple(new_states)

    def total(
        self,
        windows: windows_lib.EvaluationWindows,
        first_stream: int,
        num_streams: int,
        on_window: Callable[[int], None] = lambda index: None,
    ) -> tuple[float, int]:
        """Scores every token of some streams once.

        Args:
            windows: The held-out text.
            first_stream: First stream to score.
            num_streams: How many; streams beyond the last are empty.
            on_window: Told how many windows are done.

        Returns:
            Nats in total, and the number of tokens.
        """
        states = tuple(m.initial_state(num_streams) for m in self._models)
        nats, tokens = 0.0, 0
        for index in range(windows.num_windows):
            window = windows.at(index, first_stream, num_streams)
            losses, states = self._losses(
                window.inputs, window.flat_targets, window.is_start, states
            )
            by_stream = losses.numpy().reshape(window.targets.shape[::-1]).T
            scored = by_stream.astype(np.float64) * window.weights
            nats += float(scored.sum())
            tokens += int(window.weights.sum())
            on_window(index + 1)
        return nats, tokens
