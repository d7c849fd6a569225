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
_SAY_EVERY_SECONDS = 30.0


def make_all(
    runs: Sequence[runs_lib.Run], at_once: int
) -> dict[tuple[str, int], runs_lib.Outcome]:
    """Makes every run that has not ended; returns all outcomes by arm and seed.

    Args:
        runs: In order; a run's teachers come before it.
        at_once: How many processes run side by side, all runs' together; at least
            as many as the largest run has.

    Raises:
        LmcodistillError: one failed; the others were asked to save and stop.
    """
    outcomes = {}
    waiting = []
    for run in runs:
        if (found := run.outcome()) is None:
            waiting.append(run)
        else:
            outcomes[run.arm.name, run.seed] = found
    display = _Display(waiting, len(runs))
    free = places(max(at_once, *(run.processes for run in runs)))
    running: dict[concurrent.futures.Future[runs_lib.Outcome], runs_lib.Run] = {}
    taken: dict[runs_lib.Run, list[set[int]]] = {}
    with concurrent.futures.ThreadPoolExecutor(len(free)) as pool:
        try:
            while waiting or running:
                while starting := startable(waiting, running.values(), len(free)):
                    waiting.remove(starting)
                    taken[starting] = [free.pop() for _ in range(starting.processes)]
                    cores = set.union(*taken[starting])
                    running[pool.submit(starting.make, cores)] = starting
                done, _ = concurrent.futures.wait(
                    running, _POLL_SECONDS, concurrent.futures.FIRST_COMPLETED
                )
                for future in done:
                    ended = running.pop(future)
                    outcomes[ended.arm.name, ended.seed] = future.result()
                    free += taken.pop(ended)
                display.show(len(outcomes))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            runs_lib.stop_all()
            raise
    return outcomes


def startable(
    waiting: Sequence[runs_lib.Run], running: Collection[runs_lib.Run], num_free: int
) -> runs_lib.Run | None:
    """Returns the first run that can start now, or None.

    Args:
        waiting: Not started, in order.
        running: Under way.
        num_free: How many more processes there is room for.
    """
    unfinished = {(run.arm.name, run.seed) for run in (*waiting, *running)}
    for run in waiting:
        if (run.arm.taught_by, run.seed) in unfinished:
            continue
        if run.processes <= num_free:
            return run
    return None


def places(count: int) -> list[set[int]]:
    """Returns the cores of each of `count` processes, as many for all."""
    cores = sorted(os.sched_getaffinity(0))
    share = max(1, len(cores) // count)
    return [
        {cores[(place * share + core) % len(cores)] for core in range(share)}
        for place in range(count)
    ]


class _Display:
    """Says on standard error how far the comparison is."""

    def __init__(self, todo: Sequence[runs_lib.Run], total: int):
        self._todo, self._total = list(todo), total
        self._before = sum(run.progress for run in todo)
        self._began = self._said = time.monotonic()
        print(f"{len(todo)} of {total} runs to make", file=sys.stderr, flush=True)

    def show(self, ended: int) -> None:
        now = time.monotonic()
        if now - self._said < _SAY_EVERY_SECONDS and ended < self._total:
            return
        self._said = now
        progress = [run.progress for run in self._todo]
        gained = sum(progress) - self._before
        under_way = ", ".join(
            f"{run.name}: {share:.0%}"
            for run, share in zip(self._todo, progress, strict=True)
            if 0.0 < share < 1.0
        )
        text = f"{ended} of {self._total} runs"
        if gained > 0.0:
            left = (now - self._began) / gained * (len(self._todo) - sum(progress))
            text += f", ETA {left / 60:.0f} min"
        print(f"{text}; {under_way}", file=sys.stderr, flush=True)
