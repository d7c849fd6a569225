"""Scenarios about peers and the storage between them."""

import functools
import json
import pathlib
import re
import socket
import statistics
import subprocess
import time
from typing import Any

from lmcodistill.storage import layout, publication
from tests.support.tiny_run import wait_until
from tools.soak.harness import Setup, Survival, TinyRun, kill
from tools.soak.scenarios.kills import SLOW, START_SECONDS


def dead_peer(setup: Setup) -> Survival:
    """A peer is dead for ever: `trials` looks at what it left."""
    row = Survival()
    limit = 50
    knobs: dict[str, Any] = {
        "EXCHANGE_MODE": "freshest",
        "RELOAD_EVERY_STEPS": 1,
        "CHECKPOINT_EVERY_STEPS": 5_000,
        "PUBLISH_EVERY_STEPS": 18,  # Before the last look of the 20 steps below.
        "Exchange__max_staleness_steps": limit,
    }
    # Student 1 alone publishes its last step, then is no more.
    run = setup.run("run", **knobs)
    run.finish(20)
    peers_last = run.export_steps(1)[-1]
    alone = setup.run("run", "--student", 0, **knobs)
    address = {"cluster": {"worker": [f"127.0.0.1:{_free_port()}"]}}
    code = alone.finish(
        20 + setup.trials,
        TF_CONFIG=json.dumps({**address, "task": {"type": "worker", "index": 0}}),
    )
    log = (alone.run_dir / "launcher.txt").read_text() + run.log(0)
    drops = re.findall(r"step=(\d+) .*event=teacher_dropped", log)
    row.trials, row.survived = setup.trials, 0 if code else setup.trials
    row.notes |= {
        "exit_code": code,
        "peers_last_export": peers_last,
        "max_staleness_steps": limit,
        "dropped_at": [int(step) for step in drops],
    }
    if not drops or int(drops[0]) != peers_last + limit + 1:
        row.survived = 0
    return row


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def returning_peer(setup: Setup) -> Survival:
    """A peer is away and comes back; it is picked up without a restart."""
    rng, row = setup.rng, Survival()
    # The peer is killed before it gets further than ever; that is no reason here to
    # give it up.
    run = setup.run(
        "run",
        *("--max_restarts", 1_000),
        EXCHANGE_MODE="freshest",
        PUBLISH_EVERY_STEPS=5,
    )
    run.start(1_000_000, LMCODISTILL_FAULT=SLOW)
    wait_until(lambda: all(run.step(s) > 30 for s in (0, 1)), START_SECONDS)
    student = run.pid(0)
    for _ in range(setup.trials):
        for pid in run.processes(1):
            kill(pid)
        time.sleep(rng.uniform(0.5, 2.0))
        loaded = functools.partial(_has_loaded, run, len(_loaded(run.log(0))) + 2)
        began = time.monotonic()
        is_back = wait_until(loaded, START_SECONDS)
        seconds = time.monotonic() - began
        row.recovered(seconds)
        row.note(is_back and run.pid(0) == student, seconds=seconds)
    row.notes["stopped_with"] = run.stop()
    return row


def _has_loaded(run: TinyRun, count: int) -> bool:
    return len(_loaded(run.log(0))) >= count


def _loaded(log: str) -> list[str]:
    return re.findall(r"export_step=(\d+) .*event=teacher_loaded", log)


def full_disk(setup: Setup) -> Survival:
    """The disk that snapshots go to is full, and has room again later."""
    rng, row = setup.rng, Survival()
    disk = setup.work / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        row.notes["skipped"] = "a small tmpfs cannot be mounted without root"
        return row
    try:
        run = setup.run(
            *("run", "--shared_dir", disk / "shared"),
            CHECKPOINT_EVERY_STEPS=10,
            EXCHANGE_MODE="freshest",
            Exchange__keep_export_seconds=1.0,  # The disk is small.
        )
        run.start(1_000_000, LMCODISTILL_FAULT=SLOW)
        wait_until(lambda: min(_saved(run, disk)) > 0, START_SECONDS)
        for _ in range(setup.trials):
            refusal = functools.partial(_has_refused, run, len(_refused(run)) + 1)
            _fill(disk / "filler")
            noticed = wait_until(refusal, 60.0)
            before = _saved(run, disk)
            time.sleep(rng.uniform(0.0, 1.0))
            (disk / "filler").unlink()
            began = time.monotonic()
            again = wait_until(
                functools.partial(_are_saved_beyond, run, disk, before), 60.0
            )
            row.recovered(time.monotonic() - began)
            row.note(noticed and again and min(before) > 0, before=before)
        row.notes["stopped_with"] = run.stop()
        row.notes["refused_writes"] = len(_refused(run))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
    return row


