"""Reads a held-out text with several models at once and compares them in pairs."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from lmcodistill.data import windows as windows_lib
from lmcodistill.experiments import churn
from lmcodistill.model import contract, scoring

Model = Sequence[contract.Model]


class Comparer:
    """Compares every pair of some models, each one model or an ensemble."""

    def __init__(self, models: Sequence[Model]) -> None:
        """Takes at least two; a member that several share is read once."""
        self._members = list({id(m): m for model in models for m in model}.values())
        index = {id(m): i for i, m in enumerate(self._members)}
        self._models = [[index[id(m)] for m in model] for model in models]
        self._pairs = list(itertools.combinations(range(len(models)), 2))
        self._compare = tf.function(self._compare_window, autograph=False)

    def _compare_window(
        self,
        tokens: tf.Tensor,
        targets: tf.Tensor,
        is_start: tf.Tensor,
        states: tuple[contract.State, ...],
    ) -> tuple[tf.Tensor, tuple[contract.State, ...]]:
        """Returns [pairs, N, measures], positions time-major, and the states after."""
        heads, new_states = [], []
        for member, state in zip(self._members, states, strict=True):
            hidden, state = member(tokens, is_start, state)
            heads.append(member.output_head(hidden))
            new_states.append(state)
        differences = [
            tf.stack(
                scoring.disagreement(
                    [heads[i] for i in self._models[a]],
                    [heads[i] for i in self._models[b]],
                    targets,
                ),
                axis=-1,
            )
            for a, b in self._pairs
        ]
        return tf.stack(differences), tuple(new_states)

    def sums(
        self,
        windows: windows_lib.EvaluationWindows,
        occurrences: np.ndarray,
        on_window: Callable[[int], None] = lambda index: None,
    ) -> churn.ChurnSums:
        """Returns the mean over all pairs, by document and kind of token.

        What a stream begins with is counted as a document of its own, although the
        first words of it may be in the stream before.

        Args:
            windows: The held-out text.
            occurrences: [V], how often each token is in the training text.
            on_window: Told how many windows are done.
        """
        streams = windows.streams
        states = tuple(m.initial_state(streams) for m in self._members)
        # The documents of a stream so far, and how far it is in the latest.
        documents = np.full(streams, -1)
        positions = np.zeros(streams, np.int64)
        columns: list[tuple[np.ndarray, ...]] = []
        for index in range(windows.num_windows):
            window = windows.at(index, 0, streams)
            differences, states = self._compare(
                window.inputs, window.flat_targets, window.is_start, states
            )
            # [T, B], as the differences are ordered.
            starts, counted = window.is_start.T, window.weights.T > 0.0
            times = np.arange(len(starts))[:, None]
            last_start = np.maximum.accumulate(
                np.where(starts, times, -1 - positions), axis=0
            )
            document, position = documents + starts.cumsum(axis=0), times - last_start
            # One number for each document of each stream.
            number = document * streams + np.arange(streams)
            measured = differences.numpy().mean(0).reshape(*starts.shape, -1)
            occurred = occurrences[window.targets.T]
            columns.append(
                tuple(c[counted] for c in (number, position, occurred, measured))
            )
            documents, positions = document[-1], position[-1]
            on_window(index + 1)
        numbers, *others = map(np.concatenate, zip(*columns, strict=True))
        return churn.sums_of(np.unique(numbers, return_inverse=True)[1], *others)
