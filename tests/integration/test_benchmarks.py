"""The benchmarks as people run them, at sizes that take no time."""

import json
import shlex
import subprocess
import sys

import pytest

from tools.bench import exchange

SIZE = "40x8x8x1"
BATCHES = ("--batch", "2", "--window", "4")
PRINTED = {
    "system": "another",
    "step_seconds": 1e3,
    "step_cpu_seconds": 2e3,
    "tokens_per_second": 8e-3,
    "peak_rss_mb": 1e6,
}


@pytest.fixture
def bench(root):
    """Runs `python -m tools.bench NAME ARGUMENTS... --json`."""

    def run(name, *arguments):
        return subprocess.run(
            [sys.executable, "-m", "tools.bench", name, *arguments, "--json"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def peer(code):
    """Returns the command of a peer that runs `code`."""
    return shlex.join([sys.executable, "-c", code])


def test_step_is_compared_with_a_peer_a_teacher_and_the_floor(bench):
    same_size = ("--sizes", SIZE, *BATCHES, "--rounds", "1", "--steps", "2")
    command = peer(f"print({json.dumps(PRINTED)!r})")

    done = bench("train", *same_size, "--teachers", "0", "1", "--peer", command)

    assert done.returncode == 0, done.stderr
    plain, taught = map(json.loads, done.stdout.splitlines())
    assert (plain["teachers"], taught["teachers"]) == (0, 1)
    for case in (plain, taught):
        ours, theirs = case["ours"], case["peers"][0]
        assert ours["num_traces"] == 1
        assert ours["tokens_per_second"]["median"] > 0.0
        assert theirs["system"] == "another"
        ratio = theirs["over_ours"]["step_seconds"]
        assert ratio["lowest"] == ratio["median"] == ratio["highest"]
        assert ratio["median"] == pytest.approx(1e3 / ours["step_seconds"]["median"])
        share = case["floor"]["own_rates"]["over_ours"]["step_seconds"]["median"]
        assert 0.0 < share < 1.0
    assert "over_no_teacher" not in plain["ours"]
    assert taught["peers"][0]["over_no_teacher"]["step_seconds"]["median"] == 1.0
    # The teacher's products come on top.
    assert len(taught["floor"]["products"]) > len(plain["floor"]["products"])


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit('no such device')", "no such device"),
        ("print('done')", "step_seconds"),
        ("print('{\"step_seconds\": 1}')", "peak_rss_mb"),
    ],
)
def test_peer_that_measures_nothing_is_named_before_anything_is_spent(
    bench, code, said
):
    command = peer(code)

    done = bench("train", "--sizes", SIZE, "--peer", command)

    assert done.returncode == 2
    assert shlex.split(command)[-1] in shlex.split(done.stderr.replace("\n", " "))
    assert said in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_reader_is_compared_with_what_training_takes(bench):
    done = bench(
        *("reader", *BATCHES, "--rounds", "1", "--steps", "20"),
        *("--million_tokens", "0.01", "--training_tokens_per_second", "0.5"),
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for kind in ("cold", "warm"):
        rate = found["tokens_per_second"][kind]["median"]
        assert found["times_training"][kind]["median"] == pytest.approx(2.0 * rate)


def test_exchange_is_measured_quietly_and_in_training_and_traces_nothing(bench):
    done = bench(
        *("exchange", "--size", SIZE, *BATCHES, "--swaps", "3", "--period", "40"),
        "--gin.Exchange.export_dtype=bfloat16",
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["swaps"] >= 3 and found["steps"] >= 3 * 40
    assert found["num_traces"] == 1 and found["new_traces"] == 0
    assert found["quiet"]["publish_seconds"]["lowest"] > 0.0
    assert found["quiet"]["stage_seconds"]["lowest"] > 0.0
    assert set(found["training"]["stall_seconds"]) == {"publish", "look", "swap"}
    assert found["resident_mb"]["at_the_end"] <= found["peak_rss_mb"] + 1


def test_cost_of_an_exchange_is_what_its_period_took_beyond_plain_steps():
    due = {"publish": 0.5, "look": 0.25}
    none = {"publish": 0.0, "look": 0.0}
    first = [
        exchange.Step(due, wall=5.0, cpu=6.0, is_plain=False),
        exchange.Step({**none, "swap": 1.25}, 3.0, 4.0, is_plain=False),
        exchange.Step(none, wall=2.0, cpu=4.0),
    ]
    not_whole = [exchange.Step(due, wall=99.0, cpu=99.0, is_plain=False)]

    found = exchange.in_training(first + not_whole, period=3, every=8)

    assert found["stall_seconds"]["publish"]["median"] == 0.5
    assert found["plain_step_seconds"]["median"] == 2.0
    assert found["extra_seconds"]["median"] == 5.0 + 3.0 + 2.0 - 3 * 2.0
    assert found["extra_cpu_seconds"]["median"] == 6.0 + 4.0 + 4.0 - 3 * 4.0
    assert found["share_of_seconds"]["median"] == 4.0 / (8 * 2.0)
    assert found["share_of_stalls"] == (0.5 + 0.25 + 1.25) / (8 * 2.0)
