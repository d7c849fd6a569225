"""Scenarios in which processes are killed, frozen or asked to stop.

Victims and instants are drawn from the seed; the machine's timing is not
reproducible.
"""

import collections
import functools
import random
import re
import signal
import time

from tests.support.tiny_run import wait_until
from tools.soak.harness import Setup, Survival, TinyRun, kill

# Slows the steps down, so that a run lives long enough to be killed often.
SLOW = "update@1+:sleep=0.03"
START_SECONDS = 180.0


def _restored(log: str) -> int:
    """Returns the step that the latest life of a worker went on from."""
    steps = re.findall(r"step=(\d+) event=(?:restored|starting_from_scratch)", log)
    return int(steps[-1]) if steps else 0


def _disturb(run: TinyRun, rng: random.Random, number: int, row: Survival) -> None:
    """Signals one worker at random and waits until its group trains again."""
    student = rng.randrange(run.students)
    if rng.random() < 0.8:  # The other kills may hit a start-up.
        since = run.pid(student)
        wait_until(lambda: run.processes(student) and since, START_SECONDS)
        time.sleep(rng.uniform(0.0, 3.0))
    victims = run.processes(student)
    if not victims:
        time.sleep(0.5)
        return
    saved = (run.checkpoint_steps(student) or [0])[-1]
    pid_before, victim = run.pid(student), rng.choice(victims)
    if not kill(victim, number):
        return
    began = time.monotonic()
    recovered = wait_until(
        lambda: run.pid(student) not in (pid_before, 0), START_SECONDS
    )
    seconds = time.monotonic() - began
    lost = saved - _restored(run.log(student))
    row.lost_steps = max(row.lost_steps, lost)
    row.recovered(seconds)
    row.note(recovered and lost <= 0, victim=victim, seconds=seconds, lost=lost)


def _compare_with_undisturbed(setup: Setup, run: TinyRun, row: Survival) -> None:
    """Ends a run without faults and compares it with one that had none, bitwise."""
    steps = max(run.step(student) for student in range(run.students)) + 40
    calm = setup.run("calm", workers=run.workers)
    codes = [run.finish(steps), calm.finish(steps)]
    ends = [
        [run.result(s, w).get("weights"), calm.result(s).get("weights")]
        for s in range(run.students)
        for w in range(run.workers)
    ]
    equal = all(disturbed and disturbed == whole for disturbed, whole in ends)
    litter, outlived = run.litter(), run.processes()
    row.notes |= {
        "exit_codes": codes,
        "final_step": steps,
        "weights_bitwise_equal": equal,
        "litter": litter,
        "outlived": outlived,
    }
    if not equal or litter or outlived or any(codes):
        row.survived = 0


def kill_worker(setup: Setup) -> Survival:
    """Kill -9 of one worker at a random instant, 2 students of 2 workers."""
    return _signalled_at_random(signal.SIGKILL, setup)


def terminate_worker(setup: Setup) -> Survival:
    """SIGTERM of one worker: its group saves, leaves, and comes back."""
    return _signalled_at_random(signal.SIGTERM, setup)


def freeze_worker(setup: Setup) -> Survival:
    """A worker freezes (SIGSTOP); its group is restarted without it."""
    return _signalled_at_random(signal.SIGSTOP, setup)


def _signalled_at_random(number: int, setup: Setup) -> Survival:
    rng, row = setup.rng, Survival()
    run = setup.run("run", workers=2)
    run.start(1_000_000, LMCODISTILL_FAULT=SLOW)
    wait_until(lambda: _are_beyond(run, 30), START_SECONDS)
    attempts = 0
    while row.trials < setup.trials and attempts < 2 * setup.trials + 5:
        attempts += 1
        _disturb(run, rng, number, row)
        if run.launcher is not None and run.launcher.poll() is not None:
            row.notes["launcher_ended"] = run.launcher.returncode
            break
    row.notes["stopped_with"] = run.stop()
    _compare_with_undisturbed(setup, run, row)
    return row


