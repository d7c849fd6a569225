"""Soft targets that no model gives: the distributions of label smoothing."""

from collections.abc import Callable

import numpy as np

# How much of the training text the pieces are counted in.
SAMPLE_TOKENS = 10_000_000


def _unigram(vocab_size: int, sample: Callable[[int], np.ndarray]) -> np.ndarray:
    # Add-one, so that no piece is impossible.
    counts = np.bincount(sample(SAMPLE_TOKENS), minlength=vocab_size) + 1.0
    return (counts / counts.sum()).astype(np.float32)


# From what `Distillation.targets` calls it to a [V] float32 distribution: given V, and
# what returns the first tokens of the student's text.
DISTRIBUTIONS: dict[str, Callable[[int, Callable[[int], np.ndarray]], np.ndarray]] = {
    "uniform": lambda size, sample: np.full(size, 1.0 / size, np.float32),
    "unigram": _unigram,
}
