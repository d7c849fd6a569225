"""The all-to-all step: rows of every part, in one order, dealt out to buckets.

A stage leaves a *run* per part: rows that are sorted by their order fields, and
perhaps a payload for each. A bucket is a range of that order; it collects its
rows from all runs, in order, block by block. An engine does this with files and
sorting (`collect_from_runs`) or with a shuffle of its own (`read_run`, `sort_keys`);
a bucket sees the same rows in the same order either way, and writes the same bytes.
"""

import bisect
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import IO, NamedTuple

import numpy as np

from data_prep import progress

Bound = tuple[int, ...]


class Bucket(NamedTuple):
    """A range of the order, and where what it collects goes.

    Attributes:
        low: Lowest values of the first order fields.
        high: Values that the rows stay below.
        output: The file that the collector writes, or the stem of several.
        commit_file: The commit file, written once the bucket is collected.
    """

    low: Bound
    high: Bound
    output: pathlib.Path
    commit_file: pathlib.Path


class Run(NamedTuple):
    """What one part leaves for an all-to-all step.

    Attributes:
        rows: Flat file of rows in order; no two are equal in all order fields.
        payload: File with the bytes `start` to `start + size` of each row, in the
            order of the rows without gaps, or None.
    """

    rows: pathlib.Path
    payload: pathlib.Path | None = None


class Block(NamedTuple):
    """Consecutive rows of a bucket.

    Attributes:
        rows: In order.
        payloads: The bytes that belong to each row, or none at all.
    """

    rows: np.ndarray
    payloads: list[bytes]


@dataclasses.dataclass(frozen=True)
class Step:
    """An all-to-all step.

    Attributes:
        find_runs: Returns the runs. A function, because a crawl has more of them
            than the description of a task should carry.
        dtype: Of a row.
        order: Fields that rows are sorted by, unsigned integers all.
        collect: Writes what becomes of a bucket's blocks, then its commit file.
        block_bytes: Bytes of rows and payloads that a block holds at most, which
            bounds the memory of a bucket however large it is.
    """

    find_runs: Callable[[], Sequence[Run]]
    dtype: np.dtype
    order: tuple[str, ...]
    collect: Callable[[Bucket, Iterator[Block]], None]
    block_bytes: int = 256 << 20


def write_rows(
    file: IO[bytes], rows: np.ndarray, step_order: tuple[str, ...]
) -> np.ndarray:
    """Writes rows in order into an open file, and returns them so."""
    ordered = rows[_sorting(rows, step_order)]
    file.write(ordered.tobytes())
    return ordered


def total_bytes(step: Step) -> int:
    """Returns the bytes of all runs together."""
    files = (path for run in step.find_runs() for path in run if path is not None)
    return sum(path.stat().st_size for path in files)


def collect_from_runs(step: Step, bucket: Bucket, advance: progress.Advance) -> None:
    """Collects a bucket from the files of all runs."""
    step.collect(bucket, merge(step, bucket.low, bucket.high, advance))


def merge(
    step: Step, low: Bound, high: Bound, advance: progress.Advance
) -> Iterator[Block]:
    """Yields the rows from `low` to below `high` of all runs, in order."""
    runs = [_Slice.whole(step, run) for run in step.find_runs()]
    slices = [run.cut(run.place(low), run.place(high)) for run in runs]
    stack = [[part for part in slices if part.stop > part.start]]
    while stack:
        slices = stack.pop()
        size = sum(part.size for part in slices)
        halves = _halves(slices) if size > step.block_bytes else None
        if halves is not None:
            stack += reversed(halves)
        elif slices:
            yield _load(step, slices)
            advance(size)


def read_run(step: Step, run: Run) -> Iterator[Block]:
    """Yields all rows of one run in order, for engines that move rows themselves."""
    stack = [_Slice.whole(step, run)]
    while stack:
        rows = stack.pop()
        length = rows.stop - rows.start
        if length > 1 and rows.size > step.block_bytes:
            middle = rows.start + length // 2
            stack += [rows.cut(middle, rows.stop), rows.cut(rows.start, middle)]
        elif length:
            yield _load(step, [rows])


