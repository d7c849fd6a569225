"""Finds documents that are in a data folder twice, in bounded memory.

Ids are looked at in ranges, of which one is in memory at a time: 64 bits of each
id, sorted. Only what is equal there is looked up whole.
"""

import collections
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lmcodistill.data import documents_index

_BIN_BITS = 16
# More would only say the same thing again.
_MAX_REPEATED = 10_000


class Seen(NamedTuple):
    """One place of a document.

    Attributes:
        file: The index that names it.
        row: Its position there.
        source: Number of its input file, and its number there.
    """

    file: pathlib.Path
    row: int
    source: tuple[int, int]


def find(
    indices: Sequence[pathlib.Path],
    ids_at_once: int,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, list[Seen]]:
    """Returns the documents that are in more than one place, by id.

    Args:
        indices: Of all shards.
        ids_at_once: How many ids to hold in memory, if they are spread as hashes
            are; 8 bytes each.
        advance: Called with the number of rows that were looked at since the
            last call: each at least once.
    """
    repeated: set[int] = set()
    for number, (low, high, count) in enumerate(_ranges(indices, ids_at_once)):
        ids, filled = np.empty(count, np.uint64), 0
        for rows in _blocks(indices):
            column = rows["id_high"]
            found = column[(column >= low) & (column <= high)]
            ids[filled : filled + len(found)] = found
            filled += len(found)
            if number == 0:
                advance(len(rows))
        ids.sort()
        repeated.update(ids[1:][ids[1:] == ids[:-1]][:_MAX_REPEATED].tolist())
    return _places(indices, sorted(repeated)[:_MAX_REPEATED]) if repeated else {}


def _places(
    indices: Sequence[pathlib.Path], halves: list[int]
) -> dict[str, list[Seen]]:
    """Returns where the ids are whose upper 64 bits are given, if in two places."""
    wanted = np.array(halves, np.uint64)
    seen: dict[str, list[Seen]] = collections.defaultdict(list)
    for index in indices:
        first = 0
        for rows in documents_index.blocks(documents_index.read(index)):
            for i in np.flatnonzero(np.isin(rows["id_high"], wanted)).tolist():
                source = int(rows["file"][i]), int(rows["number"][i])
                place = Seen(index, first + i, source)
                seen[documents_index.id_of(rows[i])].append(place)
            first += len(rows)
    return {id_: places for id_, places in sorted(seen.items()) if len(places) > 1}


def _ranges(
    indices: Sequence[pathlib.Path], ids_at_once: int
) -> Iterator[tuple[np.uint64, np.uint64, int]]:
    """Yields the lowest and the highest 64 bits of each range, and its size."""
    counts = np.zeros(1 << _BIN_BITS, np.int64)
    shift = 64 - _BIN_BITS
    for rows in _blocks(indices):
        bins = (rows["id_high"] >> shift).astype(np.int64)
        counts += np.bincount(bins, minlength=len(counts))
    # A new range begins wherever the ids so far fill one more.
    filled = (np.cumsum(counts) - 1) // ids_at_once
    starts = np.flatnonzero(np.diff(filled, prepend=-1)).tolist()
    for start, stop in zip(starts, [*starts[1:], len(counts)], strict=True):
        high = np.uint64((stop << shift) - 1)
        yield np.uint64(start << shift), high, int(counts[start:stop].sum())


def _blocks(indices: Sequence[pathlib.Path]) -> Iterator[np.ndarray]:
    for index in indices:
        yield from documents_index.blocks(documents_index.read(index))
