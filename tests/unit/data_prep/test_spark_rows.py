"""Rows through Spark's shuffle: dealt to their buckets, and the same at the end."""

import pathlib

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="pyarrow comes with lmcodistill[spark]")

import pyarrow as pa

from data_prep.engines import exchange, spark_rows, spark_tasks
from tests.unit.data_prep import test_exchange as runs_of

write_run, bucket = runs_of.write_run, runs_of.bucket
TOP = 1 << 64


def step_of(runs, **changes):
    values = {
        "find_runs": lambda: runs,
        "dtype": runs_of.ROW,
        "order": runs_of.ORDER,
        "collect": lambda bucket, blocks: None,
        "block_bytes": 500,
    }
    return exchange.Step(**{**values, **changes})


def shuffled(step, runs, buckets):
    """Does what Spark does: deals the rows, then sorts them by their keys."""
    edges = spark_rows.Edges.of(step, buckets)
    batches = [batch for run in runs for batch, _ in spark_rows.deal(step, run, edges)]
    table = pa.Table.from_batches(batches).sort_by("key")
    return table.to_batches(max_chunksize=37)


@pytest.fixture
def runs(tmp_path):
    rng = np.random.default_rng(7)
    return [
        write_run(tmp_path, "a", rng.integers(0, 50, 300), rng),
        write_run(tmp_path, "b", [0, TOP - 1, 7], rng),
        write_run(tmp_path, "c", [7] * 90, rng),
        write_run(tmp_path, "d", [], rng),
    ]


def test_every_bucket_gets_the_rows_that_merging_gives_it(runs):
    buckets = [bucket((0,), (7,)), bucket((7,), (8,)), bucket((8,), (TOP,))]
    step = step_of(runs)

    found = {
        number: list(blocks)
        for number, blocks in spark_rows.by_bucket(
            step, shuffled(step, runs, buckets), lambda _: None
        )
    }

    assert list(found) == [0, 1, 2]
    for number, of_rows in enumerate(buckets):
        merged = list(exchange.merge(step, of_rows.low, of_rows.high, lambda _: None))
        np.testing.assert_array_equal(
            np.concatenate([block.rows for block in found[number]]),
            np.concatenate([block.rows for block in merged]),
        )
        assert runs_of.contents(found[number]) == runs_of.contents(merged)


def test_rows_of_buckets_that_are_collected_already_are_not_sent(runs):
    buckets = [bucket((0,), (3,)), bucket((8,), (9,))]
    step = step_of(runs)

    rows = [
        row
        for _, blocks in spark_rows.by_bucket(
            step, shuffled(step, runs, buckets), lambda _: None
        )
        for block in blocks
        for row in block.rows
    ]

    assert {int(row["key"]) for row in rows} == {0, 1, 2, 8}


def test_rows_without_payload_or_rest_arrive(tmp_path):
    dtype = np.dtype([("key", "<u8"), ("part", "<u4")])
    rows = np.array([(TOP - 1, 3), (5, 1)], dtype)
    path = tmp_path / "rows"
    path.write_bytes(np.sort(rows, order=["key", "part"]).tobytes())
    step = step_of([exchange.Run(path)], dtype=dtype, order=("key", "part"))

    number, blocks = next(
        spark_rows.by_bucket(
            step,
            shuffled(step, step.find_runs(), [bucket((0,), (TOP,))]),
            lambda _: None,
        )
    )

    (block,) = blocks
    assert (number, block.rows.tolist()) == (0, [(5, 1), (TOP - 1, 3)])
    assert block.payloads == []


def test_bytes_are_counted_once_when_read_and_once_when_collected(runs):
    step = step_of(runs)
    edges = spark_rows.Edges.of(step, [bucket((0,), (TOP,))])
    dealt = [pair for run in runs for pair in spark_rows.deal(step, run, edges)]
    collected = []

    for _, blocks in spark_rows.by_bucket(
        step, [batch for batch, _ in dealt], collected.append
    ):
        list(blocks)

    assert sum(size for _, size in dealt) == exchange.total_bytes(step)
    assert sum(collected) == exchange.total_bytes(step)


@pytest.mark.parametrize(("partitions", "buckets"), [(1, 1), (3, 10), (10, 10), (4, 7)])
def test_partitions_hold_consecutive_buckets_and_each_bucket_once(partitions, buckets):
    ranges = [
        range(*spark_tasks.bucket_range(p, partitions, buckets))
        for p in range(partitions)
    ]

    assert [b for found in ranges for b in found] == list(range(buckets))
    for p, found in enumerate(ranges):
        assert all(b * partitions // buckets == p for b in found)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left", "/data/x"), FileNotFoundError(2, "no", "/y")]
)
def test_a_failure_survives_being_text_inside_other_text(error):
    carried = f"Job aborted: stage failure: {spark_tasks.Failure(error)} at java.lang"

    found = spark_tasks.failure_in(carried)

    assert (found["kind"], found["errno"]) == (type(error).__name__, error.errno)
    assert pathlib.Path(found["file"]) == pathlib.Path(error.filename)
