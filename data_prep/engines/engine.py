"""The contract of an engine: it decides where stages run, and nothing else.

A stage is a function from files to files that returns nothing, so no output can
depend on the engine.
"""

import abc
from collections.abc import Callable, Sequence
from typing import Self, TypeVar

from data_prep import progress
from data_prep.engines import exchange

TaskT = TypeVar("TaskT")
StageFunction = Callable[[TaskT, progress.Advance], None]


class Engine(abc.ABC):
    """Runs stages; used as a context manager, closed with the run.

    Functions, tasks and steps must be picklable. They may run in any order, in
    any process and, after a failure, twice at once: what they write depends on
    the task alone and appears under its name only when it is whole. An error of
    `lmcodistill.errors` or an OSError reaches the caller with its message; tasks
    that were not begun are then left out.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(failed=kind is not None)

    @abc.abstractmethod
    def close(self, *, failed: bool) -> None:
        """Ends all processes, without waiting for their tasks if the run failed."""

    @abc.abstractmethod
    def run(
        self,
        function: StageFunction[TaskT],
        tasks: Sequence[TaskT],
        stage: progress.Stage,
    ) -> None:
        """Calls `function(task, advance)` for every task; returns when all ended.

        Args:
            function: The stage.
            tasks: Those without a commit file.
            stage: Shows the sum of what the tasks report to `advance`.

        Raises:
            DataError: a process was lost, or the cluster gave up.
            UsageError: the machines cannot run it as they are set up.
        """

    @abc.abstractmethod
    def exchange(
        self,
        step: exchange.Step,
        buckets: Sequence[exchange.Bucket],
        stage: progress.Stage,
    ) -> None:
        """Calls `step.collect(bucket, blocks)` for every bucket, empty ones too.

        The blocks of a bucket hold exactly the rows of all runs from `bucket.low`
        to below `bucket.high`, in the step's order. How rows are cut into blocks
        is the engine's choice.

        Args:
            step: The runs, their order, and what collects.
            buckets: Ranges that do not overlap, those without a commit file.
            stage: Shows bytes of rows and payloads.

        Raises:
            DataError: a process was lost, or the cluster gave up.
            UsageError: the machines cannot run it as they are set up.
        """
