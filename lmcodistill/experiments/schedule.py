"""Makes the runs of a comparison, side by side within the machine's cores."""

import concurrent.futures
import os
import sys
import time
from collections.abc import Sequence

from lmcodistill import tf_environment
from lmcodistill.experiments import runs as runs_lib

_POLL_SECONDS = 1.0
_SAY_EVERY_SECONDS = 30.0


def make_all(
    runs: Sequence[runs_lib.Run], at_once: int
) -> dict[tuple[str, int], runs_lib.Outcome]:
    """Makes every run that has not ended; returns all outcomes by arm and seed.

    Args:
        runs: In order; a run's teachers come before it.
        at_once: How many run side by side. Each gets its share of the cores.

    Raises:
        LmcodistillError: one failed; the others were asked to save and stop.
    """
    outcomes = {}
    todo = []
    for run in runs:
        if (found := run.outcome()) is None:
            todo.append(run)
        else:
            outcomes[run.arm.name, run.seed] = found
    cores = len(os.sched_getaffinity(0))
    environment = dict(os.environ)
    if at_once > 1:
        environment |= tf_environment.of_threads(max(1, cores // at_once))
    display = _Display(todo, len(runs))
    futures: dict[tuple[str, int], concurrent.futures.Future[runs_lib.Outcome]] = {}

    def make(run: runs_lib.Run) -> runs_lib.Outcome:
        teacher = futures.get((run.arm.taught_by, run.seed))
        if teacher is not None:
            # It was handed in before, so it is under way or has ended.
            teacher.result()
        return run.make(environment)

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        for run in todo:
            futures[run.arm.name, run.seed] = pool.submit(make, run)
        try:
            pending = set(futures.values())
            while pending:
                done, pending = concurrent.futures.wait(
                    pending, _POLL_SECONDS, concurrent.futures.FIRST_EXCEPTION
                )
                for future in done:
                    future.result()
                display.show(len(todo) - len(pending))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            runs_lib.stop_all()
            raise
    return outcomes | {key: future.result() for key, future in futures.items()}


class _Display:
    """Says on standard error how far the comparison is."""

    def __init__(self, todo: Sequence[runs_lib.Run], total: int):
        self._todo, self._total = todo, total
        self._before = sum(run.progress for run in todo)
        self._began = self._said = time.monotonic()
        print(f"{len(todo)} of {total} runs to make", file=sys.stderr, flush=True)

    def show(self, ended: int) -> None:
        now = time.monotonic()
        if now - self._said < _SAY_EVERY_SECONDS and ended < len(self._todo):
            return
        self._said = now
        progress = [run.progress for run in self._todo]
        gained = sum(progress) - self._before
        under_way = ", ".join(
            f"{run.name}: {share:.0%}"
            for run, share in zip(self._todo, progress, strict=True)
            if 0.0 < share < 1.0
        )
        text = f"{self._total - len(self._todo) + ended} of {self._total} runs"
        if gained > 0.0:
            left = (now - self._began) / gained * (len(self._todo) - sum(progress))
            text += f", ETA {left / 60:.0f} min"
        print(f"{text}; {under_way}", file=sys.stderr, flush=True)
