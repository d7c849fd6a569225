"""Rows of an all-to-all step on their way through Spark's shuffle.

A row travels as the bytes that it sorts by, what else it holds, its payload and
the number of its bucket. Spark compares bytes without a sign, so its order is
the order of the runs.
"""

import bisect
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from data_prep import progress
from data_prep.engines import exchange

SCHEMA = "bucket int, key binary, rest binary, payload binary"
_BYTES = ("key", "rest", "payload")
_FIELDS = pa.schema({"bucket": pa.int32(), **dict.fromkeys(_BYTES, pa.binary())})
# A batch is in memory several times: as rows, as Arrow, in Java.
_BATCH_BYTES = 8 << 20


@dataclasses.dataclass(frozen=True)
class Edges:
    """Where the buckets begin and end, as bytes that compare like keys.

    Attributes:
        lows: Lowest key of each bucket, ascending.
        highs: What the keys of each bucket stay below.
    """

    lows: list[bytes]
    highs: list[bytes]

    @classmethod
    def of(cls, step: exchange.Step, buckets: Sequence[exchange.Bucket]) -> "Edges":
        """Returns the edges of buckets in ascending order that do not overlap."""
        return cls(
            [_edge(step, bucket.low) for bucket in buckets],
            [_edge(step, bucket.high) for bucket in buckets],
        )

    def find(self, key: bytes) -> int:
        """Returns the number of the bucket of a key, or -1 if it has none."""
        number = bisect.bisect_right(self.lows, key) - 1
        return number if number >= 0 and key < self.highs[number] else -1


def deal(
    step: exchange.Step, run: exchange.Run, edges: Edges
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yields the rows of a run that belong to a bucket, and the bytes read."""
    small = dataclasses.replace(step, block_bytes=min(step.block_bytes, _BATCH_BYTES))
    for block in exchange.read_run(small, run):
        keys = _split(exchange.sort_keys(step, block.rows))
        numbers = np.array([edges.find(key) for key in keys], np.int32)
        columns = [
            pa.array(numbers),
            pa.array(keys, pa.binary()),
            pa.array(_split(_rest_of(step, block.rows)), pa.binary()),
            pa.array(block.payloads, pa.binary())
            if block.payloads
            else pa.nulls(len(keys), pa.binary()),
        ]
        batch = pa.RecordBatch.from_arrays(columns, schema=_FIELDS)
        yield batch.filter(pa.array(numbers >= 0)), _size(block)


def by_bucket(
    step: exchange.Step,
    batches: Iterable[pa.RecordBatch],
    advance: progress.Advance,
) -> Iterator[tuple[int, Iterator[exchange.Block]]]:
    """Yields the buckets that sorted rows belong to, each with its blocks.

    The blocks of a bucket must be read before the next bucket is asked for.
    """
    blocks = itertools.chain.from_iterable(_blocks(step, batch) for batch in batches)
    for number, group in itertools.groupby(blocks, key=lambda pair: pair[0]):
        yield number, _counted((block for _, block in group), advance)


def _counted(
    blocks: Iterator[exchange.Block], advance: progress.Advance
) -> Iterator[exchange.Block]:
    for block in blocks:
        yield block
        advance(_size(block))


def _size(block: exchange.Block) -> int:
    return block.rows.nbytes + sum(map(len, block.payloads))


def _blocks(
    step: exchange.Step, batch: pa.RecordBatch
) -> Iterator[tuple[int, exchange.Block]]:
    numbers = batch.column("bucket").to_numpy(zero_copy_only=False)
    rows = _rows_of(step, *(batch.column(n).to_pylist() for n in ("key", "rest")))
    column = batch.column("payload")
    payloads = [] if column.null_count else column.to_pylist()
    starts = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
    for first, last in itertools.pairwise([0, *starts.tolist(), len(numbers)]):
        if last > first:
            block = exchange.Block(rows[first:last], payloads[first:last])
            yield int(numbers[first]), block


def _rest(step: exchange.Step) -> np.dtype:
    """Returns the type of what a row holds besides its key."""
    names = [name for name in step.dtype.names or () if name not in step.order]
    return np.dtype([(name, step.dtype[name]) for name in names])


def _rest_of(step: exchange.Step, rows: np.ndarray) -> np.ndarray:
    rest = np.empty(len(rows), _rest(step))
    for name in rest.dtype.names or ():
        rest[name] = rows[name]
    return np.frombuffer(rest.tobytes(), np.uint8).reshape(len(rows), -1)


def _rows_of(step: exchange.Step, keys: list[bytes], rest: list[bytes]) -> np.ndarray:
    rows = np.empty(len(keys), step.dtype)
    sorted_by = [(name, step.dtype[name].newbyteorder(">")) for name in step.order]
    for source, dtype in ((keys, np.dtype(sorted_by)), (rest, _rest(step))):
        if dtype.itemsize:
            values = np.frombuffer(b"".join(source), dtype)
            for name in dtype.names or ():
                rows[name] = values[name]
    return rows


def _split(matrix: np.ndarray) -> list[bytes]:
    """Returns the rows of a [N, width] uint8 matrix."""
    content, width = matrix.tobytes(), matrix.shape[1]
    return [content[i * width : (i + 1) * width] for i in range(len(matrix))]


def _edge(step: exchange.Step, bound: exchange.Bound) -> bytes:
    edge = b""
    for name, value in zip(step.order, bound, strict=False):
        width = step.dtype[name].itemsize
        if value >> (8 * width):  # One above the highest: above every key.
            return edge + b"\xff" * (
                1 + sum(step.dtype[n].itemsize for n in step.order)
            )
        edge += value.to_bytes(width, "big")
    return edge
