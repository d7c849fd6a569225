"""Words as numbers: every word of a text hashed once, all of them at a time.

A word is a run of letters and digits; case (of ASCII), punctuation and white
space tell no two texts apart. The hashes are those of this file for ever: they
use no random state and no library's hash.
"""

import hashlib

import numpy as np

_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
# Letters and digits in lower case; every byte of a longer character is part of
# a word; the rest separates words.
_FORM = bytes(
    byte if byte in b"0123456789" + _LETTERS or byte >= 0x80 else 0
    for byte in bytes(range(256)).lower()
)
# Bounds the tables and the arrays; a longer word is hashed in pieces.
_PIECE_BYTES = 1 << 18
_BASE = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
_MIX = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


def _powers(base: np.uint64) -> np.ndarray:
    powers = np.full(_PIECE_BYTES + 1, base)
    powers[0] = 1
    return np.multiply.accumulate(powers)


_POWERS, _INVERSE_POWERS = _powers(_BASE), _powers(_INVERSE)


def hash64(content: bytes) -> int:
    """Returns a hash of 64 bits: the same on every machine, for ever."""
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return int.from_bytes(digest, "little")


def mixed(values: np.ndarray) -> np.ndarray:
    """Returns [N] uint64 whose every bit depends on all bits of `values`."""
    values = (values ^ (values >> _HALF)) * _MIX
    values = (values ^ (values >> _HALF)) * _MIX
    return values ^ (values >> _HALF)


def hash_words(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Returns a hash of every word of UTF-8 text, and where each begins.

    A word's hash does not depend on what stands around it.

    Args:
        text: Any length.

    Returns:
        [N] uint64 and [N] int64.
    """
    if 0 < len(text) < _PIECE_BYTES - 2:
        return _hash_piece(text)
    hashes, places = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    start = 0
    while start < len(text):
        stop = min(len(text), start + _PIECE_BYTES - 2)
        if stop < len(text):
            edge = text.rfind(b" ", start, stop)
            stop = edge if edge > start else stop
        piece, begins = _hash_piece(text[start:stop])
        hashes.append(piece)
        places.append(begins + start)
        start = stop
    return np.concatenate(hashes), np.concatenate(places)


def _hash_piece(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    # A separator at both ends gives every word a beginning and an end.
    codes = np.frombuffer(b" " + text + b" ", np.uint8)
    forms = np.frombuffer(b"\0" + text.translate(_FORM) + b"\0", np.uint8)
    if not text.isascii():
        forms = _without_punctuation(codes, forms)
    is_word = forms != 0
    edges = np.flatnonzero(is_word[1:] != is_word[:-1])
    before, last = edges[0::2], edges[1::2]
    # sum(form[i] * base ** i) over the word, shifted to where i begins at 1.
    sums = np.cumsum(forms * _POWERS[: len(forms)])
    hashes = (sums[last] - sums[before]) * _INVERSE_POWERS[before]
    return mixed(hashes), before


def _without_punctuation(codes: np.ndarray, forms: np.ndarray) -> np.ndarray:
    """Makes separators of U+0080 to U+00BF and U+2000 to U+203F.

    No-break spaces, quotes, dashes, ellipses and bullets: the same text often
    comes with them and without.
    """
    forms = forms.copy()
    latin = np.flatnonzero(codes == 0xC2)
    forms[latin], forms[latin + 1] = 0, 0
    lead = np.flatnonzero(codes == 0xE2)
    general = lead[codes[lead + 1] == 0x80]
    for i in range(3):
        forms[general + i] = 0
    return forms


def hash_ngrams(hashes: np.ndarray, n: int) -> np.ndarray:
    """Returns a hash of every `n` words in a row: [max(0, N - n + 1)] uint64."""
    count = max(0, len(hashes) - n + 1)
    ngrams = np.zeros(count, np.uint64)
    for i in range(n):
        ngrams = (ngrams ^ hashes[i : i + count]) * _MIX
        ngrams ^= ngrams >> _HALF
    return ngrams
