"""Stage 2: of documents with equal text, the one with the lowest id stays.

All-to-all, with bounded memory: one task looks at one range of digests in every
part. Which copy stays depends on ids alone, not on order or on the number of
ranges.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from data_prep import work

# 36 bytes each, so a task needs some 300 MB.
DOCUMENTS_PER_BUCKET = 4_000_000

DUPLICATE = np.dtype([("part", "<u4"), ("number", "<u4")])


@dataclasses.dataclass(frozen=True)
class Task:
    """One range of digests.

    Attributes:
        bucket: Number of the range.
        num_buckets: How many ranges there are.
        root: The work folder.
        parts: All parts of the run, in order.
    """

    bucket: int
    num_buckets: int
    root: pathlib.Path
    parts: tuple[work.Part, ...]

    @property
    def marker(self) -> pathlib.Path:
        return work.WorkFolder(self.root).duplicates_marker(self.bucket)

    @property
    def size(self) -> int:
        return len(self.parts)


def find_duplicates(task: Task, advance: Callable[[int], None]) -> None:
    """Writes which documents of the range are copies, and a marker."""
    folder = work.WorkFolder(task.root)
    low = (task.bucket << 64) // task.num_buckets
    high = ((task.bucket + 1) << 64) // task.num_buckets - 1
    slices, owners = [], []
    for i, part in enumerate(task.parts):
        digests = np.load(folder.digests(part), mmap_mode="r")
        column = digests["digest_high"]
        start = np.searchsorted(column, np.uint64(low), side="left")
        stop = np.searchsorted(column, np.uint64(high), side="right")
        slices.append(np.array(digests[start:stop]))
        owners.append(np.full(stop - start, i, np.uint32))
        advance(1)
    rows, parts = np.concatenate(slices), np.concatenate(owners)
    order = np.lexsort(
        (
            rows["number"],
            parts,
            rows["id_low"],
            rows["id_high"],
            rows["digest_low"],
            rows["digest_high"],
        )
    )
    rows, parts = rows[order], parts[order]
    is_copy = np.zeros(len(rows), bool)
    is_copy[1:] = (rows["digest_high"][1:] == rows["digest_high"][:-1]) & (
        rows["digest_low"][1:] == rows["digest_low"][:-1]
    )
    copies = np.zeros(int(is_copy.sum()), DUPLICATE)
    copies["part"], copies["number"] = parts[is_copy], rows["number"][is_copy]
    copies.sort(order=["part", "number"])
    with work.writing(folder.duplicates(task.bucket)) as file:
        np.save(file, copies)
    work.write_marker(task.marker, {"duplicates": len(copies)})


def load_duplicates(
    folder: work.WorkFolder, part_number: int, num_buckets: int
) -> frozenset[int]:
    """Returns the numbers of the documents of a part that are copies.

    Args:
        folder: The work folder.
        part_number: Number of the part in the run.
        num_buckets: How many ranges were searched; 0 for none.
    """
    numbers: set[int] = set()
    for bucket in range(num_buckets):
        copies = np.load(folder.duplicates(bucket), mmap_mode="r")
        start = np.searchsorted(copies["part"], part_number, side="left")
        stop = np.searchsorted(copies["part"], part_number, side="right")
        numbers.update(copies["number"][start:stop].tolist())
    return frozenset(numbers)


def num_buckets_for(parts: tuple[work.Part, ...]) -> int:
    """Returns how many ranges keep a task within its memory."""
    documents = sum(part.documents for part in parts)
    return max(1, -(-documents // DOCUMENTS_PER_BUCKET))
