"""The index of a shard's documents: which stands where, and where it came from.

Beside every `shard-00000.tokens` lies `shard-00000.documents`: a flat file with
one row for each document, in the order of the tokens. Training needs none of
it; it is what proves that no document is in two splits and none was lost.
"""

import pathlib
from collections.abc import Iterator

import numpy as np

ROW = np.dtype(
    [
        # The id's 128 bits; as a number, `id_high * 2^64 + id_low`.
        ("id_high", "<u8"),
        ("id_low", "<u8"),
        # Where its tokens start in the shard, in tokens.
        ("start", "<u8"),
        # Number of the input file in the manifest, and of the document in it.
        ("file", "<u4"),
        ("number", "<u4"),
        # Counts: ids with `</s>`; words and UTF-8 bytes of the text.
        ("tokens", "<u4"),
        ("words", "<u4"),
        ("bytes", "<u4"),
    ]
)
# Rows looked at together.
BLOCK_ROWS = 1 << 18


def path_of(shard: pathlib.Path) -> pathlib.Path:
    """Returns where the index of a shard is."""
    return shard.with_suffix(".documents")


def id_of(row: np.void) -> str:
    """Returns the id of a row as its 32 hexadecimal digits."""
    return f"{int(row['id_high']):016x}{int(row['id_low']):016x}"


def sum_of_ids(total: int) -> str:
    """Returns a sum of ids, modulo 2^128, in hexadecimal."""
    return f"{total % (1 << 128):032x}"


def read(path: pathlib.Path) -> np.ndarray:
    """Returns the rows of an index, memory-mapped.

    Raises:
        OSError: there is none.
    """
    if not path.stat().st_size:  # An empty file cannot be mapped.
        return np.zeros(0, ROW)
    return np.memmap(path, dtype=ROW, mode="r")


def blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yields rows in memory, at most `BLOCK_ROWS` at once."""
    for start in range(0, len(rows), BLOCK_ROWS):
        yield np.array(rows[start : start + BLOCK_ROWS])


class InputTotals:
    """How many documents came from each input file, and the sum of their ids."""

    def __init__(self, num_files: int) -> None:
        self._documents = np.zeros(num_files, np.int64)
        # By 32 bits of the id, the lowest first. A file has fewer than 2^32
        # documents, so that none of these overflows.
        self._sums = np.zeros((4, num_files), np.uint64)

    def add(self, rows: np.ndarray) -> None:
        """Counts a block of rows, whose file numbers exist."""
        files, num_files = rows["file"], len(self._documents)
        self._documents += np.bincount(files, minlength=num_files)
        for i, column in enumerate(("id_low", "id_high")):
            np.add.at(self._sums[2 * i], files, rows[column] & np.uint64(0xFFFFFFFF))
            np.add.at(self._sums[2 * i + 1], files, rows[column] >> 32)

    def of(self, file: int) -> tuple[int, str]:
        """Returns the documents of an input file, and `sum_of_ids` of them."""
        total = sum(int(x) << (32 * i) for i, x in enumerate(self._sums[:, file]))
        return int(self._documents[file]), sum_of_ids(total)
