"""How much predictions differ between models that should be the same.

Every held-out token is predicted by each model; pairs of models are compared
token by token (`model/scoring.py`) and the differences averaged, over all tokens
and by kinds of tokens. Documents are drawn again and again for the intervals
(bootstrap), because the tokens of one document go together.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lmcodistill.model import scoring

MEASURES = scoring.Disagreement._fields
# Upper ends, exclusive; the last kind has none.
_POSITIONS = (8, 32, 128, 512)
_COUNTS = (100, 1_000, 10_000, 100_000)
_DRAWS = 1_000


def _kinds(quantity: str, ends: Sequence[int]) -> list[str]:
    pairs = itertools.pairwise((0, *ends))
    names = [f"{quantity} {a:,} to {b - 1:,}" for a, b in pairs]
    return [*names, f"{quantity} {ends[-1]:,} and more"]


ALL = "all tokens"
KINDS = (
    ALL,
    *_kinds("position in the document", _POSITIONS),
    *_kinds("occurrences in training", _COUNTS),
)


class Estimate(NamedTuple):
    """A mean over tokens with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


class ChurnSums(NamedTuple):
    """Sums over the tokens of each document, by kind.

    Attributes:
        counts: [documents, kinds], tokens.
        sums: [documents, kinds, measures].
    """

    counts: np.ndarray
    sums: np.ndarray


def sums_of(
    documents: np.ndarray,
    positions: np.ndarray,
    occurrences: np.ndarray,
    measured: np.ndarray,
) -> ChurnSums:
    """Adds up what tokens differ by.

    Args:
        documents: [N], which document each belongs to, from 0 on.
        positions: [N], where in it.
        occurrences: [N], how often the token is in the training text.
        measured: [N, measures].
    """
    shape = (int(documents.max()) + 1, len(KINDS))
    sums = ChurnSums(np.zeros(shape), np.zeros((*shape, len(MEASURES))))
    first_count = 2 + len(_POSITIONS)
    for kinds in (
        np.zeros(len(documents), np.int64),
        1 + np.searchsorted(_POSITIONS, positions, side="right"),
        first_count + np.searchsorted(_COUNTS, occurrences, side="right"),
    ):
        np.add.at(sums.counts, (documents, kinds), 1.0)
        np.add.at(sums.sums, (documents, kinds), measured.astype(np.float64))
    return sums


def estimates(sums: ChurnSums, seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """Returns means by kind and measure; kinds without a token are left out."""
    present = [k for k in range(len(KINDS)) if sums.counts[:, k].any()]
    sums = ChurnSums(sums.counts[:, present], sums.sums[:, present])
    rows = _estimates(lambda weights: _means(sums, weights), len(sums.counts), seed)
    return dict(zip((KINDS[k] for k in present), rows, strict=True))


def ratios(sums: ChurnSums, reference: ChurnSums, seed: int = 0) -> dict[str, Estimate]:
    """Returns how many times the reference's churn this is, over all tokens.

    Documents are drawn for both alike: the two are compared on the same text.
    """

    def ratio(weights: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (_means(sums, weights) / _means(reference, weights))[:, :1]

    return _estimates(ratio, len(sums.counts), seed)[0]


def to_json(
    kinds: Mapping[str, Mapping[str, Estimate]],
) -> dict[str, dict[str, dict[str, float]]]:
    """Returns estimates as JSON objects."""
    return {
        kind: {name: estimate._asdict() for name, estimate in row.items()}
        for kind, row in kinds.items()
    }


def _estimates(
    statistic: Callable[[np.ndarray], np.ndarray], documents: int, seed: int
) -> list[dict[str, Estimate]]:
    """Returns estimates by kind, then by measure.

    Args:
        statistic: From how often each document counts, [draws, documents], to
            [draws, kinds, measures].
        documents: How many there are.
        seed: Of the draws.
    """
    even = np.full(documents, 1.0 / documents)
    draws = np.random.default_rng(seed).multinomial(documents, even, size=_DRAWS)
    mean = statistic(np.ones((1, documents)))[0]
    # A draw may leave out all documents with a rare kind.
    low, high = np.nanpercentile(
        statistic(draws.astype(np.float64)), [2.5, 97.5], axis=0
    )
    return [
        {
            measure: Estimate(float(mean[k, m]), float(low[k, m]), float(high[k, m]))
            for m, measure in enumerate(MEASURES)
        }
        for k in range(len(mean))
    ]


def _means(sums: ChurnSums, weights: np.ndarray) -> np.ndarray:
    """Returns [draws, kinds, measures]."""
    counts = weights @ sums.counts
    totals = np.tensordot(weights, sums.sums, axes=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return totals / counts[..., None]
