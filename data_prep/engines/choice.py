"""Which engine a run asked for: a table from name to implementation."""

import os
import pathlib
from collections.abc import Callable

from data_prep.engines import engine, local
from lmcodistill import errors


def make(
    name: str,
    num_workers: int = 0,
    *,
    spark_master: str = "",
    output: pathlib.Path = pathlib.Path(),
) -> engine.Engine:
    """Returns the engine called `name`.

    Args:
        name: `local` or `spark`.
        num_workers: Processes of the local engine; 0: one per core.
        spark_master: Which Spark; empty leaves it to Spark's own configuration.
        output: The data folder, which the machines of a cluster must all see.

    Raises:
        UsageError: there is none of that name, it is not installed, or something
            else was given that it has no use for.
    """
    if name not in ENGINES:
        raise errors.UsageError(
            f"--engine={name} is not available: this version has {', '.join(ENGINES)}. "
            "Leave --engine out to use the processes of this machine."
        )
    return ENGINES[name](num_workers, spark_master, output)


def _local(num_workers: int, spark_master: str, _: pathlib.Path) -> engine.Engine:
    if spark_master:
        raise errors.UsageError(
            f"--spark_master={spark_master} was given without --engine=spark. Add "
            "it, or leave --spark_master out."
        )
    return local.Local(num_workers or len(os.sched_getaffinity(0)))


def _spark(num_workers: int, spark_master: str, output: pathlib.Path) -> engine.Engine:
    if num_workers:
        raise errors.UsageError(
            f"--num_workers={num_workers} is for --engine=local. Spark's own settings "
            "say how many executors and cores there are, such as spark.cores.max or "
            "--spark_master=local[4]."
        )
    try:
        from data_prep.engines import spark
    except ModuleNotFoundError as error:
        raise errors.UsageError(
            f"--engine=spark needs {error.name}, which is not installed. Install it "
            "with: pip install 'lmcodistill[spark]'"
        ) from error
    return spark.Spark(spark_master, output.absolute())


ENGINES: dict[str, Callable[[int, str, pathlib.Path], engine.Engine]] = {
    "local": _local,
    "spark": _spark,
}
