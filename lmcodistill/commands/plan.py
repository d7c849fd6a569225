r"""Predict what a run will take, before anything is trained.

From the configuration that `train` reads and from figures of the machines: how
long a step is and what bounds it, what the exchange moves, and the wall time
and device time of one group, of one group with as many devices as all the
students together, and of codistilling students. How many steps each needs is a
question of learning, which nothing here answers.

The figures are settings: Machine.matrix_rate (operations per second),
Machine.memory_bandwidth, Network.bandwidth, Storage.bandwidth (bytes per
second) must be known, the others refine. --measure finds those of Machine here.
docs/guide/planning.md explains every number.

Examples:
  lmcodistill plan --gin_file runs/paper_codistill \
    --gin_file machines/gpu_2017 --gin.VOCAB_SIZE=24006 \
    --workers_per_student 128
  lmcodistill plan --gin_file=runs/quickstart --data_dir=DATA --measure \
    --gin.Network.bandwidth=1e9 --gin.Storage.bandwidth=2e8
  lmcodistill plan --gin_file=runs/paper_codistill --data_dir=DATA --json \
    --gin_file=my_cluster.gin --workers_per_student=8 --tokens=1_000_000_000
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, TypeVar

from absl import flags

from lmcodistill import errors, tf_environment
from lmcodistill.commands import command_flags
from lmcodistill.settings import codistillation, model, planning, schedules, training

if TYPE_CHECKING:
    from lmcodistill.planning import prediction

Settings = TypeVar("Settings", planning.Machine, planning.Network, planning.Storage)


def define_flags(define: command_flags.Definer) -> None:
    """Defines how many devices there are, and where figures come from."""
    define.path(
        "data_dir",
        "The data folder that prep made, for the vocabulary's size; without it, give "
        "--gin.VOCAB_SIZE.",
    )
    define.integer(
        "students", 2, "Students in the run.", 2, command_flags.MOST_PROCESSES
    )
    define.integer(
        "workers_per_student", 1, "Workers of each student, with one device each.", 1
    )
    define.integer(
        "tokens",
        None,
        "What each student reads, in place of NUM_TRAIN_STEPS: twice the batch needs "
        "half the steps.",
        1,
    )
    define.bool(
        "measure",
        False,
        "Measure here, in some ten seconds, what is not given of Machine.",
    )


def run(flag_values: flags.FlagValues) -> None:
    """Prints the plan; see the module's text."""
    # A mistake among the flags is found without all of this.
    import rich.console

    from lmcodistill.planning import prediction, tables
    from lmcodistill.training import job as job_lib

    bindings = list(flag_values.gin_bindings)
    if flag_values.tokens:
        bindings.append("Training.num_train_steps=1")  # No blank; nothing reads it.
    loaded = job_lib.load(flag_values.gin_file, bindings, planning.PLAN_SETTINGS)
    job = prediction.Run(
        model=_model(flag_values, loaded.get(model.ModelConfig)),
        batches=loaded.get(training.Batches),
        optimizer=loaded.get(training.Optimizer),
        exchange=loaded.get(codistillation.Exchange),
        weight=loaded.get(schedules.DistillationWeight),
        students=flag_values.students,
        workers=flag_values.workers_per_student,
        steps=loaded.get(training.Training).num_train_steps,
        tokens=flag_values.tokens or 0,
        is_averaged=bool(loaded.get(training.Training).average_decay),
    )
    network = _known(loaded.get(planning.Network), "bandwidth")
    storage = _known(loaded.get(planning.Storage), "bandwidth")
    given = loaded.get(planning.Machine)
    if flag_values.measure:
        machines = _measured(job, given)
    else:
        _known(given, "matrix_rate", "memory_bandwidth")
        machines = dict.fromkeys(prediction.streams_of(job), given)
    plan = prediction.plan(job, prediction.Site(machines, network, storage))
    if flag_values.json:
        print(json.dumps(tables.to_json(plan)))
        return
    console = rich.console.Console()
    for part in tables.tables(plan):
        console.print(part, "")


def _model(
    flag_values: flags.FlagValues, config: model.ModelConfig
) -> model.ModelConfig:
    """Returns the model's configuration with its vocabulary's size."""
    from lmcodistill.data import shards
    from lmcodistill.training import job as job_lib

    if flag_values.data_dir:
        folder = flag_values.data_dir
        size = shards.ShardSet(folder).manifest.vocab_size
        return job_lib.with_vocabulary(config, size, folder)
    if config.vocab_size is None:
        raise errors.UsageError(
            "the vocabulary's size is not known. Give --data_dir, whose vocabulary "
            "counts, or --gin.VOCAB_SIZE=24006."
        )
    return config


def _known(figures: Settings, *names: str) -> Settings:
    """Refuses figures without which nothing can be said."""
    kind = type(figures).__name__
    for name in names:
        if not getattr(figures, name):
            hint = " or --measure" if kind == "Machine" else ""
            raise errors.UsageError(
                f"{kind}.{name} is not known. Give --gin.{kind}.{name}=NUMBER{hint}, "
                "or a file of figures such as --gin_file=machines/gpu_2017."
            )
    return figures


def _measured(
    job: prediction.Run, given: planning.Machine
) -> dict[int, planning.Machine]:
    """Measures the figures that are not given, for each number of streams."""
    print("Measuring this machine...", file=sys.stderr)
    tf_environment.start()
    from lmcodistill.planning import prediction, rates

    machines = {}
    for streams in prediction.streams_of(job):
        work = prediction.work(job, streams, 0)
        measured = rates.measure(
            work.config, work.optimizer, work.vocab_size, streams, work.window
        )
        known = {n: v for n, v in dataclasses.asdict(given).items() if v}
        machines[streams] = dataclasses.replace(measured, **known)
    return machines
