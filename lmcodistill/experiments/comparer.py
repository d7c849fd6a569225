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
        """Returns the differences of every pair, by document and kind of token.

        Args:
            windows: The held-out text.
            occurrences: [V], how often each token is in the training text.
            on_window: Told how many windows are done.
        """
        streams = windows.streams
        states = tuple(m.initial_state(streams) for m in self._members)
        documents, positions = windows.documents()
        sums = churn.ChurnSums.zeros(self._pairs, int(documents[-1]) + 1)
        for index in range(windows.num_windows):
            window = windows.at(index, 0, streams)
            differences, states = self._compare(
                window.inputs, window.flat_targets, window.is_start, states
            )
            # [T, B], as the differences are ordered.
            counted = window.weights.T.reshape(-1) > 0.0
            places = windows.places(index).T.reshape(-1)[counted]
            sums.add(
                documents[places],
                positions[places],
                occurrences[window.flat_targets[counted]],
                differences.numpy()[:, counted],
            )
            on_window(index + 1)
        return sums
