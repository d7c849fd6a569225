"""What runs on the executors of Spark, and how its failures come home.

A failure that a person must act on travels as a token in the text of an
exception: Java and Spark hand on text, and wrap it in their own.
"""

import base64
import contextlib
import json
import pathlib
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyspark

from data_prep import progress
from data_prep.engines import engine, exchange, spark_rows
from lmcodistill import errors

_TOKEN = re.compile(r"lmcodistill-failure:([\w+/=]+):")


class Failure(Exception):
    """Carries an error through Java."""

    def __init__(self, error: errors.LmcodistillError | OSError):
        content: dict[str, Any] = {
            "kind": type(error).__name__,
            "message": str(error),
            "host": socket.gethostname(),
        }
        if isinstance(error, OSError):
            content |= {
                "errno": error.errno,
                "message": error.strerror,
                "file": str(error.filename or ""),
            }
        encoded = base64.b64encode(json.dumps(content).encode()).decode()
        super().__init__(f"lmcodistill-failure:{encoded}:")


def failure_in(text: str) -> dict[str, Any] | None:
    """Returns what the failure in the text of an exception says, if it has one."""
    match = _TOKEN.search(text)
    return json.loads(base64.b64decode(match.group(1))) if match else None


def run_tasks(
    function: engine.StageFunction[Any],
    probe: pathlib.Path,
    advance: progress.Advance,
    report: Callable[[str], None],
    tasks: Iterable[Any],
) -> Iterator[None]:
    """Runs the tasks of one partition.

    An error that would come again is reported and not raised: Spark would try
    the task four times.
    """
    with _portable_errors(probe):
        for task in tasks:
            try:
                function(task, advance)
            except errors.LmcodistillError as error:
                report(str(Failure(error)))
    yield from ()


def deal_runs(
    step: exchange.Step,
    edges: spark_rows.Edges,
    probe: pathlib.Path,
    advance: progress.Advance,
    batches: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Yields the rows of the runs whose numbers come in."""
    with _portable_errors(probe):
        runs = step.find_runs()
        for batch in batches:
            for number in batch.column(0).to_pylist():
                for dealt, size in spark_rows.deal(step, runs[number], edges):
                    advance(size)
                    yield dealt


def collect_buckets(
    step: exchange.Step,
    buckets: Sequence[Any],
    num_partitions: int,
    probe: pathlib.Path,
    advance: progress.Advance,
    batches: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Lets the buckets of this partition collect their rows, which come sorted."""
    context = pyspark.TaskContext.get()
    assert context is not None
    nothing: tuple[int, Iterator[exchange.Block]] = (-1, iter(()))
    with _portable_errors(probe):
        filled = spark_rows.by_bucket(step, batches, advance)
        number, blocks = next(filled, nothing)
        for mine in range(
            *bucket_range(context.partitionId(), num_partitions, len(buckets))
        ):
            if mine == number:
                step.collect(buckets[mine], blocks)
                number, blocks = next(filled, nothing)
            else:
                step.collect(buckets[mine], iter(()))
    yield from ()


def bucket_range(
    partition: int, num_partitions: int, num_buckets: int
) -> tuple[int, int]:
    """Returns the first bucket of a partition, and the first of the next.

    The inverse of `bucket * num_partitions // num_buckets`.
    """
    first = -(-partition * num_buckets // num_partitions)
    return first, -(-(partition + 1) * num_buckets // num_partitions)


@contextlib.contextmanager
def _portable_errors(probe: pathlib.Path) -> Iterator[None]:
    """Checks that the work folder is the driver's; lets errors pass through Java."""
    try:
        probe.stat()
        yield
    except errors.LmcodistillError as error:
        raise Failure(error) from error
    except OSError as error:
        if error.errno is None:
            raise
        raise Failure(error) from error
