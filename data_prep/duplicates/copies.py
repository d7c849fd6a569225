"""Finds documents or lines that occur more than once.

A stage leaves, per part, a row for every key of every item. Of the items that
share a key, the one of lowest rank stays; the others are copies, once per key.
Two all-to-all steps: by key, to find the copies, and by part, so that the copies
of a part stand in one small file. Only one block of rows is held, so memory grows
neither with the input nor with the number of items under one key.
"""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from data_prep import work
from data_prep.engines import exchange
from lmcodistill.storage import files

# The lowest bit of a key is the kind; TOO_SHORT needs no key.
EXACT, NEAR, TOO_SHORT = 0, 1, 2
REASONS = ("duplicate", "near_duplicate", "duplicate_lines")

ROW = np.dtype([("key", "<u8"), ("rank", "<u8"), ("part", "<u4"), ("number", "<u4")])
ORDER = ("key", "rank", "part", "number")
COPY = np.dtype([("part", "<u4"), ("number", "<u4"), ("kind", "u1")])
COPY_ORDER = ("part", "number", "kind")

# No output depends on these two. A bucket is read block by block, so it may be
# of any size; many buckets keep many workers busy, but each looks at every run.
_BUCKET_BYTES = 64 << 20
_MAX_BUCKETS = 1_024
_PARTS_PER_FILE = 64
# A block is read, sorted into a copy and compared: its order is 8 bytes a row.
_MEMORY_PER_BLOCK_BYTE = 4


