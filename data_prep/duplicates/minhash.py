"""MinHash: texts that share most of their word n-grams share a band key.

Broder 1997, "On the resemblance and containment of documents": the smallest
hash of a set's members is equal in two sets with the probability of their
Jaccard similarity. Some `num_bands` keys are made of `rows_per_band` smallest
hashes each, so that two texts of similarity s share a key with the probability
1 - (1 - s ** rows_per_band) ** num_bands.

Word 5-grams of a batch are hashed once; a permutation is one multiplication of
32 bits (measured 2026-11 against x * a + b modulo a prime: equal quality).
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from data_prep import words

# Texts are taken together up to this size, which fits the caches; no key depends
# on what it is taken together with.
_BATCH_BYTES = 192 << 10
# More than a batch of several texts can have.
_MAX_WORDS = 1 << 17
_NONE = np.uint32(0xFFFF_FFFF)


class MinHash:
    """Makes the band keys of texts.

    Args:
        num_bands: Keys per text.
        rows_per_band: Smallest hashes per key.
        ngram_words: Words in an n-gram.
    """

    def __init__(self, num_bands: int, rows_per_band: int, ngram_words: int):
        self._num_bands, self._rows = num_bands, rows_per_band
        self._ngram_words = ngram_words
        count = num_bands * rows_per_band
        # Odd, so that each is a permutation of the 32-bit numbers.
        self._factors = [np.uint32(_constant("factor", i) | 1) for i in range(count)]
        self._salts = [np.uint64(_constant("band", i)) for i in range(num_bands)]

    def band_keys(
        self, texts: Sequence[str], min_words: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the keys of every text that is long enough.

        Args:
            texts: Any number of any length.
            min_words: Texts with fewer words have no keys; texts with fewer than
                an n-gram has never have.

        Returns:
            [N, num_bands] uint64, and [N] the number of each one's text.
        """
        min_words = max(min_words, self._ngram_words)
        keys = [np.zeros((0, self._num_bands), np.uint64)]
        numbers = [np.zeros(0, np.int64)]
        for first, batch in _batches(texts):
            hashes, counts = _words_of(batch)
            is_long = counts >= min_words
            if is_long.any():
                hashes = hashes[np.repeat(is_long, counts)]
                minima = self._minima(hashes, counts[is_long])
                keys.append(self._keys(minima))
                numbers.append(first + np.flatnonzero(is_long))
        return np.concatenate(keys), np.concatenate(numbers)

    def _minima(self, hashes: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Returns [num_bands * rows_per_band, N] uint32 of N texts in a row."""
        n = self._ngram_words
        ngrams = words.hash_ngrams(hashes, n)
        values = (ngrams >> np.uint64(32)).astype(np.uint32)
        ends = np.cumsum(counts)
        is_inside = np.ones(len(hashes), bool)
        for i in range(1, n):  # These reach into the next text.
            is_inside[ends - i] = False
        values = values[is_inside[: len(values)]]
        starts = np.cumsum(counts - (n - 1)) - (counts - (n - 1))
        minima = np.full((len(self._factors), len(counts)), _NONE)
        # Only a text that is alone in its batch is longer than a slice.
        for begin in range(0, len(values), _MAX_WORDS):
            piece = values[begin : begin + _MAX_WORDS]
            product = np.empty_like(piece)
            for factor, least in zip(self._factors, minima, strict=True):
                np.multiply(piece, factor, out=product)
                np.minimum(least, np.minimum.reduceat(product, starts), out=least)
        return minima

    def _keys(self, minima: np.ndarray) -> np.ndarray:
        keys = np.empty((minima.shape[1], self._num_bands), np.uint64)
        for band, salt in enumerate(self._salts):
            key = np.full(minima.shape[1], salt)
            for row in minima[band * self._rows : (band + 1) * self._rows]:
                key = words.mixed(key ^ row)
            keys[:, band] = key
        return keys


def _constant(name: str, number: int) -> int:
    """Returns 32 bits that are the same for ever."""
    text = f"lmcodistill minhash {name} {number}"
    digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def _batches(texts: Sequence[str]) -> Iterator[tuple[int, list[bytes]]]:
    """Yields consecutive texts, with the number of the first."""
    batch: list[bytes] = []
    size = first = 0
    for number, text in enumerate(texts):
        encoded = text.encode()
        if batch and size + len(encoded) > _BATCH_BYTES:
            yield first, batch
            batch, size, first = [], 0, number
        batch.append(encoded)
        size += len(encoded) + 1
    if batch:
        yield first, batch


def _words_of(batch: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the word hashes of all texts, and the number of words of each."""
    hashes, places = words.hash_words(b"\n".join(batch))
    sizes = np.array([len(text) + 1 for text in batch])
    edges = np.searchsorted(places, np.cumsum(sizes))
    return hashes, np.diff(edges, prepend=0)
