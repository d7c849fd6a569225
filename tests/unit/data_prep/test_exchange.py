"""The all-to-all step: the same rows in the same order, however they are cut."""

import pathlib

import numpy as np
import pytest

from data_prep.engines import exchange

ROW = np.dtype([("key", "<u8"), ("rank", "<u8"), ("start", "<u8"), ("size", "<u8")])
ORDER = ("key", "rank")


def bucket(low, high):
    return exchange.Bucket(low, high, pathlib.Path("unused"), pathlib.Path("unused"))


def write_run(folder, name, keys, rng):
    """Writes rows with these keys and a payload that tells them apart."""
    rows = np.zeros(len(keys), ROW)
    rows["key"], rows["rank"] = keys, rng.permutation(1 << 20)[: len(keys)]
    rows = rows[np.lexsort([rows["rank"], rows["key"]])]
    payloads = [b"%d/%d;" % (row["key"], row["rank"]) for row in rows]
    rows["size"] = [len(payload) for payload in payloads]
    rows["start"] = np.cumsum(rows["size"]) - rows["size"]
    run = exchange.Run(folder / f"{name}.rows", folder / f"{name}.payload")
    run.rows.write_bytes(rows.tobytes())
    run.payload.write_bytes(b"".join(payloads))
    return run


def step_of(runs, block_bytes):
    return exchange.Step(
        lambda: runs, ROW, ORDER, lambda bucket, blocks: None, block_bytes
    )


def contents(blocks):
    return b"".join(payload for block in blocks for payload in block.payloads)


@pytest.fixture
def runs(tmp_path):
    rng = np.random.default_rng(7)
    # Keys at both ends of their range, one that is most of a run, an empty run.
    return [
        write_run(tmp_path, "a", rng.integers(0, 50, 300), rng),
        write_run(tmp_path, "b", [0, (1 << 64) - 1, 7], rng),
        write_run(tmp_path, "c", [7] * 400, rng),
        write_run(tmp_path, "d", [], rng),
    ]


@pytest.mark.parametrize("block_bytes", [1, 500, 5_000, 1 << 20])
@pytest.mark.parametrize("edges", [[0], [0, 7, 8, 40], [0, 1, 1, 1 << 63]])
def test_buckets_hold_every_row_once_in_order(runs, block_bytes, edges):
    step = step_of(runs, block_bytes)
    ranges = zip(edges, [*edges[1:], 1 << 64], strict=True)

    blocks = [
        block
        for low, high in ranges
        for block in exchange.merge(step, (low,), (high,), lambda _: None)
    ]

    rows = np.concatenate([block.rows for block in blocks])
    found = [(int(row["key"]), int(row["rank"])) for row in rows]
    assert len(found) == 703
    assert found == sorted(found)
    assert contents(blocks) == b"".join(b"%d/%d;" % pair for pair in found)


@pytest.mark.parametrize("block_bytes", [200, 4_000])
def test_blocks_stay_within_their_size_even_where_one_key_is_most(runs, block_bytes):
    step = step_of(runs, block_bytes)

    sizes = []
    blocks = list(exchange.merge(step, (0,), (1 << 64,), sizes.append))

    for block in blocks:
        assert block.rows.nbytes + len(contents([block])) <= block_bytes
    assert sum(sizes) == exchange.total_bytes(step)


@pytest.mark.parametrize("block_bytes", [1, 1_000, 1 << 20])
def test_a_run_is_read_whole_and_its_keys_sort_as_its_rows_do(runs, block_bytes):
    step = step_of(runs, block_bytes)

    moved = [
        (bytes(key), payload)
        for run in runs
        for block in exchange.read_run(step, run)
        for key, payload in zip(
            exchange.sort_keys(step, block.rows), block.payloads, strict=True
        )
    ]

    merged = exchange.merge(step, (0,), (1 << 64,), lambda _: None)
    assert b"".join(payload for _, payload in sorted(moved)) == contents(merged)


def test_a_bound_of_fewer_fields_cuts_between_keys(runs):
    step = step_of(runs, 1 << 20)

    (block,) = exchange.merge(step, (7,), (8,), lambda _: None)

    assert set(block.rows["key"]) == {7}
    assert len(block.rows) > 400
