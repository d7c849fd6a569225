"""Rows of the fault list that need whole runs: kills, signals, full disks, peers.

Each function takes a seed and a number of trials and returns a `Row`. Victims and
instants are drawn from the seed; the machine's timing is not reproducible.
"""

import json
import pathlib
import random
import re
import signal
import statistics
import subprocess
import time

from soak_harness import Row, TinyRun, kill, wait_until

# Slows the steps down, so that a run lives long enough to be killed often.
SLOW = "update@1+:sleep=0.03"
START_SECONDS = 180.0


def _progress(run: TinyRun, student: int) -> dict:
    try:
        return json.loads((run.folder(student) / "progress.json").read_text())
    except (OSError, ValueError):
        return {"step": 0, "pid": 0}


def _restored(log: str) -> int:
    """Returns the step that the latest life of a worker went on from."""
    found = re.findall(r"step=(\d+) event=(?:restored|starting_from_scratch)", log)
    return int(found[-1]) if found else 0


def _disturb(run: TinyRun, rng: random.Random, number: int, row: Row) -> None:
    """Signals one worker at random and waits until its group trains again."""
    student = rng.randrange(run.students)
    if rng.random() < 0.8:  # The other kills may hit a start-up.
        since = _progress(run, student)["pid"]
        wait_until(lambda: run.processes(student) and since, START_SECONDS)
        time.sleep(rng.uniform(0.0, 3.0))
    victims = run.processes(student)
    if not victims:
        time.sleep(0.5)
        return
    saved = (run.checkpoint_steps(student) or [0])[-1]
    pid_before, victim = _progress(run, student)["pid"], rng.choice(victims)
    if not kill(victim, number):
        return
    began = time.monotonic()
    recovered = wait_until(
        lambda: _progress(run, student)["pid"] not in (pid_before, 0), START_SECONDS
    )
    seconds = time.monotonic() - began
    lost = saved - _restored(run.log(student))
    row.lost_steps = max(row.lost_steps, lost)
    row.longest_recovery_s = round(max(row.longest_recovery_s, seconds), 1)
    row.note(recovered and lost <= 0, victim=victim, seconds=seconds, lost=lost)


def _compare_with_undisturbed(
    run: TinyRun, data: pathlib.Path, work: pathlib.Path, row: Row
) -> None:
    """Ends a run without faults and compares it with one that had none, bitwise."""
    steps = max(run.step(student) for student in range(run.students)) + 40
    code = run.finish(steps)
    calm = TinyRun(data, work / f"{row.row}-calm", workers=run.workers)
    calm_code = calm.finish(steps)
    workers = [(s, w) for s in range(run.students) for w in range(run.workers)]
    equal = [
        bool(run.weights(*x)) and run.weights(*x) == calm.weights(x[0]) for x in workers
    ]
    row.notes |= {
        "exit_codes": [code, calm_code],
        "final_step": steps,
        "weights_bitwise_equal": all(equal),
        "litter": run.litter(),
        "outlived": run.outlived(),
    }
    if not all(equal) or run.litter() or run.outlived() or code or calm_code:
        row.survived = 0


