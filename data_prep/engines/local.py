"""The engine `local`: a pool of processes on this machine."""

import concurrent.futures
import functools
import multiprocessing
import signal
from collections.abc import Sequence
from concurrent.futures import process
from typing import Any

from data_prep import lifetime, progress
from data_prep.engines import engine, exchange
from lmcodistill import errors

_POLL_SECONDS = 0.2


class Local(engine.Engine):
    """A pool of processes; with one worker, this process itself."""

    def __init__(self, num_workers: int):
        self._num_workers = num_workers
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        context = multiprocessing.get_context("spawn")
        self._counter = context.Value("Q", 0)
        if num_workers > 1:
            self._pool = concurrent.futures.ProcessPoolExecutor(
                num_workers,
                mp_context=context,
                initializer=_start_worker,
                initargs=(self._counter,),
            )

    def close(self, *, failed: bool) -> None:
        if self._pool is None:
            return
        if failed:
            # Unfinished tasks leave nothing behind; there is no need to wait.
            for worker in list(getattr(self._pool, "_processes", {}).values()):
                worker.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(
        self,
        function: engine.StageFunction[engine.TaskT],
        tasks: Sequence[engine.TaskT],
        stage: progress.Stage,
    ) -> None:
        before = stage.done
        if self._pool is None:
            for task in tasks:
                function(task, lambda units: stage.update(stage.done + units))
            return
        self._counter.value = 0
        pending = {self._pool.submit(_call, function, task) for task in tasks}
        try:
            while pending:
                done, pending = concurrent.futures.wait(
                    pending,
                    timeout=_POLL_SECONDS,
                    return_when=concurrent.futures.FIRST_EXCEPTION,
                )
                stage.update(before + self._counter.value)
                for future in done:
                    future.result()
        except process.BrokenProcessPool as error:
            raise errors.DataError(
                "A worker process was killed, probably for want of memory. Run the "
                "same command again with a lower --num_workers "
                f"(now {self._num_workers}): finished files are not read again."
            ) from error

    def exchange(
        self,
        step: exchange.Step,
        buckets: Sequence[exchange.Bucket],
        stage: progress.Stage,
    ) -> None:
        self.run(functools.partial(exchange.collect_from_runs, step), buckets, stage)


_shared_counter: Any = None


def _start_worker(counter: Any) -> None:
    global _shared_counter
    _shared_counter = counter
    # Ctrl-C reaches the whole group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lifetime.end_with_parent()


def _call(function: engine.StageFunction[engine.TaskT], task: engine.TaskT) -> None:
    function(task, _advance)


def _advance(units: int) -> None:
    with _shared_counter.get_lock():
        _shared_counter.value += units
