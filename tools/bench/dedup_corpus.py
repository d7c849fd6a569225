"""Documents for `dedup`: real text, and near copies planted in it."""

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from data_prep.reading import readers
from tools.corpora import books_wet

NGRAM_WORDS = 5
SIMILARITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99)
_WORD = re.compile(r"[^\W_]+")


class Pair(NamedTuple):
    """A document and a near copy of it.

    Attributes:
        first: Number of the one.
        second: Number of the other.
        similarity: True Jaccard similarity of their sets of word n-grams.
    """

    first: int
    second: int
    similarity: float


def sections(paths: Sequence[str], count: int) -> list[str]:
    """Returns sections of 1 to 5 kB: of books, or else made of random words."""
    chosen = random.Random(0)
    chunks: list[str] = []
    if not paths:
        words = [f"word{i}" for i in range(20_000)]
        return [
            " ".join(chosen.choices(words, k=chosen.randrange(180, 900)))
            for _ in range(count)
        ]
    for book in books_wet.read_books(paths):
        lines = [line for line in book.text.split("\n") if line.strip()]
        size = chosen.choice((1_000, 2_000, 3_000, 4_000))
        chunks += readers.sections(iter("\n\n".join(lines).split("\n")), size)
    chunks = [text for text in chunks if 900 < len(text) < 6_000]
    chosen.shuffle(chunks)
    return chunks[:count]


def plant(texts: list[str], pairs_per_similarity: int) -> tuple[list[str], list[Pair]]:
    """Returns the texts with near copies among them, and which they are."""
    chosen = random.Random(1)
    texts, pairs = list(texts), []
    strangers = [word for text in texts[-50:] for word in text.split()]
    originals = iter(range(len(texts)))
    for target in SIMILARITIES:
        for number in range(pairs_per_similarity):
            first = next(originals)
            style = _edit_tail if number % 2 or target > 0.9 else _edit_words
            copy = style(texts[first].split(" "), target, strangers, chosen)
            pairs.append(Pair(first, len(texts), similarity(texts[first], copy)))
            texts.append(copy)
    return texts, pairs


def _lost(num_words: int, target: float) -> float:
    """Returns how many n-grams of either text the other must not have."""
    count = num_words - NGRAM_WORDS + 1
    return count * (1 - 2 * target / (1 + target))


def _edit_words(
    words: list[str], target: float, strangers: list[str], chosen: random.Random
) -> str:
    """Replaces words here and there; each takes an n-gram per place in it."""
    count = round(_lost(len(words), target) / NGRAM_WORDS)
    words = list(words)
    # Spread out, so that no two lie in one n-gram if that can be.
    step = len(words) / max(1, count)
    for i in range(count):
        words[int((i + chosen.random() / 2) * step)] = chosen.choice(strangers)
    return " ".join(words)


def _edit_tail(
    words: list[str], target: float, strangers: list[str], chosen: random.Random
) -> str:
    """Ends otherwise, as a page does that goes on with other news."""
    count = max(1, round(_lost(len(words), target)))
    return " ".join(words[:-count] + chosen.choices(strangers, k=count))


def similarity(one: str, two: str) -> float:
    """Returns the Jaccard similarity of two texts."""
    first, second = ngrams(one), ngrams(two)
    return len(first & second) / max(1, len(first | second))


def ngrams(text: str) -> set[tuple[str, ...]]:
    """Returns the word n-grams of a text: words in lower case, no punctuation."""
    words = _WORD.findall(text.lower())
    return set(zip(*(words[i:] for i in range(NGRAM_WORDS)), strict=False))


def most_alike(number: int, texts: Sequence[str], texts_of: dict) -> float:
    """Returns the similarity of a text to the other one that is most like it.

    Args:
        number: Of the text.
        texts: All of them.
        texts_of: The numbers of the texts that have each n-gram: see `index`.
    """
    shared: dict[int, int] = {}
    ngrams_here = ngrams(texts[number])
    for ngram in ngrams_here:
        for other in texts_of[ngram]:
            shared[other] = shared.get(other, 0) + 1
    shared.pop(number, None)
    likely = sorted(shared, key=shared.__getitem__, reverse=True)[:20]
    return max((similarity(texts[number], texts[i]) for i in likely), default=0.0)


def index(texts: Sequence[str]) -> dict[tuple[str, ...], list[int]]:
    """Returns which texts have each n-gram."""
    texts_of: dict[tuple[str, ...], list[int]] = {}
    for number, text in enumerate(texts):
        for ngram in ngrams(text):
            texts_of.setdefault(ngram, []).append(number)
    return texts_of
