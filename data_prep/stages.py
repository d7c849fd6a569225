"""Runs the tasks of a stage that an earlier attempt did not finish, and shows it."""

import pathlib
from collections.abc import Sequence
from typing import Protocol, TypeVar

from data_prep import engines, exchange, progress


class Task(Protocol):
    """A piece of work over files.

    Attributes:
        marker: The file that says that it is done.
        size: Units of work in it, for the display.
    """

    @property
    def marker(self) -> pathlib.Path: ...
    @property
    def size(self) -> int: ...


TaskT = TypeVar("TaskT", bound=Task)
BucketT = TypeVar("BucketT", bound=exchange.Bucket)


class Stages:
    """What is run where, and where it is shown."""

    def __init__(self, engine: engines.Engine, display: progress.Display):
        self._engine, self._display = engine, display

    def run(
        self,
        name: str,
        function: engines.StageFunction[TaskT],
        tasks: Sequence[TaskT],
        unit: str = "B",
    ) -> None:
        """Runs `function` on every task without a marker."""
        sizes = [task.size for task in tasks]
        is_done = [task.marker.exists() for task in tasks]
        todo = [t for t, done in zip(tasks, is_done, strict=True) if not done]
        with self._display.stage(name, sum(sizes), unit) as stage:
            stage.update(sum(n for n, d in zip(sizes, is_done, strict=True) if d))
            self._engine.run(function, todo, stage)

    def exchange(
        self, name: str, step: exchange.Step[BucketT], buckets: Sequence[BucketT]
    ) -> None:
        """Lets every bucket without a marker collect its rows."""
        total = exchange.total_bytes(step)
        todo = [bucket for bucket in buckets if not bucket.marker.exists()]
        with self._display.stage(name, total, "B") as stage:
            stage.update(total * (len(buckets) - len(todo)) // max(1, len(buckets)))
            self._engine.exchange(step, todo, stage)
