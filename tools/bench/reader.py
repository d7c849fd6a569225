r"""Measures how many tokens a second come out of the shards.

What the trainer does before a step: the windows of all streams, cut out of
memory-mapped files, as tensors on every replica. Cold, with the files pushed out of
the system's cache as far as it obliges, and warm; beside what training takes.

Examples:
  python -m tools.bench reader
  python -m tools.bench reader --data_dir DATA --batch 128 --json
  python -m tools.bench reader --training_tokens_per_second 700
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import time
from typing import Any

from lmcodistill.training import job as job_lib
from tools.bench import measuring, workload


def main() -> None:
    """Reads the flags, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", type=pathlib.Path, help="else one is made up")
    parser.add_argument("--million_tokens", type=float, default=32.0, help="made up")
    parser.add_argument("--batch", type=int, default=32, help="streams")
    parser.add_argument("--window", type=int, default=32, help="tokens per stream")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2_000, help="of each round")
    parser.add_argument(
        "--training_tokens_per_second",
        type=float,
        help="what it is compared with; else measured at the paper's size",
    )
    parser.add_argument("--json", action="store_true", help="one object")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lmcodistill-bench-") as folder:
        result = _measure(flags, pathlib.Path(folder))
    _show(result, flags.json)


def _measure(flags, folder: pathlib.Path) -> dict[str, Any]:
    training = flags.training_tokens_per_second or _training(flags)
    data_dir = flags.data_dir or workload.make_data(
        folder / "data",
        workload.SIZES["paper"].vocab_size,
        int(flags.million_tokens * 1e6),
    )
    batches = [f"GLOBAL_BATCH_SIZE={flags.batch}", f"WINDOW={flags.window}"]
    job = workload.make_job(data_dir, folder / "run", [*batches, "TARGETS='none'"])
    workload.start()
    import tensorflow as tf

    from lmcodistill.training import cluster

    group = cluster.Group()
    share = group.share_of(flags.batch)

    def read(inputs: job_lib.Inputs, step: int) -> None:
        def of_replica(replica):
            window = inputs.windows.at(step, replica * share, share)
            parts = (window.inputs, window.targets, window.is_start)
            return tuple(tf.constant(part) for part in parts)

        group.per_replica(of_replica)

    rates: dict[str, list[float]] = {"cold": [], "warm": []}
    cpu_rates: dict[str, list[float]] = {"cold": [], "warm": []}
    read(job_lib.open_inputs(job), 0)  # The first tensor of all takes its time.
    for number in range(flags.rounds):
        _forget(data_dir)
        inputs = job_lib.open_inputs(job)
        steps = range(number * flags.steps, (number + 1) * flags.steps)
        for kind in ("cold", "warm"):
            wall, cpu = time.perf_counter(), time.process_time()
            for step in steps:
                read(inputs, step)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            tokens = flags.steps * job.tokens_per_step
            rates[kind].append(tokens / wall)
            cpu_rates[kind].append(tokens / max(cpu, 1e-9))
        del inputs
    return {
        "batch_size": flags.batch,
        "window": flags.window,
        "rounds": flags.rounds,
        "steps": flags.steps,
        "tokens_per_second": _spreads(rates),
        "tokens_per_cpu_second": _spreads(cpu_rates),
        "training_tokens_per_second": training,
        "times_training": {
            kind: measuring.spread(rate / training for rate in of_kind)
            for kind, of_kind in rates.items()
        },
    }


def _spreads(rates: dict[str, list[float]]) -> dict[str, measuring.Spread]:
    return {kind: measuring.spread(of_kind) for kind, of_kind in rates.items()}


def _training(flags) -> float:
    """Returns what training takes at the paper's size, tokens a second."""
    batches = [f"--batch_size={flags.batch}", f"--window={flags.window}"]
    program = [sys.executable, "-m", "tools.bench", "step", "--no_floor"]
    name = "tokens_per_second"
    return measuring.measure([*program, *batches], [name])[name]


def _forget(data_dir: pathlib.Path) -> None:
    """Asks the system to drop the shards from its cache; nobody maps them now."""
    for path in data_dir.rglob("*.tokens"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)  # What is not written yet cannot be dropped.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _show(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    names = ("tokens_per_second", "tokens_per_cpu_second", "times_training")
    measuring.show(
        f"Reading {result['batch_size']} x {result['window']} tokens a step; training "
        f"takes {result['training_tokens_per_second']:,.0f} tokens a second",
        ("", "tokens/s", "tokens/CPU s", "times training"),
        [
            (kind, *(measuring.text(result[name][kind]) for name in names))
            for kind in ("cold", "warm")
        ],
    )
