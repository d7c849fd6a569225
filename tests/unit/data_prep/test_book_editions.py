import itertools

from data_prep import words
from tools.corpora import books_wet

TEXT = (
    "The old sailor walked slowly down towards the harbour, where several ships "
    "were waiting for the evening wind, and he thought about everything that "
    "had happened since the morning of that long and weary day. "
)


def five_grams(text):
    return set(words.hash_ngrams(words.hash_words(text.encode())[0], 5).tolist())


def test_first_edition_is_the_books_as_they_are():
    assert books_wet.edition(TEXT, 0) == TEXT


def test_editions_are_no_near_copies_of_each_other():
    editions = [five_grams(books_wet.edition(TEXT, n)) for n in (0, 1, 7, 119)]

    for one, other in itertools.combinations(editions, 2):
        assert len(one & other) < 0.5 * len(one | other)


def test_short_words_stay():
    changed = books_wet.edition(TEXT, 3)

    assert len(changed) == len(TEXT)
    assert changed.startswith("The old ")
    assert changed.count(" the ") == TEXT.count(" the ")