def sort_keys(step: Step, rows: np.ndarray) -> np.ndarray:
    """Returns bytes that sort as the rows do: shape [N, width], uint8."""
    fields = [(name, step.dtype[name].newbyteorder(">")) for name in step.order]
    keys = np.zeros(len(rows), fields)
    for name in step.order:
        keys[name] = rows[name]
    return keys.view(np.uint8).reshape(len(rows), -1)


@dataclasses.dataclass(frozen=True)
class _Slice:
    """The rows `start` to below `stop` of a run."""

    step: Step
    run: Run
    start: int
    stop: int

    @classmethod
    def whole(cls, step: Step, run: Run) -> "_Slice":
        return cls(step, run, 0, run.rows.stat().st_size // step.dtype.itemsize)

    def cut(self, start: int, stop: int) -> "_Slice":
        return dataclasses.replace(self, start=start, stop=stop)

    @functools.cached_property
    def size(self) -> int:
        size = (self.stop - self.start) * self.step.dtype.itemsize
        if self.run.payload is not None and self.stop > self.start:
            with open(self.run.rows, "rb", buffering=0) as file:
                first, last = self.row(file, self.start), self.row(file, self.stop - 1)
            size += int(last["start"]) + int(last["size"]) - int(first["start"])
        return size

    def row(self, file: IO[bytes], number: int) -> np.void:
        """Returns one row of the open file of the run."""
        width = self.step.dtype.itemsize
        row = os.pread(file.fileno(), width, number * width)
        return np.frombuffer(row, self.step.dtype)[0]

    def place(self, bound: Bound) -> int:
        """Returns the number of the first row that is not below `bound`."""
        names, numbers = self.step.order[: len(bound)], range(self.start, self.stop)
        with open(self.run.rows, "rb", buffering=0) as file:
            below = bisect.bisect_left(
                numbers, bound, key=lambda n: _values(self.row(file, n), names)
            )
        return self.start + below

    @property
    def middle(self) -> Bound:
        """All order fields of the row in the middle."""
        with open(self.run.rows, "rb", buffering=0) as file:
            row = self.row(file, (self.start + self.stop) // 2)
        return _values(row, self.step.order)


def _values(row: np.void, names: Sequence[str]) -> Bound:
    return tuple(int(row[name]) for name in names)


def _halves(slices: list[_Slice]) -> list[list[_Slice]] | None:
    """Cuts all slices at one place of the order; None if nothing can be cut."""
    middles = sorted(part.middle for part in slices)
    for pivot in (middles[len(middles) // 2], middles[-1]):
        edges = [part.place(pivot) for part in slices]
        lower = [s.cut(s.start, e) for s, e in zip(slices, edges, strict=True)]
        upper = [s.cut(e, s.stop) for s, e in zip(slices, edges, strict=True)]
        halves = [[s for s in half if s.stop > s.start] for half in (lower, upper)]
        if all(halves):
            return halves
    return None


def _load(step: Step, slices: list[_Slice]) -> Block:
    arrays: list[np.ndarray] = []
    payloads: list[bytes] = []
    for part in slices:
        offset = part.start * step.dtype.itemsize
        count = part.stop - part.start
        rows = np.fromfile(part.run.rows, step.dtype, count, offset=offset)
        arrays.append(rows)
        if part.run.payload is not None:
            # The payloads of consecutive rows have no gaps.
            with open(part.run.payload, "rb", buffering=1 << 20) as file:
                file.seek(int(rows["start"][0]))
                payloads += [file.read(size) for size in rows["size"].tolist()]
    rows = np.concatenate(arrays)
    if len(arrays) == 1:
        return Block(rows, payloads)
    order = _sorting(rows, step.order)
    return Block(rows[order], [payloads[i] for i in order] if payloads else [])


def _sorting(rows: np.ndarray, order: tuple[str, ...]) -> np.ndarray:
    return np.lexsort([rows[name] for name in reversed(order)])
