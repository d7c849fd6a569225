"""How much predictions differ between models that should be the same.

Every held-out token is predicted by each model; pairs of models are compared
token by token (`model/scoring.py`) and the differences averaged, over all tokens
and by kinds of tokens. Documents are drawn again and again for the intervals over
texts (bootstrap), because the tokens of one document go together; models are left out
one by one for the intervals over retrains (jackknife), because the pairs of one model
go together.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lmcodistill.experiments import intervals
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
    """A mean over tokens and pairs of models, with its 95 % intervals.

    Attributes:
        mean: Of all pairs.
        low: Lower end over other texts: the bootstrap's, by documents.
        high: Its upper end.
        retrains_low: Lower end over other retrains; None for fewer than three.
        retrains_high: Its upper end.
    """

    mean: float
    low: float
    high: float
    retrains_low: float | None = None
    retrains_high: float | None = None


class ChurnSums(NamedTuple):
    """Sums over the tokens of each document, by kind.

    Attributes:
        pairs: Which models are compared.
        counts: [documents, kinds], tokens.
        sums: [pairs, documents, kinds, measures].
    """

    pairs: Sequence[tuple[int, int]]
    counts: np.ndarray
    sums: np.ndarray

    @classmethod
    def zeros(cls, pairs: Sequence[tuple[int, int]], documents: int) -> "ChurnSums":
        """Returns the sums of nothing yet."""
        shape = (documents, len(KINDS))
        by_pair = np.zeros((len(pairs), *shape, len(MEASURES)))
        return cls(pairs, np.zeros(shape), by_pair)

    def add(
        self,
        documents: np.ndarray,
        positions: np.ndarray,
        occurrences: np.ndarray,
        measured: np.ndarray,
    ) -> None:
        """Adds what some tokens differ by.

        Args:
            documents: [N], which document each belongs to, from 0 on.
            positions: [N], where in it.
            occurrences: [N], how often the token is in the training text.
            measured: [pairs, N, measures].
        """
        first_count = 2 + len(_POSITIONS)
        for kinds in (
            np.zeros(len(documents), np.int64),
            1 + np.searchsorted(_POSITIONS, positions, side="right"),
            first_count + np.searchsorted(_COUNTS, occurrences, side="right"),
        ):
            np.add.at(self.counts, (documents, kinds), 1.0)
            for sums, values in zip(self.sums, measured, strict=True):
                np.add.at(sums, (documents, kinds), values.astype(np.float64))

    def means(self, weights: np.ndarray) -> np.ndarray:
        """Returns the mean of all pairs, [draws, kinds, measures].

        Args:
            weights: [draws, documents], how often each document counts.
        """
        totals = np.tensordot(weights, self.sums.mean(0), axes=1)
        return _divided(totals, (weights @ self.counts)[..., None])

    def spread(self) -> np.ndarray | None:
        """Returns the standard error of the mean over other retrains.

        By the jackknife over models (Arvesen 1969, Jackknifing U-statistics): each is
        left out with all its pairs. On average it is not too small (Efron and Stein
        1981, The jackknife estimate of variance).

        Returns:
            [kinds, measures]; None where fewer than three models say nothing.
        """
        models = self.num_models
        if models < 3:
            return None
        by_pair = _divided(self.sums.sum(1), self.counts.sum(0)[:, None])
        without = np.stack(
            [
                by_pair[[model not in pair for pair in self.pairs]].mean(0)
                for model in range(models)
            ]
        )
        squares = ((without - without.mean(0)) ** 2).sum(0)
        return np.sqrt((models - 1) / models * squares)

    @property
    def num_models(self) -> int:
        return max(map(max, self.pairs)) + 1


def estimates(sums: ChurnSums, seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """Returns means by kind and measure; kinds without a token are left out."""
    present = [k for k in range(len(KINDS)) if sums.counts[:, k].any()]
    sums = ChurnSums(sums.pairs, sums.counts[:, present], sums.sums[:, :, present])
    every = _bootstrap(sums.means, len(sums.counts), seed)
    if (spread := sums.spread()) is not None:
        half = intervals.t_quantile(sums.num_models - 1) * spread
        every += every[0] - half, every[0] + half
    kinds = (KINDS[k] for k in present)
    return {k: _row(*ends) for k, *ends in zip(kinds, *every, strict=True)}


def ratios(sums: ChurnSums, reference: ChurnSums, seed: int = 0) -> dict[str, Estimate]:
    """Returns how many times the reference's churn this is, over all tokens.

    Documents are drawn for both alike: the two are compared on the same text. The
    retrains of the two are taken for independent, with the degrees of freedom of the
    smaller group.
    """

    def ratio(weights: np.ndarray) -> np.ndarray:
        return _divided(sums.means(weights), reference.means(weights))[:, 0]

    every = _bootstrap(ratio, len(sums.counts), seed)
    groups = sums, reference
    spreads = [found for of in groups if (found := of.spread()) is not None]
    if len(spreads) == len(groups):
        even = np.ones((1, len(sums.counts)))
        # Of the logarithm.
        parts = [
            _divided(spread[0], of.means(even)[0, 0])
            for spread, of in zip(spreads, groups, strict=True)
        ]
        models = min(sums.num_models, reference.num_models)
        half = intervals.t_quantile(models - 1) * np.hypot(*parts)
        every += every[0] * np.exp(-half), every[0] * np.exp(half)
    return _row(*every)


def to_json(
    kinds: Mapping[str, Mapping[str, Estimate]],
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Returns estimates as JSON objects."""
    return {
        kind: {name: estimate._asdict() for name, estimate in row.items()}
        for kind, row in kinds.items()
    }


def _bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray], documents: int, seed: int
) -> tuple[np.ndarray, ...]:
    """Returns a statistic of all documents, and its interval's ends.

    Args:
        statistic: From how often each document counts, [draws, documents], to
            [draws, ...].
        documents: How many there are.
        seed: Of the draws.
    """
    even = np.full(documents, 1.0 / documents)
    draws = np.random.default_rng(seed).multinomial(documents, even, size=_DRAWS)
    # A draw may leave out all documents with a rare kind.
    low, high = np.nanpercentile(
        statistic(draws.astype(np.float64)), [2.5, 97.5], axis=0
    )
    return statistic(np.ones((1, documents)))[0], low, high


def _row(*columns: np.ndarray) -> dict[str, Estimate]:
    """Returns estimates by measure, from the fields of `Estimate`, each [measures]."""
    rows = zip(MEASURES, *columns, strict=True)
    return {measure: Estimate(*map(float, values)) for measure, *values in rows}


def _divided(totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns NaN where there is nothing to divide by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return totals / counts
