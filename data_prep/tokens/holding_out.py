"""How much of the text is held out, where prep splits it itself.

What is held out is held out by source document: a page, a row, or a whole text
file, since sections and lines of one file are too much alike to judge each other.
The source documents of the lowest hashes go, and more of them where a share of a
small text would be none or next to nothing. All follows from the documents that
were kept, in any order.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from data_prep import documents
from data_prep.tokens import partition
from lmcodistill.settings import prep

# What validation has at least, as far as a tenth of the text goes. Bytes, since
# nothing is known of tokens yet: a token of English has four or so.
LEAST_SOURCES, LEAST_TOKENS = 20, 10_000
_LEAST_BYTES = 4 * LEAST_TOKENS
_SHARE_FOR_LEAST = 0.1
# Where a share should give so many times the least, nobody needs to look.
_PLENTY = 4
# At most this share, or so many times the one asked for, is held out.
_MOST, _MOST_TIMES = 0.25, 2.0
_NEVER = math.inf

Sizes = Callable[[int], Iterable[tuple[str, int]]]


class KeptFile(NamedTuple):
    """What is left of an input file, copies not among it.

    Attributes:
        number: Its number in the run.
        name: What ids call it.
        is_one_text: Whether its documents are cut from one text.
        documents: How many.
        bytes: UTF-8 bytes of their text, of copies too.
    """

    number: int
    name: str
    is_one_text: bool
    documents: int
    bytes: int


class Choice(NamedTuple):
    """What is held out.

    Attributes:
        held_out: Which hashes.
        chances: By number, the text files that are dealt as a whole: the uniform
            number that takes the place of those of their documents.
    """

    held_out: partition.HeldOut
    chances: Mapping[int, float]


class _SourceDocument(NamedTuple):
    """A source document: the uniform number in [0, 1) of its hash, and its size."""

    chance: float
    bytes: int


def choose(settings: prep.Prep, files: Sequence[KeptFile], sizes: Sizes) -> Choice:
    """Returns what is held out.

    A text file that is too much of all text is always trained on. Where there is
    nothing else, its documents are dealt one by one.

    Args:
        settings: What shares are wanted, and the seed of the hash.
        files: All input files that prep splits itself.
        sizes: Yields the id and the UTF-8 bytes of each document of the file with
            this number; asked only where there is little text.
    """
    share, guide_share = settings.validation_fraction, settings.guide_fraction
    files = [file for file in files if file.documents]
    total = sum(file.bytes for file in files)
    most = total * max(_MOST, _MOST_TIMES * share)
    chances = {
        file.number: _NEVER
        if file.bytes > most
        else partition.draw(documents.make_id(file.name, ""), settings.seed).validation
        for file in files
        if file.is_one_text
    }
    if chances and all(chances.get(file.number) == _NEVER for file in files):
        one_by_one = [file._replace(is_one_text=False) for file in files]
        return choose(settings, one_by_one, sizes)
    if _is_plenty(share, files):
        held_out = partition.HeldOut(share, share, share + guide_share)
        return Choice(held_out, chances)
    sources = sorted(_sources(settings.seed, files, chances, sizes))
    validation = _end(
        sources, share, most, LEAST_SOURCES, _LEAST_BYTES, total * _SHARE_FOR_LEAST
    )
    start = max(validation, share)
    left = [source for source in sources if source.chance >= start]
    guide = start + guide_share
    taken = sum(source.bytes for source in sources if source.chance < validation)
    # One source is enough for a guide; a text that is too small for it goes without.
    if guide_share and left and taken + left[0].bytes <= most:
        guide = _end(left, guide, most)
    return Choice(partition.HeldOut(validation, start, guide), chances)


def _is_plenty(share: float, files: Sequence[KeptFile]) -> bool:
    """Returns whether a share of the hashes surely holds more than the least."""
    sources = sum(1 if file.is_one_text else file.documents for file in files)
    size = sum(file.bytes for file in files)
    return (
        share * sources >= _PLENTY * LEAST_SOURCES
        and share * size >= _PLENTY * _LEAST_BYTES
    )


def _sources(
    seed: int, files: Sequence[KeptFile], chances: Mapping[int, float], sizes: Sizes
) -> Iterator[_SourceDocument]:
    for file in files:
        if file.number not in chances:
            for id_, size in sizes(file.number):
                yield _SourceDocument(partition.draw(id_, seed).validation, size)
        elif chances[file.number] != _NEVER:
            yield _SourceDocument(chances[file.number], file.bytes)


def _end(
    sources: Sequence[_SourceDocument],
    end: float,
    most_bytes: float,
    least_sources: int = 1,
    least_bytes: int = 0,
    least_at_most: float = 0.0,
) -> float:
    """Returns where what is taken of the sources, in order of hash, ends.

    That is at `end`; further up, for as long as the least is not reached and costs
    no more than `least_at_most` bytes; further down, where it were more than
    `most_bytes`. The first source is always taken.
    """
    size = 0
    for number, source in enumerate(sources):
        after = size + source.bytes
        is_least = number >= least_sources and size >= least_bytes
        is_over = source.chance >= end and (is_least or after > least_at_most)
        if number and (is_over or after > most_bytes):
            # Just below it, or just above the last that was taken.
            above = math.nextafter(sources[number - 1].chance, 1.0)
            return min(max(end, above), source.chance)
        size = after
    return max(end, math.nextafter(sources[-1].chance, 1.0)) if sources else end
