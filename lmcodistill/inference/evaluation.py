"""Held-out cross entropy of one model or of an ensemble, and how models differ."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.data import windows as windows_lib
from lmcodistill.exports import manifest
from lmcodistill.model import contract, output_head, scoring

# From the output heads of the models and the targets [N] to values [N], to be summed.
Measure = Callable[[Sequence[output_head.OutputHead], tf.Tensor], Sequence[tf.Tensor]]


class TeacherMeasures(NamedTuple):
    """What is measured of a student and one of its teachers; a value per position.

    Attributes:
        cross_entropy: Of the teacher, nats.
        absolute: As `scoring.Disagreement`, between the two; so are the rest.
        total_variation: Half the sum of absolute differences over all tokens.
        flip: 1.0 where the most likely token is another.
    """

    cross_entropy: Any
    absolute: Any
    total_variation: Any
    flip: Any


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


def cross_entropy(
    heads: Sequence[output_head.OutputHead], targets: tf.Tensor
) -> list[tf.Tensor]:
    """Returns the cross entropy of the models' mean: a `Measure`."""
    return [scoring.label_losses(heads, targets)]


def against_teachers(
    heads: Sequence[output_head.OutputHead], targets: tf.Tensor
) -> list[tf.Tensor]:
    """Returns the cross entropy of the mean of a student and its teachers: a `Measure`.

    Behind it stand the fields of `TeacherMeasures`, teacher by teacher.
    """
    student, *teachers = heads
    values = cross_entropy(heads, targets)
    for teacher in teachers:
        differences = scoring.disagreement([student], [teacher], targets)
        values += TeacherMeasures(
            scoring.label_losses([teacher], targets),
            differences.absolute,
            differences.total_variation,
            differences.flip,
        )
    return values


class Evaluator:
    """Scores the streams of held-out windows on this process's first device.

    The compiled function is kept: the models' weights may change between calls.
    """

    def __init__(
        self, models: Sequence[contract.Model], measure: Measure = cross_entropy
    ):
        """Takes the models, one or several, and what is measured of them."""
        self._models, self._measure = models, measure
        self._values = tf.function(self._window_values, autograph=False)

    def _window_values(
        self,
        tokens: tf.Tensor,
        targets: tf.Tensor,
        is_start: tf.Tensor,
        states: tuple[contract.State, ...],
    ) -> tuple[Sequence[tf.Tensor], tuple[contract.State, ...]]:
        heads, new_states = [], []
        for model, state in zip(self._models, states, strict=True):
            hidden, state = model(tokens, is_start, state)
            heads.append(model.output_head(hidden))
            new_states.append(state)
        return self._measure(heads, targets), tuple(new_states)

    def totals(
        self,
        windows: windows_lib.EvaluationWindows,
        first_stream: int,
        num_streams: int,
        on_window: Callable[[int], None] = lambda index: None,
    ) -> tuple[np.ndarray, int]:
        """Scores every token of some streams once.

        Args:
            windows: The held-out text.
            first_stream: First stream to score.
            num_streams: How many; streams beyond the last are empty.
            on_window: Told how many windows are done.

        Returns:
            [values] float64, the sum of each that is measured, and how many tokens.
        """
        states = tuple(m.initial_state(num_streams) for m in self._models)
        totals, tokens = np.zeros([]), 0
        for index in range(windows.num_windows):
            window = windows.at(index, first_stream, num_streams)
            values, states = self._values(
                window.inputs, window.flat_targets, window.is_start, states
            )
            sums = []
            for value in values:
                by_stream = value.numpy().reshape(window.targets.shape[::-1]).T
                scored = by_stream.astype(np.float64) * window.weights
                sums.append(float(scored.sum()))
            totals = totals + np.asarray(sums)
            tokens += int(window.weights.sum())
            on_window(index + 1)
        return totals, tokens