def _saved(run: TinyRun, disk: pathlib.Path) -> list[int]:
    """Returns the newest checkpoint's step of both students; 0 where there is none."""
    places = layout.RunLayout(run.run_dir, disk / "shared")
    folders = [places.student(k).checkpoints for k in (0, 1)]
    checkpoints = [
        publication.committed(folder, layout.CHECKPOINT) for folder in folders
    ]
    return [snapshots[-1].step if snapshots else 0 for snapshots in checkpoints]


def _are_saved_beyond(run: TinyRun, disk: pathlib.Path, steps: list[int]) -> bool:
    """Returns whether both students have newer checkpoints than these."""
    return all(n > before for n, before in zip(_saved(run, disk), steps, strict=True))


def _has_refused(run: TinyRun, count: int) -> bool:
    return len(_refused(run)) >= count


def _refused(run: TinyRun) -> list[str]:
    return re.findall(
        "event=(?:checkpoint_not_saved|export_skipped)", run.log(0) + run.log(1)
    )


def _fill(path: pathlib.Path) -> None:
    """Takes all the room there is."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def slow_storage(setup: Setup) -> Survival:
    """Storage that takes 5 s for every file it reads costs no step."""
    row = Survival()
    knobs: dict[str, Any] = {
        "EXCHANGE_MODE": "freshest",
        "REPORT_EVERY_STEPS": 20,
        "CHECKPOINT_EVERY_STEPS": 100_000,
        "PUBLISH_EVERY_STEPS": 20,
        "RELOAD_EVERY_STEPS": 20,
        "GLOBAL_BATCH_SIZE": 16,
        "WINDOW": 16,
        "LanguageModel__hidden_size": 256,
    }
    pace: dict[str, list[float]] = {"calm": [], "slow": []}
    for number in range(setup.trials):
        for kind in ("calm", "slow"):
            run = setup.run(f"{kind}-{number}", **knobs)
            # Both learn from a teacher; what differs is how long a look takes.
            fault = {"LMCODISTILL_FAULT": "storage.read@1+:sleep=5"}
            run.finish(1_700, **(fault if kind == "slow" else {}))
            # The slow one has its first teacher after half a minute.
            taught = [report for report in run.reports(0) if report["teachers"]][3:]
            pace[kind].append(
                statistics.median([x["tokens_per_second"] for x in taught] or [0.0])
            )
        row.note(min(pace["slow"]) > 0.0)
    ratio = statistics.median(
        calm / max(slow, 1e-9)
        for calm, slow in zip(pace["calm"], pace["slow"], strict=True)
    )
    row.notes |= {"step_time_ratio": round(ratio, 3), "tokens_per_second": pace}
    row.survived = row.survived if ratio <= 1.05 else 0
    return row


def swap_every_step(setup: Setup) -> Survival:
    """A teacher is swapped at every step: one trace, flat memory."""
    row = Survival()
    run = setup.run(
        "run",
        PUBLISH_EVERY_STEPS=1,
        RELOAD_EVERY_STEPS=1,
        DELAY_STEPS=1,
        CHECKPOINT_EVERY_STEPS=100_000,
    )
    launcher = run.start(setup.trials + 10)
    sizes: list[tuple[int, int]] = []
    while launcher.poll() is None:
        pids = run.processes(0)
        if pids:
            sizes.append((run.step(0), _resident_kb(pids[0])))
        time.sleep(0.5)
    after = [size for step, size in sizes if step >= 50]
    row.trials = len(_loaded(run.log(0)))
    growth = after[-2] / after[0] - 1.0 if len(after) > 2 else 9.9
    row.notes |= {
        "traces": run.result(0).get("traces"),
        "resident_mb_after_50_swaps_and_at_the_end": [
            round(after[0] / 1024) if after else None,
            round(after[-2] / 1024) if len(after) > 2 else None,
        ],
        "growth": round(growth, 4),
    }
    row.survived = row.trials if growth <= 0.02 and launcher.returncode == 0 else 0
    return row


def _resident_kb(pid: int) -> int:
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    match = re.search(r"VmRSS:\s+(\d+)", text)
    return int(match[1]) if match else 0
