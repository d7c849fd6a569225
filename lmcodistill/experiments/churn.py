"""How much predictions differ between models that should be the same.

Every held-out token is predicted by each model; pairs of models are compared
token by token (`model/scoring.py`) and the differences averaged, over all tokens
and by kinds of tokens. Documents are drawn again and again for the intervals
(bootstrap), because the tokens of one document go together.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lmcodistill.model import scoring

MEASURES = scoring.Disagreement._fields
# Upper ends, exclusive; the last kind has none.
_POSITIONS = (8, 32, 128, 512)
_COUNTS = (100, 1_000, 10_000, 100_000)
_DRAWS = 1_000


def _kinds(what: str, ends: Sequence[int]) -> list[str]:
    starts = (0, *ends)
    names = [f"{what} {a:,} to {b - 1:,}" for a, b in itertools.pairwise(starts)]
    return [*names, f"{what} {ends[-1]:,} and more"]


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


@dataclasses.dataclass
class Sums:
    """Sums over the tokens of each document, by kind.

    Attributes:
        counts: [documents, kinds], tokens.
        sums: [documents, kinds, measures].
    """

    counts: np.ndarray
    sums: np.ndarray

    @classmethod
    def empty(cls, documents: int) -> "Sums":
        """Returns zeros for so many documents."""
        shape = (documents, len(KINDS))
        return cls(np.zeros(shape), np.zeros((*shape, len(MEASURES))))

    def add(
        self,
        documents: np.ndarray,
        positions: np.ndarray,
        occurrences: np.ndarray,
        measured: np.ndarray,
    ) -> None:
        """Adds tokens.

        Args:
            documents: [N], which document each belongs to.
            positions: [N], where in it.
            occurrences: [N], how often the token is in the training text.
            measured: [N, measures].
        """
        first_count = 2 + len(_POSITIONS)
        for kinds in (
            np.zeros(len(documents), np.int64),
            1 + np.searchsorted(_POSITIONS, positions, side="right"),
            first_count + np.searchsorted(_COUNTS, occurrences, side="right"),
        ):
            np.add.at(self.counts, (documents, kinds), 1.0)
            np.add.at(self.sums, (documents, kinds), measured)


def estimates(found: Sums, seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """Returns means by kind and measure; kinds without a token are left out."""
    present = [k for k in range(len(KINDS)) if found.counts[:, k].any()]
    found = Sums(found.counts[:, present], found.sums[:, present])
    means = _means(found, _weights(len(found.counts), seed))
    mean = _means(found, np.ones((1, len(found.counts))))[0]
    # A draw may leave out all documents with a rare kind.
    low, high = np.nanpercentile(means, [2.5, 97.5], axis=0)
    return {
        KINDS[k]: {
            measure: Estimate(float(mean[i, m]), float(low[i, m]), float(high[i, m]))
            for m, measure in enumerate(MEASURES)
        }
        for i, k in enumerate(present)
    }


def ratios(found: Sums, reference: Sums, seed: int = 0) -> dict[str, Estimate]:
    """Returns how many times the reference's churn this is, over all tokens.

    Documents are drawn for both alike: the two are compared on the same text.
    """
    weights = _weights(len(found.counts), seed)
    once = np.ones((1, len(found.counts)))

    def ratio(drawn: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (_means(found, drawn) / _means(reference, drawn))[:, 0]

    mean, drawn = ratio(once)[0], ratio(weights)
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    return {
        measure: Estimate(float(mean[m]), float(low[m]), float(high[m]))
        for m, measure in enumerate(MEASURES)
    }


def to_json(found: Mapping[str, Mapping[str, Estimate]]) -> dict[str, dict]:
    """Returns estimates as JSON objects."""
    return {
        kind: {name: estimate._asdict() for name, estimate in row.items()}
        for kind, row in found.items()
    }


def _weights(documents: int, seed: int) -> np.ndarray:
    """Returns how often each document is in each draw: [draws, documents]."""
    generator = np.random.default_rng(seed)
    even = np.full(documents, 1.0 / documents)
    return generator.multinomial(documents, even, size=_DRAWS).astype(np.float64)


def _means(found: Sums, weights: np.ndarray) -> np.ndarray:
    """Returns [draws, kinds, measures]."""
    counts = weights @ found.counts
    sums = np.tensordot(weights, found.sums, axes=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums / counts[..., None]
