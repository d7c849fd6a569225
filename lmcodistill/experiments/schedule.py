"""Makes the runs of a comparison, side by side within the machine's cores.

Every process of every run gets as many cores, which are its own while it runs.
So the seconds of one arm can be compared with another's, whatever runs beside it.
"""

import concurrent.futures
import os
import sys
import time
from collections.abc import Collection, Sequence
from typing import TypeVar

from lmcodistill.experiments import processes
from lmcodistill.experiments import runs as runs_lib

_Outcome = TypeVar("_Outcome")

_POLL_SECONDS = 1.0
_SHOW_EVERY_SECONDS = 30.0


def make_all(
    runs: Sequence[runs_lib.TrainRun[_Outcome]],
    at_once: int,
    what: str = "",
    later: float = 0.0,
) -> dict[runs_lib.TrainRun[_Outcome], _Outcome]:
    """Makes every run that has not ended; returns the outcomes of all.

    Args:
        runs: In order; a run's teachers come before it.
        at_once: How many processes run side by side, all runs' together; at least
            as many as the largest run has.
        what: They are, for people.
        later: The work of what comes after them, to tell how long all will take.

    Raises:
        LmcodistillError: one failed; the others were asked to save and stop.
    """
    outcomes = {run: outcome for run in runs if (outcome := run.outcome())}
    waiting = [run for run in runs if run not in outcomes]
    display = _Display(waiting, len(runs), what, later)
    free = core_sets(max(at_once, *(run.processes for run in runs)))
    running: dict[concurrent.futures.Future[_Outcome], runs_lib.TrainRun[_Outcome]] = {}
    taken: dict[runs_lib.TrainRun[_Outcome], list[set[int]]] = {}
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
            processes.stop_all()
            raise
    # By the order given, not by which run was the quickest.
    return {run: outcomes[run] for run in runs}


def startable(
    waiting: Sequence[runs_lib.TrainRun[_Outcome]],
    running: Collection[runs_lib.TrainRun[_Outcome]],
    num_free: int,
) -> runs_lib.TrainRun[_Outcome] | None:
    """Returns the first run that can start now, or None.

    Args:
        waiting: Not started, in order.
        running: Under way.
        num_free: How many more processes there is room for.
    """
    unfinished = {run.key for run in (*waiting, *running)}
    for run in waiting:
        if run.after not in unfinished and run.processes <= num_free:
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

    def __init__(
        self,
        todo: Sequence[runs_lib.TrainRun[_Outcome]],
        total: int,
        what: str,
        later: float,
    ) -> None:
        self._todo, self._total, self._later = list(todo), total, later
        self._what = f"{what}: " if what else ""
        self._before = sum(run.progress * run.work for run in todo)
        self._began = self._last_shown = time.monotonic()
        if todo:
            text = f"{self._what}{len(todo)} of {total} runs to make"
            print(text, file=sys.stderr, flush=True)

    def show(self, ended: int) -> None:
        now = time.monotonic()
        if now - self._last_shown < _SHOW_EVERY_SECONDS and ended < self._total:
            return
        self._last_shown = now
        progress = {run: run.progress for run in self._todo}
        done = sum(share * run.work for run, share in progress.items())
        text = f"{self._what}{ended} of {self._total} runs"
        if (gained := done - self._before) > 0.0:
            minutes = (now - self._began) / gained / 60.0
            left = sum(run.work for run in self._todo) - done
            text += f", ETA {minutes * left:.0f} min"
            if self._later:
                text += f", of all {minutes * (left + self._later):.0f} min"
        under_way = [f"{r.name}: {p:.0%}" for r, p in progress.items() if 0.0 < p < 1.0]
        print("; ".join([text, ", ".join(under_way)]), file=sys.stderr, flush=True)
