"""Rows of the fault list in which processes are killed, frozen or asked to stop.

Each function takes a seed and a number of trials and returns a `Row`. Victims and
instants are drawn from the seed; the machine's timing is not reproducible.
"""

import json
import pathlib
import random
import re
import signal
import time

from tools.soak.harness import Row, TinyRun, kill, wait_until

# Slows the steps down, so that a run lives long enough to be killed often.
SLOW = "update@1+:sleep=0.03"
START_SECONDS = 180.0


def progress(run: TinyRun, student: int) -> dict:
    """Returns the latest heartbeat of a student: step and process id."""
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
        since = progress(run, student)["pid"]
        wait_until(lambda: run.processes(student) and since, START_SECONDS)
        time.sleep(rng.uniform(0.0, 3.0))
    victims = run.processes(student)
    if not victims:
        time.sleep(0.5)
        return
    saved = (run.checkpoint_steps(student) or [0])[-1]
    pid_before, victim = progress(run, student)["pid"], rng.choice(victims)
    if not kill(victim, number):
        return
    began = time.monotonic()
    recovered = wait_until(
        lambda: progress(run, student)["pid"] not in (pid_before, 0), START_SECONDS
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
    wait_until(_are_beyond, START_SECONDS, run, 30)
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
    # A save waits for the export before it: with later kills there, both are hit alike.
    run = TinyRun(data, work / "R2R3", CHECKPOINT_EVERY_STEPS=10)
    fault = "ckpt.*@1-14:kill;export.*@1-28:kill"

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


def _are_new(run: TinyRun, pids: list[int]) -> bool:
    """Returns whether both students train in other processes than these."""
    return all(progress(run, s)["pid"] not in (pids[s], 0) for s in (0, 1))


def r4(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """Everything is killed at once, and started again."""
    row, rng = Row("R4"), random.Random(seed)
    run = TinyRun(data, work / "R4")
    saved = [0, 0]
    for number in range(trials + 1):
        pids = [progress(run, s)["pid"] for s in (0, 1)]
        run.start(1_000_000, LMCODISTILL_FAULT=SLOW)
        began = time.monotonic()
        up = wait_until(_are_new, START_SECONDS, run, pids)
        if number:
            seconds = time.monotonic() - began
            row.longest_recovery_s = round(max(row.longest_recovery_s, seconds), 1)
            lost = max(saved[s] - _restored(run.log(s)) for s in (0, 1))
            row.lost_steps = max(row.lost_steps, lost)
            row.note(up and lost <= 0, lost=lost)
        time.sleep(rng.uniform(1.0, 4.0))
        saved = [(run.checkpoint_steps(s) or [0])[-1] for s in (0, 1)]
        _kill_all(run)
    _compare_with_undisturbed(run, data, work, row)
    return row


def _are_beyond(run: TinyRun, step: int) -> bool:
    return all(run.step(student) > step for student in range(run.students))


def r6(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """Ctrl-C in the launcher: once saves and stops, twice stops now."""
    row, rng = Row("R6"), random.Random(seed)
    for number in range(trials):
        run = TinyRun(data, work / f"R6-{number}", workers=1 + number % 2)
        run.start(1_000_000, LMCODISTILL_FAULT=SLOW)
        wait_until(_are_beyond, START_SECONDS, run, 5)
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
