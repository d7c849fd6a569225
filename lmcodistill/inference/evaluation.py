"""Held-out cross entropy of one model or of an ensemble, and how models differ."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.data import text_windows
from lmcodistill.data import windows as windows_lib
from lmcodistill.exports import manifest
from lmcodistill.model import contract, output_head, scoring

# From the output heads of the models and the targets [N] to values [N], to be summed.
Measure = Callable[[Sequence[output_head.OutputHead], tf.Tensor], Sequence[tf.Tensor]]

# Rows, and tokens of a row, that texts are read in.
_TEXTS_AT_ONCE, _WINDOW_OF_TEXTS = 32, 32


class Windows(Protocol):
    """Text to score, as `windows.EvaluationWindows` and `text_windows.TextWindows`.

    Attributes:
        num_windows: How many windows cover the longest stream.
    """

    num_windows: int

    def at(
        self, index: int, first_stream: int, num_streams: int
    ) -> windows_lib.Window: ...


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
        windows: Windows,
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
        totals, tokens = np.zeros([]), 0
        scored = self.by_position(windows, first_stream, num_streams)
        for done, (values, weights) in enumerate(scored, 1):
            sums = [float((value * weights).sum()) for value in values]
            totals = totals + np.asarray(sums)
            tokens += int(weights.sum())
            on_window(done)
        return totals, tokens

    def by_position(
        self, windows: Windows, first_stream: int, num_streams: int
    ) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
        """Scores as `totals`; yields, window by window, what every position has.

        Yields:
            Of each that is measured [B, T] float64, and the weights [B, T] float32:
            0.0 where there is nothing to score.
        """
        states = tuple(m.initial_state(num_streams) for m in self._models)
        for index in range(windows.num_windows):
            window = windows.at(index, first_stream, num_streams)
            values, states = self._values(
                window.inputs, window.flat_targets, window.is_start, states
            )
            # From [T * B], as models order positions.
            by_time = [v.numpy().reshape(window.targets.shape[::-1]) for v in values]
            yield [v.T.astype(np.float64) for v in by_time], window.weights

    def nats_of_texts(
        self, texts: Sequence[Sequence[int] | np.ndarray], end_id: int
    ) -> list[np.ndarray]:
        """Scores texts, each from its beginning.

        The first measure is the cross entropy.

        Args:
            texts: The ids of each, without `</s>`.
            end_id: The id of `</s>`.

        Returns:
            Of each text [tokens] float64, nats; the last is that of `</s>`.
        """
        found: dict[int, np.ndarray] = {}
        # Texts of like length beside each other: little is read that is padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for begin in range(0, len(order), _TEXTS_AT_ONCE):
            batch = order[begin : begin + _TEXTS_AT_ONCE]
            windows = text_windows.TextWindows(
                [texts[i] for i in batch], window=_WINDOW_OF_TEXTS, end_id=end_id
            )
            # A function is compiled for each number of rows: so there are few.
            rows = 1 << (len(batch) - 1).bit_length()
            scored = [v[0] for v, _ in self.by_position(windows, 0, rows)]
            nats = np.concatenate(scored, axis=1)
            found |= {i: nats[row, : len(texts[i]) + 1] for row, i in enumerate(batch)}
        return [found[i] for i in range(len(texts))]
