"""Where the stages run: an engine decides that, and nothing else.

Stages are functions from files to files that return nothing, so that no output
depends on the engine.
"""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, TypeVar

from data_prep import progress
from data_prep.engines import exchange

Task = TypeVar("Task")
BucketT = TypeVar("BucketT", bound=exchange.Bucket)
StageFunction = Callable[[Task, Callable[[int], None]], None]


class Engine(Protocol):
    """What the pipeline asks of an engine."""

    def __enter__(self) -> "Engine": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def run(
        self,
        function: StageFunction[Task],
        tasks: Sequence[Task],
        stage: progress.Stage,
    ) -> None:
        """Runs `function` on every task, in any order, and returns when all ended."""

    def exchange(
        self,
        step: exchange.Step[BucketT],
        buckets: Sequence[BucketT],
        stage: progress.Stage,
    ) -> None:
        """Lets every bucket collect its rows, in any order of buckets."""
