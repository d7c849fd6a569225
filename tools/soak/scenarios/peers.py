"""Rows of the fault list about peers and the storage between them.

Each function takes a seed and a number of trials and returns a `Row`.
"""

import json
import pathlib
import random
import re
import socket
import statistics
import subprocess
import time
from typing import Any

from tools.soak.harness import Row, TinyRun, kill, wait_until
from tools.soak.scenarios.kills import SLOW, START_SECONDS, progress


def r9(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """A peer is dead for ever: `trials` looks at what it left."""
    row = Row("R9")
    limit = 50
    knobs: dict[str, Any] = {
        "EXCHANGE_MODE": "freshest",
        "RELOAD_EVERY_STEPS": 1,
        "CHECKPOINT_EVERY_STEPS": 5_000,
        "PUBLISH_EVERY_STEPS": 1_000,
        "Exchange__max_staleness_steps": limit,
    }
    # Student 1 alone publishes its last step, then is no more.
    run = TinyRun(data, work / "R9", **knobs)
    run.finish(20)
    peers_last = run.export_steps(1)[-1]
    alone = TinyRun(data, work / "R9", "--student", 0, **knobs)
    address = {"cluster": {"worker": [f"127.0.0.1:{_free_port()}"]}}
    code = alone.finish(
        20 + trials,
        TF_CONFIG=json.dumps({**address, "task": {"type": "worker", "index": 0}}),
    )
    log = (alone.run_dir / "launcher.txt").read_text() + run.log(0)
    drops = re.findall(r"step=(\d+) .*event=teacher_dropped", log)
    row.trials, row.survived = trials, trials if code == 0 else 0
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


def r10(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """A peer is away and comes back; it is picked up without a restart."""
    row, rng = Row("R10"), random.Random(seed)
    # The peer is killed before it gets further than ever; that is no reason here to
    # give it up.
    run = TinyRun(
        data,
        work / "R10",
        *("--max_restarts", 1_000),
        EXCHANGE_MODE="freshest",
        PUBLISH_EVERY_STEPS=5,
    )
    run.start(1_000_000, LMCODISTILL_FAULT=SLOW)
    wait_until(lambda: all(run.step(s) > 30 for s in (0, 1)), START_SECONDS)
    pupil = progress(run, 0)["pid"]
    for _ in range(trials):
        for pid in run.processes(1):
            kill(pid)
        time.sleep(rng.uniform(0.5, 2.0))
        gone = len(_loaded(run.log(0)))
        began = time.monotonic()
        back = wait_until(_has_loaded, START_SECONDS, run, gone + 2)
        seconds = time.monotonic() - began
        row.longest_recovery_s = round(max(row.longest_recovery_s, seconds), 1)
        row.note(back and progress(run, 0)["pid"] == pupil, seconds=seconds)
    row.notes["stopped_with"] = run.stop()
    return row


def _has_loaded(run: TinyRun, count: int) -> bool:
    return len(_loaded(run.log(0))) >= count


def _loaded(log: str) -> list[str]:
    return re.findall(r"export_step=(\d+) .*event=teacher_loaded", log)


def r15(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """The disk that snapshots go to is full, and has room again later."""
    row, rng = Row("R15"), random.Random(seed)
    disk = work / "R15-disk"
    disk.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], check=False
    )
    if mounted.returncode:
        row.notes["skipped"] = "a small tmpfs cannot be mounted without root"
        return row
    try:
        run = TinyRun(
            *(data, work / "R15", "--shared_dir", disk / "shared"),
            CHECKPOINT_EVERY_STEPS=10,
            EXCHANGE_MODE="freshest",
            Exchange__keep_export_seconds=1.0,  # The disk is small.
        )
        run.start(1_000_000, LMCODISTILL_FAULT=SLOW)
        wait_until(_are_saved_beyond, START_SECONDS, disk, [0, 0])
        for _ in range(trials):
            said = len(_refused(run))
            _fill(disk / "filler")
            noticed = wait_until(_has_refused, 60.0, run, said + 1)
            before = [max(_snapshots(disk, s), default=0) for s in (0, 1)]
            time.sleep(rng.uniform(0.0, 1.0))
            (disk / "filler").unlink()
            began = time.monotonic()
            again = wait_until(_are_saved_beyond, 60.0, disk, before)
            seconds = time.monotonic() - began
            row.longest_recovery_s = round(max(row.longest_recovery_s, seconds), 1)
            row.note(noticed and again and min(before) > 0, before=before)
        row.notes["stopped_with"] = run.stop()
        row.notes["refused_writes"] = len(_refused(run))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
    return row


def _are_saved_beyond(disk: pathlib.Path, steps: list[int]) -> bool:
    """Returns whether both students have newer checkpoints than these."""
    return all(max(_snapshots(disk, s), default=0) > steps[s] for s in (0, 1))


def _has_refused(run: TinyRun, count: int) -> bool:
    return len(_refused(run)) >= count


def _snapshots(disk: pathlib.Path, student: int) -> list[int]:
    found = (disk / "shared/students" / str(student) / "checkpoints").glob(
        "ckpt-*/COMMITTED"
    )
    return [int(path.parent.name.split("-")[1]) for path in found]


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


def r17(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """Storage that takes 5 s for every file it reads costs no step."""
    row = Row("R17")
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
    for number in range(trials):
        for kind in ("calm", "slow"):
            run = TinyRun(data, work / f"R17-{number}-{kind}", **knobs)
            # Both learn from a teacher; what differs is how long a look takes.
            fault = {"LMCODISTILL_FAULT": "storage.read@1+:sleep=5"}
            run.finish(1_700, **(fault if kind == "slow" else {}))
            lines = (run.folder(0) / "metrics.jsonl").read_text().splitlines()
            reports = [json.loads(line) for line in lines]
            # The slow one has its first teacher after half a minute.
            taught = [x for x in reports if x["kind"] == "train" and x["teachers"]]
            taught = taught[3:]
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


def r26(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """A teacher is swapped at every step: one trace, flat memory."""
    row = Row("R26")
    run = TinyRun(
        *(data, work / "R26"),
        PUBLISH_EVERY_STEPS=1,
        RELOAD_EVERY_STEPS=1,
        DELAY_STEPS=1,
        CHECKPOINT_EVERY_STEPS=100_000,
    )
    launcher = run.start(trials + 10)
    sizes: list[tuple[int, int]] = []
    while launcher.poll() is None:
        pids = run.processes(0)
        if pids:
            sizes.append((run.step(0), _resident_kb(pids[0])))
        time.sleep(0.5)
    log = run.log(0)
    after = [size for step, size in sizes if step >= 50]
    ends = re.findall(r"traces=(\d+)", log)
    row.trials = len(_loaded(log))
    growth = after[-2] / after[0] - 1.0 if len(after) > 2 else 9.9
    row.notes |= {
        "traces": int(ends[-1]) if ends else None,
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
