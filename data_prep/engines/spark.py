"""The engine `spark`: the machines of an Apache Spark cluster.

Stages run as they do on one machine. The all-to-all step is Spark's own: rows
go to partitions of consecutive buckets, which it sorts on disk if need be, and
stream from there into the collectors. Only paths and rows pass through Spark;
inputs, work folder and output are on a file system that all machines see.
"""

import concurrent.futures
import functools
import pathlib
import tempfile
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pyspark
from pyspark import accumulators, sql
from pyspark.sql import functions

from data_prep import progress
from data_prep.engines import engine, exchange, spark_rows, spark_session, spark_tasks

_POLL_SECONDS = 0.25
# Of shuffled rows: small enough to sort mostly in memory, and so large that a
# crawl has thousands of partitions and not millions of transfers between them.
_PARTITION_BYTES = 256 << 20


class Spark(engine.Engine):
    """A Spark application, from the first stage to the last."""

    def __init__(self, master: str, output: pathlib.Path):
        """Makes the engine; see `choice.make`. Spark starts with the first stage."""
        self._master = master
        self._probe = output / ".work" / f"seen-{uuid.uuid4().hex}"
        self._scratch = tempfile.TemporaryDirectory(prefix="lmcodistill-spark-")
        self._session: sql.SparkSession | None = None
        self._thread = concurrent.futures.ThreadPoolExecutor(1)

    def close(self, *, failed: bool) -> None:
        self._thread.shutdown(wait=not failed, cancel_futures=True)
        if self._session is not None:
            self._session.stop()
        self._probe.unlink(missing_ok=True)
        self._scratch.cleanup()

    def run(
        self,
        function: engine.StageFunction[engine.TaskT],
        tasks: Sequence[engine.TaskT],
        stage: progress.Stage,
    ) -> None:
        if not tasks:
            return
        context = self._start(stage).sparkContext
        done = context.accumulator(0)
        nothing: Any = ""  # Texts add up as numbers do, without an __iadd__.
        failures = context.accumulator("", accumulators.AddingAccumulatorParam(nothing))
        work = functools.partial(
            spark_tasks.run_tasks, function, self._probe, done.add, failures.add
        )
        dealt = context.parallelize(tasks, len(tasks)).mapPartitions(work)
        before = stage.done
        self._wait(
            dealt.count, stage, lambda: before + done.value, lambda: failures.value
        )

    def exchange(
        self,
        step: exchange.Step,
        buckets: Sequence[exchange.Bucket],
        stage: progress.Stage,
    ) -> None:
        if not buckets:
            return
        session = self._start(stage)
        context = session.sparkContext
        buckets = sorted(buckets, key=lambda bucket: bucket.low)
        num_runs, size = len(step.find_runs()), exchange.total_bytes(step)
        parallelism = max(context.defaultParallelism, -(-size // _PARTITION_BYTES))
        num_partitions = min(parallelism, len(buckets))
        read, written = context.accumulator(0), context.accumulator(0)
        edges = spark_rows.Edges.of(step, buckets)
        readers = max(1, min(parallelism, num_runs))
        rows = session.range(0, num_runs, 1, readers).mapInArrow(
            functools.partial(
                spark_tasks.deal_runs, step, edges, self._probe, read.add
            ),
            spark_rows.SCHEMA,
        )
        place = functions.expr(
            f"cast(bucket * {num_partitions}L div {len(buckets)} as int)"
        )
        collected = (
            rows.repartitionById(num_partitions, place)
            .sortWithinPartitions("key")
            .mapInArrow(
                functools.partial(
                    spark_tasks.collect_buckets,
                    *(step, buckets, num_partitions, self._probe, written.add),
                ),
                "nothing int",
            )
        )
        before = stage.done
        # Tasks that run again count again.
        self._wait(
            collected.collect,
            stage,
            lambda: before + min(size - before, (read.value + written.value) // 2),
        )

    def _start(self, stage: progress.Stage) -> sql.SparkSession:
        """Returns the session; with the first stage it starts."""
        if self._session is not None:
            return self._session
        scratch = pathlib.Path(self._scratch.name)
        self._session = spark_session.start(self._master, scratch)
        self._probe.touch()
        context = self._session.sparkContext
        lacking: list[str] = []
        self._wait(
            lambda: lacking.extend(spark_session.missing_on_executors(context)),
            stage,
            lambda: stage.done,
        )
        if lacking:
            raise spark_session.missing(lacking, context)
        return self._session

    def _wait(
        self,
        job: Callable[[], Any],
        stage: progress.Stage,
        done: Callable[[], int],
        failures: Callable[[], str] = str,
    ) -> None:
        """Runs a job in another thread, shows it, and ends it if it is hopeless."""
        assert self._session is not None
        context = self._session.sparkContext
        group = uuid.uuid4().hex

        def work() -> None:
            context.setJobGroup(group, "lmcodistill prep")
            job()

        future = self._thread.submit(work)
        try:
            while not future.done():
                concurrent.futures.wait([future], timeout=_POLL_SECONDS)
                stage.update(done(), _tasks_of(context, group))
                if failures():
                    break
            if failure := spark_tasks.failure_in(failures()):
                raise spark_session.of_failure(failure)
            future.result()
        except Exception as error:
            raise spark_session.explained(error, context) from error
        finally:
            if not future.done():
                context.cancelJobGroup(group)
        stage.update(done())


def _tasks_of(context: pyspark.SparkContext, group: str) -> str:
    """Returns how many tasks of a job are done, for people."""
    tracker = context.statusTracker()
    stages = [
        stage
        for job in tracker.getJobIdsForGroup(group)
        if (info := tracker.getJobInfo(job))
        for number in info.stageIds
        if (stage := tracker.getStageInfo(number))
    ]
    if not any(stage.numActiveTasks + stage.numCompletedTasks for stage in stages):
        return "waiting for an executor"
    done = sum(stage.numCompletedTasks for stage in stages)
    return f"tasks={done}/{sum(stage.numTasks for stage in stages)}"