def r1(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """Kill -9 of one worker at a random instant, 2 students of 2 workers."""
    return _killed_at_random("R1", signal.SIGKILL, seed, trials, data, work)


def r5(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """SIGTERM of one worker: its group saves, leaves, and comes back."""
    return _killed_at_random("R5", signal.SIGTERM, seed, trials, data, work)


def r8(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """A worker freezes (SIGSTOP); its group is restarted without it."""
    return _killed_at_random("R8", signal.SIGSTOP, seed, trials, data, work)


def _killed_at_random(name, number, seed, trials, data, work) -> Row:
    row, rng = Row(name), random.Random(seed)
    run = TinyRun(data, work / name, workers=2)
    run.start(1_000_000, LMCODISTILL_FAULT=SLOW)
    wait_until(lambda: all(run.step(s) > 30 for s in (0, 1)), START_SECONDS)
    attempts = 0
    while row.trials < trials and attempts < 2 * trials + 5:
        attempts += 1
        _disturb(run, rng, number, row)
        if run.launcher is not None and run.launcher.poll() is not None:
            row.notes["launcher_ended"] = run.launcher.returncode
            break
    row.notes["stopped_with"] = run.stop()
    _compare_with_undisturbed(run, data, work, row)
    return row


def r2_r3(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> list[Row]:
    """Kill -9 inside the windows of a save and of an export."""
    rows = {"ckpt": Row("R2"), "export": Row("R3")}
    run = TinyRun(data, work / "R2R3")
    fault = "ckpt.*@1-12:kill;export.*@1-20:kill"

    def kills(prefix: str) -> int:
        logs = "".join(run.log(student) for student in (0, 1))
        return len(re.findall(rf"event=fault point={prefix}\.\w+ action=kill", logs))

    run.start(1_000_000, LMCODISTILL_FAULT=fault)
    deadline = time.monotonic() + 60 + 30 * trials
    while min(kills("ckpt"), kills("export")) < trials:
        ended = run.launcher is None or run.launcher.poll() is not None
        if ended or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    _kill_all(run)
    for prefix, row in rows.items():
        row.trials = row.survived = kills(prefix)
    for row in rows.values():
        logs = "".join(run.log(student) for student in (0, 1))
        row.notes["refused_by_peers"] = len(re.findall("event=export_refused", logs))
        row.notes["points"] = {
            point: len(re.findall(rf"point={point} action=kill", logs))
            for point in sorted(set(re.findall(r"point=([\w.]+) action=kill", logs)))
        }
    _compare_with_undisturbed(run, data, work, rows["ckpt"])
    rows["export"].notes["weights_bitwise_equal"] = rows["ckpt"].notes[
        "weights_bitwise_equal"
    ]
    if not rows["ckpt"].survived or rows["export"].notes["refused_by_peers"]:
        rows["export"].survived = 0
    return list(rows.values())


def _kill_all(run: TinyRun) -> None:
    if run.launcher is not None:
        kill(run.launcher.pid)
        run.launcher.wait()
    for pid in run.outlived():
        kill(pid)
    wait_until(lambda: not run.outlived(), 10.0)


def r4(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """Everything is killed at once, and started again."""
    row, rng = Row("R4"), random.Random(seed)
    run = TinyRun(data, work / "R4")
    for _ in range(trials):
        before = [run.step(student) for student in (0, 1)]
        run.start(1_000_000, LMCODISTILL_FAULT=SLOW)
        began = time.monotonic()
        pids = [_progress(run, s)["pid"] for s in (0, 1)]
        up = wait_until(
            lambda pids=pids: all(
                _progress(run, s)["pid"] not in (pids[s], 0) for s in (0, 1)
            ),
            START_SECONDS,
        )
        row.longest_recovery_s = round(
            max(row.longest_recovery_s, time.monotonic() - began), 1
        )
        time.sleep(rng.uniform(1.0, 4.0))
        saved = [(run.checkpoint_steps(s) or [0])[-1] for s in (0, 1)]
        _kill_all(run)
        row.note(up and all(run.step(s) >= saved[s] for s in (0, 1)), before=before)
    _compare_with_undisturbed(run, data, work, row)
    return row


def r6(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """Ctrl-C in the launcher: once saves and stops, twice stops now."""
    row, rng = Row("R6"), random.Random(seed)
    for number in range(trials):
        run = TinyRun(data, work / f"R6-{number}", workers=1 + number % 2)
        run.start(1_000_000, LMCODISTILL_FAULT=SLOW)
        wait_until(lambda run=run: run.step(0) > 5 and run.step(1) > 5, START_SECONDS)
        time.sleep(rng.uniform(0.0, 1.0))
        twice = number % 4 == 3
        began = time.monotonic()
        if twice and run.launcher is not None:
            run.launcher.send_signal(signal.SIGINT)
            time.sleep(0.2)
        code = run.stop(signal.SIGINT)
        seconds = time.monotonic() - began
        row.longest_recovery_s = round(max(row.longest_recovery_s, seconds), 1)
        saved = all(run.checkpoint_steps(s)[-1:] >= [run.step(s)] for s in (0, 1))
        row.note(
            code == 143 and not run.outlived() and (twice or saved),
            code=code,
            twice=twice,
            outlived=run.outlived(),
            saved=saved,
        )
    row.notes["meaning_of_recovery"] = "seconds from the signal to the end"
    return row


def r9(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """A peer is dead for ever: `trials` looks at what it left."""
    row = Row("R9")
    limit = 50
    knobs = {
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
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def r10(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """A peer is away and comes back; it is picked up without a restart."""
    row, rng = Row("R10"), random.Random(seed)
    run = TinyRun(data, work / "R10", EXCHANGE_MODE="freshest", PUBLISH_EVERY_STEPS=5)
    run.start(1_000_000, LMCODISTILL_FAULT=SLOW)
    wait_until(lambda: all(run.step(s) > 30 for s in (0, 1)), START_SECONDS)
    pupil = _progress(run, 0)["pid"]
    for _ in range(trials):
        for pid in run.processes(1):
            kill(pid)
        time.sleep(rng.uniform(0.5, 2.0))
        gone = len(_loaded(run.log(0)))
        began = time.monotonic()
        back = wait_until(
            lambda gone=gone: len(_loaded(run.log(0))) > gone + 1, START_SECONDS
        )
        seconds = time.monotonic() - began
        row.longest_recovery_s = round(max(row.longest_recovery_s, seconds), 1)
        row.note(back and _progress(run, 0)["pid"] == pupil, seconds=seconds)
    row.notes["stopped_with"] = run.stop()
    return row


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
        )
        run.start(1_000_000, LMCODISTILL_FAULT=SLOW)
        steps = lambda: [  # noqa: E731
            max(_snapshots(disk, s), default=0) for s in (0, 1)
        ]
        wait_until(lambda: min(steps()) > 0, START_SECONDS)
        for _ in range(trials):
            said = len(_refused(run))
            _fill(disk / "filler")
            noticed = wait_until(lambda said=said: len(_refused(run)) > said, 60.0)
            before = steps()
            time.sleep(rng.uniform(0.0, 1.0))
            (disk / "filler").unlink()
            began = time.monotonic()
            again = wait_until(
                lambda before=before: all(
                    new > old for new, old in zip(steps(), before, strict=True)
                ),
                60.0,
            )
            seconds = time.monotonic() - began
            row.longest_recovery_s = round(max(row.longest_recovery_s, seconds), 1)
            row.note(noticed and again and min(before) > 0, before=before)
        row.notes["stopped_with"] = run.stop()
        row.notes["refused_writes"] = len(_refused(run))
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
    return row


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
    knobs = {
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
            run.finish(400, **(fault if kind == "slow" else {}))
            lines = (run.folder(0) / "metrics.jsonl").read_text().splitlines()
            reports = [json.loads(line) for line in lines]
            taught = [x for x in reports if x["kind"] == "train" and x["teachers"]]
            pace[kind].append(
                statistics.median(x["tokens_per_second"] for x in taught[1:])
            )
        row.note(True)
    ratio = statistics.median(
        calm / slow for calm, slow in zip(pace["calm"], pace["slow"], strict=True)
    )
    row.notes |= {"step_time_ratio": round(ratio, 3), "tokens_per_second": pace}
    row.survived = trials if ratio <= 1.05 else 0
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
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1])
