"""Gopher's repetition rules (arXiv:2112.11446, table A1), on hashed words.

The paper has no code. All words inside a repeated n-gram count here; datatrove
counts those of later copies, and punctuation: of 466 pages it drops 49 that stay
here, and keeps 43 that go (2026-11).

Words are hashed once and n-grams compared as numbers, and most n-grams are not
looked at: a repeated n-gram lies inside repeated shorter ones, so that few
repetitions of a short one leave none for the longer (six times faster than
looking, measured 2026-11).
"""

import collections
from collections.abc import Sequence

import numpy as np

from data_prep import words

_MAX_DUPLICATES = 0.30
_MAX_DUPLICATE_CHARACTERS = 0.20
_MAX_TOP_NGRAM = {2: 0.20, 3: 0.18, 4: 0.16}
_MAX_DUPLICATE_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def drop_reason(text: str) -> str | None:
    """Returns which kind of repetition is too frequent in a page, or None."""
    for name, separator in (("line", "\n"), ("paragraph", "\n\n")):
        pieces = list(filter(None, map(str.strip, text.split(separator))))
        if reason := _duplicates(pieces, name):
            return reason
    encoded = text.encode()
    hashes, places = words.hash_words(encoded)
    # Of every word, with what stands between it and the next one.
    sizes = np.append(places[1:], len(encoded)) - places
    pairs = words.hash_ngrams(hashes, 2)
    return _frequent_ngrams(hashes, sizes, pairs) or _duplicate_ngrams(
        hashes, sizes, pairs
    )


def _duplicates(pieces: Sequence[str], name: str) -> str | None:
    total = len(pieces)
    if len(set(pieces)) == total:  # As mostly; counting takes longer.
        return None
    counts = collections.Counter(pieces)
    if total - len(counts) > _MAX_DUPLICATES * total:
        return f"gopher_duplicate_{name}s"
    characters = sum(len(piece) * n for piece, n in counts.items())
    repeated = characters - sum(map(len, counts))
    if repeated > _MAX_DUPLICATE_CHARACTERS * characters:
        return f"gopher_duplicate_{name}_characters"
    return None


def _frequent_ngrams(
    hashes: np.ndarray, sizes: np.ndarray, pairs: np.ndarray
) -> str | None:
    """Looks at all copies of the most frequent n-gram."""
    total = int(sizes.sum())
    ends = np.concatenate([[0], np.cumsum(sizes)])
    ordered = np.sort(pairs)

    def may_be_frequent(n: int) -> bool:
        longest = int((ends[n:] - ends[:-n]).max())
        # So often may the longest n-gram occur, and its first two words with it.
        often = max(1, int(_MAX_TOP_NGRAM[n] * total / longest))
        return bool(np.any(ordered[often:] == ordered[:-often]))

    lengths = [n for n in _MAX_TOP_NGRAM if n <= len(sizes)]
    # The more words, the less often: if the longest occur seldom enough, all do.
    if not lengths or not may_be_frequent(lengths[-1]):
        return None
    for n in filter(may_be_frequent, lengths):
        spans, limit = ends[n:] - ends[:-n], _MAX_TOP_NGRAM[n]
        ngrams = pairs if n == 2 else words.hash_ngrams(hashes, n)
        kinds, counts = np.unique(ngrams, return_counts=True)
        most = int(counts.max())
        is_top = np.isin(ngrams, kinds[counts == most])
        if most > 1 and most * int(spans[is_top].max()) > limit * total:
            return f"gopher_top_{n}_gram"
    return None


def _duplicate_ngrams(
    hashes: np.ndarray, sizes: np.ndarray, pairs: np.ndarray
) -> str | None:
    """Looks at the words inside a repeated n-gram, each once."""
    total = int(sizes.sum())
    lowest = min(_MAX_DUPLICATE_NGRAMS.values())
    longest = int(sizes.max(initial=0))
    for n, limit in _MAX_DUPLICATE_NGRAMS.items():
        ngrams = _join(hashes, pairs, n)
        ordered = np.sort(ngrams)
        repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        # Each repetition is of one n-gram at two places at most.
        if 2 * len(repeated) * n * longest <= lowest * total:
            return None
        covered = np.zeros(len(hashes), bool)
        is_repeated = np.isin(ngrams, repeated)
        for i in range(n):
            covered[i : i + len(ngrams)] |= is_repeated
        characters = int(sizes[covered].sum())
        if characters > limit * total:
            return f"gopher_duplicate_{n}_grams"
        # A word inside a repeated n-gram is inside repeated shorter ones.
        if characters <= lowest * total:
            return None
    return None


def _join(hashes: np.ndarray, pairs: np.ndarray, n: int) -> np.ndarray:
    """Returns a hash of every `n` words in a row, out of those of two."""
    count = max(0, len(hashes) - n + 1)
    joined = np.zeros(count, np.uint64)
    for i in range(0, n - 1, 2):
        joined = joined * _FACTOR + pairs[i : i + count]
    if n % 2:
        joined = joined * _FACTOR + hashes[n - 1 : n - 1 + count]
    return joined
