"""Runs the tasks of a stage that an earlier attempt did not finish, and shows it."""

import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from data_prep import lifetime, progress
from data_prep.engines import engine as engine_lib
from data_prep.engines import exchange


class Task(Protocol):
    """A piece of work over files: a picklable value, the same at every attempt.

    Attributes:
        commit_file: The commit file, which the stage's function writes last.
        size: Units of work in it, for the display.
    """

    @property
    def commit_file(self) -> pathlib.Path: ...
    @property
    def size(self) -> int: ...


TaskT = TypeVar("TaskT", bound=Task)


class Stages:
    """Runs stages on an engine and shows them.

    Attributes:
        cpu_seconds: Of each stage so far, all processes and attempts together.
    """

    def __init__(self, engine: engine_lib.Engine, display: progress.Display):
        self._engine, self._display = engine, display
        self.cpu_seconds: dict[str, float] = {}

    def run(
        self,
        name: str,
        function: engine_lib.StageFunction[TaskT],
        tasks: Sequence[TaskT],
        unit: str = "B",
    ) -> None:
        """Runs `function` on every task without a commit file."""
        sizes = [task.size for task in tasks]
        is_done = [task.commit_file.exists() for task in tasks]
        todo = [t for t, done in zip(tasks, is_done, strict=True) if not done]
        with self._display.stage(name, sum(sizes), unit) as stage:
            stage.update(sum(n for n, d in zip(sizes, is_done, strict=True) if d))
            self._engine.run(functools.partial(_timed, function), todo, stage)
        self._count_cpu(name, [task.commit_file for task in tasks])

    def exchange(
        self, name: str, step: exchange.Step, buckets: Sequence[exchange.Bucket]
    ) -> None:
        """Lets every bucket without a commit file collect its rows."""
        total = exchange.total_bytes(step)
        todo = [bucket for bucket in buckets if not bucket.commit_file.exists()]
        timed = dataclasses.replace(
            step, collect=functools.partial(_timed, step.collect)
        )
        with self._display.stage(name, total, "B") as stage:
            stage.update(total * (len(buckets) - len(todo)) // max(1, len(buckets)))
            self._engine.exchange(timed, todo, stage)
        self._count_cpu(name, [bucket.commit_file for bucket in buckets])

    @contextlib.contextmanager
    def alone(self, name: str, total: int, unit: str) -> Iterator[progress.Stage]:
        """Shows a stage that this process and its children are busy with."""
        before = sum(os.times()[:4])
        with self._display.stage(name, total, unit) as stage:
            yield stage
        self.cpu_seconds[name] = round(sum(os.times()[:4]) - before, 3)

    def _count_cpu(self, name: str, commit_files: Sequence[pathlib.Path]) -> None:
        spent = 0.0
        for commit_file in commit_files:
            # Killed between a commit file and its time, a task has none.
            with contextlib.suppress(OSError, ValueError):
                spent += float(_time_file(commit_file).read_text())
        self.cpu_seconds[name] = round(self.cpu_seconds.get(name, 0.0) + spent, 3)


def _timed(function: Callable[[Any, Any], None], task: Any, argument: Any) -> None:
    """Calls a stage's function, and notes the CPU seconds beside its commit file."""
    start = lifetime.cpu_seconds()
    function(task, argument)
    _time_file(task.commit_file).write_text(f"{lifetime.cpu_seconds() - start:.3f}")


def _time_file(commit_file: pathlib.Path) -> pathlib.Path:
    return commit_file.with_suffix(".cpu")