def kill_in_save_or_export(setup: Setup) -> Survival:
    """Kill -9 inside the windows of a save and of an export, both so many times."""
    # A save waits for the export before it: with later kills there, both are hit alike.
    run = setup.run("run", CHECKPOINT_EVERY_STEPS=10)
    fault = "ckpt.*@1-14:kill;export.*@1-28:kill"

    def kills() -> dict[str, int]:
        """Returns how often each point was hit."""
        logs = run.log(0) + run.log(1)
        points = re.findall(r"event=fault point=([\w.]+) action=kill", logs)
        return collections.Counter(points)

    def kills_in(prefix: str) -> int:
        return sum(n for point, n in kills().items() if point.startswith(prefix))

    run.start(1_000_000, LMCODISTILL_FAULT=fault)
    wait_until(
        lambda: (
            run.has_ended or min(map(kills_in, ("ckpt.", "export."))) >= setup.trials
        ),
        60.0 + 30.0 * setup.trials,
    )
    _kill_all(run)
    row = Survival(notes={"points": dict(kills())})
    row.trials = row.survived = sum(kills().values())
    refused = (run.log(0) + run.log(1)).count("event=export_refused")
    row.notes["refused_by_peers"] = refused
    _compare_with_undisturbed(setup, run, row)
    if refused:
        row.survived = 0
    return row


def _kill_all(run: TinyRun) -> None:
    if run.launcher is not None:
        kill(run.launcher.pid)
        run.launcher.wait()
    for pid in run.processes():
        kill(pid)
    wait_until(lambda: not run.processes(), 10.0)


def _are_new(run: TinyRun, pids: list[int]) -> bool:
    """Returns whether both students train in other processes than these."""
    return all(run.pid(s) not in (pids[s], 0) for s in (0, 1))


def kill_everything(setup: Setup) -> Survival:
    """Everything is killed at once, and started again."""
    rng, row = setup.rng, Survival()
    run = setup.run("run")
    saved = [0, 0]
    for number in range(setup.trials + 1):
        pids = [run.pid(s) for s in (0, 1)]
        run.start(1_000_000, LMCODISTILL_FAULT=SLOW)
        began = time.monotonic()
        up = wait_until(functools.partial(_are_new, run, pids), START_SECONDS)
        if number:
            row.recovered(time.monotonic() - began)
            lost = max(saved[s] - _restored(run.log(s)) for s in (0, 1))
            row.lost_steps = max(row.lost_steps, lost)
            row.note(up and lost <= 0, lost=lost)
        time.sleep(rng.uniform(1.0, 4.0))
        saved = [(run.checkpoint_steps(s) or [0])[-1] for s in (0, 1)]
        _kill_all(run)
    _compare_with_undisturbed(setup, run, row)
    return row


def _are_beyond(run: TinyRun, step: int) -> bool:
    return all(run.step(student) > step for student in range(run.students))


def interrupt_launcher(setup: Setup) -> Survival:
    """Ctrl-C in the launcher: once saves and stops, twice stops now."""
    rng, row = setup.rng, Survival()
    for number in range(setup.trials):
        run = setup.run(f"run-{number}", workers=1 + number % 2)
        run.start(1_000_000, LMCODISTILL_FAULT=SLOW)
        wait_until(functools.partial(_are_beyond, run, 5), START_SECONDS)
        time.sleep(rng.uniform(0.0, 1.0))
        twice = number % 4 == 3
        began = time.monotonic()
        if twice and run.launcher is not None:
            run.launcher.send_signal(signal.SIGINT)
            time.sleep(0.2)
        code = run.stop(signal.SIGINT)
        row.recovered(time.monotonic() - began)
        saved = all(run.checkpoint_steps(s)[-1:] >= [run.step(s)] for s in (0, 1))
        row.note(
            code == 143 and not run.processes() and (twice or saved),
            code=code,
            twice=twice,
            outlived=run.processes(),
            saved=saved,
        )
    row.notes["meaning_of_recovery"] = "seconds from the signal to the end"
    return row