@dataclasses.dataclass(frozen=True)
class Search:
    """Where one search for copies writes: path arithmetic.

    Attributes:
        work_root: The work folder.
        items: What is compared: `documents` or `lines`.
    """

    work_root: pathlib.Path
    items: str

    @property
    def root(self) -> pathlib.Path:
        return self.work_root / "duplicates" / self.items

    def make(self) -> None:
        for name in ("rows", "found", "parts"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def rows(self, part: work.Part) -> pathlib.Path:
        return self.root / "rows" / f"{part.name}.rows"

    def too_short(self, part: work.Part) -> pathlib.Path:
        return self.root / "rows" / f"{part.name}.short"

    def rows_commit(self, part: work.Part) -> pathlib.Path:
        return self.root / "rows" / f"{part.name}.json"

    def key_range(self, number: int, low: int, high: int) -> exchange.Bucket:
        """Returns the bucket that compares the keys from `low` to below `high`."""
        stem = self.root / "found" / f"{number:06d}"
        return exchange.Bucket((low,), (high,), stem, stem.with_suffix(".json"))

    def part_range(self, number: int, low: int, high: int) -> exchange.Bucket:
        """Returns the bucket that gathers the copies of consecutive parts."""
        path = self.root / "parts" / f"{number:06d}.rows"
        return exchange.Bucket((low,), (high,), path, path.with_suffix(".json"))

    def count(self, num_parts: int) -> Mapping[int, Mapping[str, int]]:
        """Returns, of every part that has copies, how many per reason."""
        counts: dict[int, dict[str, int]] = {}
        for bucket in part_ranges(self, num_parts):
            of_parts = work.read_commit(bucket.commit_file)
            counts.update((int(part), reasons) for part, reasons in of_parts.items())
        return counts

    def load(self, number: int) -> np.ndarray:
        """Returns the numbers of the items of one part that are copies, sorted."""
        path = self.part_range(number // _PARTS_PER_FILE, 0, 0).output
        if not path.stat().st_size:
            return np.zeros(0, np.uint32)
        rows = np.memmap(path, COPY, "r")
        start, stop = np.searchsorted(rows["part"], [number, number + 1])
        return np.array(rows["number"][start:stop])


def of_documents(root: pathlib.Path) -> Search:
    """Returns the search for copies of documents, in a work folder."""
    return Search(root, "documents")


def of_lines(root: pathlib.Path) -> Search:
    """Returns the search for copies of lines, in a work folder."""
    return Search(root, "lines")


def rank_of(document_id: str) -> int:
    """Returns what decides between documents that share a key: 64 bits of the id."""
    return int(document_id[:16], 16)


def write_rows(search: Search, part: work.Part, rows: np.ndarray) -> None:
    """Writes the rows of one part, in order."""
    with files.writing(search.rows(part)) as file:
        exchange.write_rows(file, rows, ORDER)


def find_step(search: Search, memory_bytes: int) -> exchange.Step:
    """Returns the all-to-all step by key."""
    return exchange.Step(
        find_runs=functools.partial(_row_runs, search),
        dtype=ROW,
        order=ORDER,
        collect=find,
        block_bytes=memory_bytes // _MEMORY_PER_BLOCK_BYTE,
    )


def key_ranges(search: Search, num_bytes: int) -> list[exchange.Bucket]:
    """Returns the buckets for so many bytes of rows."""
    count = min(_MAX_BUCKETS, max(1, -(-num_bytes // _BUCKET_BYTES)))
    edges = [(i << 64) // count for i in range(count + 1)]
    return [
        search.key_range(i, *pair) for i, pair in enumerate(itertools.pairwise(edges))
    ]


def find(bucket: exchange.Bucket, blocks: Iterator[exchange.Block]) -> None:
    """Writes which items share a key with one of lower rank."""
    num_runs = num_copies = 0
    last_key: np.uint64 | None = None
    for block in blocks:
        keys = block.rows["key"]
        is_copy = np.zeros(len(keys), bool)
        is_copy[0] = keys[0] == last_key
        is_copy[1:] = keys[1:] == keys[:-1]
        last_key = keys[-1]
        rows = block.rows[is_copy]
        if not len(rows):
            continue
        copies = np.zeros(len(rows), COPY)
        copies["part"], copies["number"] = rows["part"], rows["number"]
        copies["kind"] = rows["key"] & np.uint64(1)
        with files.writing(_copies_path(bucket, num_runs)) as file:
            exchange.write_rows(file, copies, COPY_ORDER)
        num_runs, num_copies = num_runs + 1, num_copies + len(copies)
    work.write_commit(bucket.commit_file, {"runs": num_runs, "copies": num_copies})


def gather_step(
    search: Search, num_ranges: int, memory_bytes: int, *, with_short: bool
) -> exchange.Step:
    """Returns the all-to-all step by part, after so many ranges of keys.

    `with_short` says that the parts have a list of documents that are too short.
    """
    return exchange.Step(
        find_runs=functools.partial(_copy_runs, search, num_ranges, with_short),
        dtype=COPY,
        order=COPY_ORDER,
        collect=gather,
        block_bytes=memory_bytes // _MEMORY_PER_BLOCK_BYTE,
    )


def part_ranges(search: Search, num_parts: int) -> list[exchange.Bucket]:
    """Returns the buckets for so many parts."""
    edges = [*range(0, num_parts, _PARTS_PER_FILE), num_parts]
    return [
        search.part_range(i, *pair) for i, pair in enumerate(itertools.pairwise(edges))
    ]


def gather(bucket: exchange.Bucket, blocks: Iterator[exchange.Block]) -> None:
    """Writes every copy once, by its lowest kind, and counts them."""
    counts: dict[str, dict[str, int]] = {}
    last: np.uint64 | None = None
    with files.writing(bucket.output) as file:
        for block in blocks:
            items = block.rows["part"].astype(np.uint64) << np.uint64(32)
            items |= block.rows["number"]
            is_first = np.ones(len(items), bool)
            is_first[0] = items[0] != last
            is_first[1:] = items[1:] != items[:-1]
            last = items[-1]
            rows = block.rows[is_first]
            file.write(rows.tobytes())
            pairs = rows["part"].astype(np.uint64) * len(REASONS) + rows["kind"]
            for pair, count in zip(*np.unique(pairs, return_counts=True), strict=True):
                part, kind = divmod(int(pair), len(REASONS))
                of_part = counts.setdefault(str(part), {})
                of_part[REASONS[kind]] = of_part.get(REASONS[kind], 0) + int(count)
    work.write_commit(bucket.commit_file, counts)


def _copies_path(bucket: exchange.Bucket, block: int) -> pathlib.Path:
    return bucket.output.with_name(f"{bucket.output.name}-{block:06d}.rows")


def _row_runs(search: Search) -> Sequence[exchange.Run]:
    parts = work.WorkFolder(search.work_root).read_parts()
    return [exchange.Run(search.rows(part)) for part in parts]


def _copy_runs(
    search: Search, num_ranges: int, with_short: bool
) -> Sequence[exchange.Run]:
    runs = []
    for number in range(num_ranges):
        bucket = search.key_range(number, 0, 0)
        count = work.read_commit(bucket.commit_file)["runs"]
        runs += [exchange.Run(_copies_path(bucket, i)) for i in range(count)]
    if with_short:
        parts = work.WorkFolder(search.work_root).read_parts()
        runs += [exchange.Run(search.too_short(part)) for part in parts]
    return runs
