"""Finds documents that are in a data folder twice, in bounded memory.

Ids are looked at in several passes, each over a share of them: 64 bits of each id,
sorted. Only what is equal there is looked up whole.
"""

import collections
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lmcodistill.data import documents_index

# More would only say the same thing again.
_MAX_REPEATED = 10_000


class Appearance(NamedTuple):
    """A document in an index.

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
) -> dict[str, list[Appearance]]:
    """Returns the documents that are in more than one place, by id.

    Args:
        indices: Of all shards.
        ids_at_once: How many ids to hold in memory, if they are spread as hashes
            are; 8 bytes each.
        advance: Called with the number of rows that were looked at since the
            last call: each at least once.
    """
    repeated: set[int] = set()
    total = sum(len(documents_index.read(index)) for index in indices)
    # Half of them, because they are copied once.
    passes = 1 + 2 * total // ids_at_once
    for number in range(passes):
        parts = [np.zeros(0, np.uint64)]
        for index in indices:
            for rows in documents_index.blocks(documents_index.read(index)):
                column = rows["id_high"]
                parts.append(column[column % np.uint64(passes) == number])
                advance(len(rows) if number == 0 else 0)
        ids = np.concatenate(parts)
        ids.sort()
        repeated.update(ids[1:][ids[1:] == ids[:-1]][:_MAX_REPEATED].tolist())
    return _appearances(indices, sorted(repeated)[:_MAX_REPEATED]) if repeated else {}


def _appearances(
    indices: Sequence[pathlib.Path], halves: list[int]
) -> dict[str, list[Appearance]]:
    """Returns where the ids are whose upper 64 bits are given, if in two places."""
    repeated = np.array(halves, np.uint64)
    appearances: dict[str, list[Appearance]] = collections.defaultdict(list)
    for index in indices:
        rows = documents_index.read(index)
        for start in range(0, len(rows), documents_index.BLOCK_ROWS):
            column = rows["id_high"][start : start + documents_index.BLOCK_ROWS]
            for i in start + np.flatnonzero(np.isin(column, repeated)):
                source = int(rows["file"][i]), int(rows["number"][i])
                appearance = Appearance(index, int(i), source)
                appearances[documents_index.id_of(rows[i])].append(appearance)
    return {id_: all_ for id_, all_ in sorted(appearances.items()) if len(all_) > 1}
