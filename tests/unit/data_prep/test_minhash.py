"""Word hashes and MinHash: keys that are the same for ever, and mean likeness."""

import hashlib
import random

import numpy as np
import pytest

from data_prep import words
from data_prep.duplicates import minhash

WORDS = [f"word{i}" for i in range(5_000)]


def text_of(seed, num_words=300):
    return " ".join(random.Random(seed).choices(WORDS, k=num_words))


def keys_of(texts, **changes):
    shape = {"num_bands": 14, "rows_per_band": 8, "ngram_words": 5, **changes}
    return minhash.MinHash(**shape).band_keys(texts, 0)


def hashes_of(text):
    return words.hash_words(text.encode())[0].tolist()


def test_words_hash_alike_wherever_they_stand():
    first, second, third = hashes_of("one two three")

    assert hashes_of("three  (two)\n\nONE!") == [third, second, first]
    assert hashes_of("one-two\tthree") == [first, second, third]
    assert len({first, second, third}) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\u201cone\u201d \u2014 two\u2026", "one two"),
        ("one\u00a0two \u00bb", "one two"),
        ("na\u00efve \u4e2d\u6587", "na\u00efve \u4e2d\u6587"),
        ("\u20ac", "\u20ac"),
    ],
)
def test_punctuation_beyond_ascii_separates_words_and_letters_do_not(text, words):
    assert hashes_of(text) == hashes_of(words)


def test_places_are_where_words_begin():
    _, places = words.hash_words(b" a bc,d")

    assert places.tolist() == [1, 3, 6]


def test_long_text_hashes_as_its_words_do(monkeypatch):
    text = text_of(0)
    whole = hashes_of(text)

    monkeypatch.setattr("data_prep.words._PIECE_BYTES", 100)

    assert hashes_of(text) == whole


def test_no_text_has_no_words():
    assert hashes_of("") == hashes_of(" ,.\n") == []


def keys_by_definition(words, num_bands, rows_per_band, ngram_words):
    """Returns the band keys, computed one number at a time."""
    mix, top = 0xD6E8FEB86659FD93, (1 << 64) - 1

    def mixed(x):
        for _ in range(2):
            x = (x ^ x >> 32) * mix & top
        return x ^ x >> 32

    def constant(name, i):
        text = f"lmcodistill minhash {name} {i}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "little")

    base = 0x9E3779B97F4A7C15
    hashes = [
        # Byte i of a word counts base ** (i + 1).
        mixed(sum(b * base ** (i + 1) for i, b in enumerate(word.encode())) & top)
        for word in words
    ]
    values = []
    for i in range(len(words) - ngram_words + 1):
        ngram = 0
        for word in hashes[i : i + ngram_words]:
            ngram = (ngram ^ word) * mix & top
            ngram ^= ngram >> 32
        values.append(ngram >> 32)
    keys = []
    for band in range(num_bands):
        key = constant("band", band)
        for row in range(band * rows_per_band, (band + 1) * rows_per_band):
            factor = constant("factor", row) | 1
            key = mixed(key ^ min(v * factor & 0xFFFF_FFFF for v in values))
        keys.append(key)
    return keys


def test_keys_are_those_of_the_definition():
    text = text_of(1, num_words=60)

    keys, numbers = keys_of([text])

    assert numbers.tolist() == [0]
    assert keys[0].tolist() == keys_by_definition(text.split(), 14, 8, 5)


def test_keys_do_not_depend_on_what_is_hashed_together(monkeypatch):
    texts = [text_of(i, num_words=5 + 40 * i) for i in range(12)]
    together, _ = keys_of(texts)
    alone = np.concatenate([keys_of([text])[0] for text in texts])
    monkeypatch.setattr("data_prep.duplicates.minhash._BATCH_BYTES", 1_000)

    small, _ = keys_of(texts)

    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, small)


def test_text_longer_than_a_slice_has_the_keys_of_the_whole(monkeypatch):
    text = text_of(0, num_words=5_000)
    whole, _ = keys_of([text])

    monkeypatch.setattr("data_prep.duplicates.minhash._MAX_WORDS", 700)

    np.testing.assert_array_equal(keys_of([text])[0], whole)


def test_short_texts_have_no_keys_and_the_others_keep_their_numbers():
    shape = minhash.MinHash(14, 8, 5)

    keys, numbers = shape.band_keys(["", "a b c d", "a b c d e", "x " * 30], 0)
    _, longer = shape.band_keys(["a b c d e", "x " * 30], 6)

    assert numbers.tolist() == [2, 3]
    assert keys.shape == (2, 14)
    assert longer.tolist() == [1]


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9])
def test_texts_share_a_key_as_often_as_theory_says(similarity):
    # Jaccard of n-gram sets of equal size with k in common: k / (2 n - k).
    num_ngrams, num_pairs, hits = 200, 300, 0
    common = round(2 * num_ngrams * similarity / (1 + similarity))
    texts = []
    for pair in range(num_pairs):
        shared = text_of(pair, common + 4)
        tail = num_ngrams - common
        texts += [f"{shared} {text_of(90_000 + 2 * pair + i, tail)}" for i in (0, 1)]

    keys, _ = keys_of(texts)

    hits = (keys[0::2] == keys[1::2]).any(axis=1).mean()
    true = common / (2 * num_ngrams - common)
    expected = 1 - (1 - true**8) ** 14
    spread = (expected * (1 - expected) / num_pairs) ** 0.5
    assert abs(hits - expected) < 4 * spread + 0.005
