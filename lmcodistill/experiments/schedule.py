"""Makes the runs of a comparison, side by side within the machine's cores.

Every process of every run gets as many cores, which are its own while it runs.
So the seconds of one arm can be compared with another's, whatever runs beside it.
"""

import concurrent.futures
import os
import sys
import time
from collections.abc import Collection, Sequence

from lmcodistill.experiments import runs as runs_lib

_POLL_SECONDS = 1.0
_SHOW_EVERY_SECONDS = 30.0


def make_all(
    runs: Sequence[runs_lib.ArmRun], at_once: int
) -> dict[runs_lib.ArmRun, runs_lib.RunOutcome]:
    """Makes every run that has not ended; returns the outcomes of all.

    Args:
        runs: In order; a run's teachers come before it.
        at_once: How many processes run side by side, all runs' together; at least
            as many as the largest run has.

    Raises:
        LmcodistillError: one failed; the others were asked to save and stop.
    """
    outcomes = {run: outcome for run in runs if (outcome := run.outcome())}
    waiting = [run for run in runs if run not in outcomes]
    display = _Display(waiting, len(runs))
    free = core_sets(max(at_once, *(run.processes for run in runs)))
    running: dict[concurrent.futures.Future[runs_lib.RunOutcome], runs_lib.ArmRun] = {}
    taken: dict[runs_lib.ArmRun, list[set[int]]] = {}
    with concurrent.futures.ThreadPoolExecutor(len(free)) as pool:
        try:
            while waiting or running:
                while run := startable(waiting, running.values(), len(free)):
                    waiting.remove(run)
                    taken[run] = [free.pop() for _ in range(run.processes)]
                    running[pool.submit(run.make, set.union(*taken[run]))] = run
                done, _ = concurrent.futures.wait(
                    running, _POLL_SECONDS, concurrent.futures.FIRST_COMPLETED
                )
                for future in done:
                    run = running.pop(future)
                    outcomes[run] = future.result()
                    free += taken.pop(run)
                display.show(len(outcomes))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            runs_lib.stop_all()
            raise
    # By the order given, not by which run was the quickest.
    return {run: outcomes[run] for run in runs}


def startable(
    waiting: Sequence[runs_lib.ArmRun],
    running: Collection[runs_lib.ArmRun],
    num_free: int,
) -> runs_lib.ArmRun | None:
    """Returns the first run that can start now, or None.

    Args:
        waiting: Not started, in order.
        running: Under way.
        num_free: How many more processes there is room for.
    """
    unfinished = {(run.arm.name, run.seed) for run in (*waiting, *running)}
    for run in waiting:
        teachers_are_done = (run.arm.taught_by, run.seed) not in unfinished
        if teachers_are_done and run.processes <= num_free:
            return run
    return None


def core_sets(count: int) -> list[set[int]]:
    """Returns the cores of each of `count` processes, as many for all."""
    cores = sorted(os.sched_getaffinity(0))
    share = max(1, len(cores) // count)
    return [
        {cores[(process * share + core) % len(cores)] for core in range(share)}
        for process in range(count)
    ]


class _Display:
    """Says on standard error how far the comparison is."""

    def __init__(self, todo: Sequence[runs_lib.ArmRun], total: int) -> None:
        self._todo, self._total = list(todo), total
        self._before = sum(run.progress for run in todo)
        self._began = self._last_shown = time.monotonic()
        print(f"{len(todo)} of {total} runs to make", file=sys.stderr, flush=True)

    def show(self, ended: int) -> None:
        now = time.monotonic()
        if now - self._last_shown < _SHOW_EVERY_SECONDS and ended < self._total:
            return
        self._last_shown = now
        progress = {run.name: run.progress for run in self._todo}
        gained = sum(progress.values()) - self._before
        text = f"{ended} of {self._total} runs"
        if gained > 0.0:
            left = len(progress) - sum(progress.values())
            text += f", ETA {(now - self._began) / gained * left / 60:.0f} min"
        under_way = [f"{n}: {p:.0%}" for n, p in progress.items() if 0.0 < p < 1.0]
        print(f"{text}; {', '.join(under_way)}", file=sys.stderr, flush=True)
