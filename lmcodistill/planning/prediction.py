"""One group, one group N times as big, N codistilling groups: side by side.

How many steps each *needs* is a question of learning, and nothing here answers
it: all make the steps, or read the tokens, that the configuration says. What
codistillation may need at most to be worth it is arithmetic again: `break_even`.
"""

import dataclasses
import math
from typing import NamedTuple

from lmcodistill import errors
from lmcodistill.codistill import topologies
from lmcodistill.planning import exchange_time, step_time
from lmcodistill.settings import codistillation, planning, schedules, training
from lmcodistill.settings import model as model_settings


@dataclasses.dataclass(frozen=True)
class Run:
    """What is to be trained, and with how many devices.

    Attributes:
        model: The model; its `vocab_size` is known.
        batches: Of one student.
        optimizer: The update rule.
        exchange: How exports travel.
        weight: When teachers begin to teach.
        students: N.
        workers: W, workers of a student, each with one device.
        steps: Updates of a student.
        tokens: What a student reads instead; 0: `steps` counts.
        is_averaged: Whether a mean of the weights is kept.
    """

    model: model_settings.ModelConfig
    batches: training.Batches
    optimizer: training.Optimizer
    exchange: codistillation.Exchange
    weight: schedules.DistillationWeight
    students: int
    workers: int
    steps: int
    tokens: int = 0
    is_averaged: bool = False


@dataclasses.dataclass(frozen=True)
class Site:
    """The figures of the machines.

    Attributes:
        machines: By streams of one worker: rates fall where there are few.
        network: Between the workers of a group.
        storage: Between the students.
    """

    machines: dict[int, planning.Machine]
    network: planning.Network
    storage: planning.Storage


class Prediction(NamedTuple):
    """One way to use the devices.

    Attributes:
        name: What it is, in words.
        students: Groups.
        workers: Of each group.
        global_batch_size: Streams of a group.
        streams: Of a worker.
        burn_in_step: A step before the first teacher.
        step: A step after it; without teachers, every step.
        steps: Of each student.
        wall_seconds: Of all of them.
        device_seconds: Of all devices together.
        tokens: That each student reads.
    """

    name: str
    students: int
    workers: int
    global_batch_size: int
    streams: int
    burn_in_step: step_time.Parts
    step: step_time.Parts
    steps: int
    wall_seconds: float
    device_seconds: float
    tokens: int

    @property
    def devices(self) -> int:
        """Devices of all groups."""
        return self.students * self.workers

    @property
    def tokens_per_second(self) -> float:
        """Of all students together, over the whole run."""
        return self.students * self.tokens / self.wall_seconds


class BreakEven(NamedTuple):
    """The share of one group's steps at which N codistilling groups are even.

    Attributes:
        wall_time: In time.
        device_time: In device-seconds.
    """

    wall_time: float
    device_time: float


class Exchanged(NamedTuple):
    """What the exchange of one topology takes."""

    traffic: exchange_time.Traffic
    periods: exchange_time.Periods


class Plan(NamedTuple):
    """All that is predicted.

    Attributes:
        run: Of what.
        site: On what.
        predictions: One group first, codistilling groups last.
        break_even: Of the last against the first.
        exchanges: By topology.
    """

    run: Run
    site: Site
    predictions: list[Prediction]
    break_even: BreakEven
    exchanges: dict[str, Exchanged]


class Shape(NamedTuple):
    """Groups and their workers, before anything is known about them."""

    name: str
    students: int
    workers: int
    global_batch_size: int


def shapes(run: Run) -> list[Shape]:
    """Returns the four ways, those whose streams cannot be shared out left out.

    Raises:
        UsageError: the run's own streams cannot be.
    """
    batch, n, w = run.batches.global_batch_size, run.students, run.workers
    if batch % w:
        raise errors.UsageError(
            f"GLOBAL_BATCH_SIZE = {batch} cannot be shared by --workers_per_student="
            f"{w}. Choose a multiple of {w}."
        )
    times = "twice" if n == 2 else f"{n} times"
    every = [
        Shape("one group", 1, w, batch),
        Shape(f"one group {times} as big", 1, n * w, batch),
        Shape(f"{times} as big, {times} the batch", 1, n * w, n * batch),
        Shape(f"{n} codistilling groups", n, w, batch),
    ]
    return [s for s in every if s.global_batch_size % s.workers == 0]


def streams_of(run: Run) -> list[int]:
    """Returns the streams of one worker that rates are needed for."""
    return sorted({s.global_batch_size // s.workers for s in shapes(run)})


def work(run: Run, streams: int, teachers: int) -> step_time.Work:
    """Returns what one worker does in a step."""
    vocab_size = run.model.vocab_size
    assert vocab_size is not None
    return step_time.Work(
        run.model,
        run.optimizer,
        vocab_size,
        streams,
        run.batches.window,
        teachers,
        run.is_averaged,
    )


def plan(run: Run, site: Site) -> Plan:
    """Returns all that is predicted.

    Raises:
        UsageError: the streams of the run cannot be shared out.
    """
    predictions = [_predicted(run, site, shape) for shape in shapes(run)]
    one, many = predictions[0].step.total, predictions[-1].step.total
    exchanges = {}
    for topology in codistillation.TOPOLOGIES:
        exchange = dataclasses.replace(run.exchange, topology=topology)
        moved, _, step = _steps(run, site, exchange, predictions[-1].streams)
        periods = exchange_time.periods(exchange, moved, step.total, run.students)
        exchanges[topology] = Exchanged(moved, periods)
    return Plan(
        run,
        site,
        predictions,
        BreakEven(one / many, one / many / run.students),
        exchanges,
    )


def _predicted(run: Run, site: Site, shape: Shape) -> Prediction:
    streams = shape.global_batch_size // shape.workers
    tokens_per_step = shape.global_batch_size * run.batches.window
    steps = math.ceil(run.tokens / tokens_per_step) if run.tokens else run.steps
    if shape.students == 1:
        machine = site.machines[streams]
        plain = step_time.parts(
            work(run, streams, 0), machine, site.network, shape.workers
        )
        burn_in, step = plain, plain
    else:
        _, burn_in, step = _steps(run, site, run.exchange, streams)
    alone = min(run.weight.burn_in_steps, steps) if shape.students > 1 else 0
    seconds = alone * burn_in.total + (steps - alone) * step.total
    return Prediction(
        *shape,
        streams=streams,
        burn_in_step=burn_in,
        step=step,
        steps=steps,
        wall_seconds=seconds,
        device_seconds=shape.students * shape.workers * seconds,
        tokens=steps * tokens_per_step,
    )


def _steps(
    run: Run, site: Site, exchange: codistillation.Exchange, streams: int
) -> tuple[exchange_time.Traffic, step_time.Parts, step_time.Parts]:
    """Returns a codistilling student's traffic, and its step in burn-in and after."""
    machine, network = site.machines[streams], site.network
    teachers = topologies.num_teachers(exchange, run.students)
    steps = []
    for k in (0, teachers):
        one = work(run, streams, k)
        alone = step_time.parts(one, machine, network, run.workers)
        traffic = exchange_time.traffic(
            one, exchange.export_dtype, run.workers, machine, network, site.storage
        )
        stall = exchange_time.seconds_per_step(exchange, traffic, alone.total)
        steps.append(alone._replace(exchange=stall))
    return traffic, steps[0], steps[1]
