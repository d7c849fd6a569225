"""What the exchange of exports takes: bytes, seconds, and how stale teachers are.

Exports are written and read in the background, so what they take decides how
stale a teacher is and how often a reload can happen, not how long a step is.
Only copying weights out and swapping them in stops the training.
"""

import math
from typing import NamedTuple

from lmcodistill.codistill import policies
from lmcodistill.model import cost
from lmcodistill.planning import step_time
from lmcodistill.settings import codistillation, planning

# Variables, their index, graph, vocabulary, manifest, commit file. All but the first
# are less than a megabyte together and not counted in bytes.
FILES_PER_EXPORT = 6


class Traffic(NamedTuple):
    """One student's exports and those that it reads.

    Attributes:
        teachers: K, how many exports a reload reads.
        published_bytes: Of one export.
        read_bytes: Of one reload: by the group's chief; the other workers get the
            weights from it.
        write_seconds: From the beginning of an export to its commitment.
        read_seconds: Of one reload's exports, one after another.
        stall_seconds: Of training, at one publication and one reload.
    """

    teachers: int
    published_bytes: int
    read_bytes: int
    write_seconds: float
    read_seconds: float
    stall_seconds: tuple[float, float]


class Periods(NamedTuple):
    """The same in steps, at some duration of a step.

    Attributes:
        shortest_reload_steps: Shortest period that hides the read.
        shortest_publish_steps: Shortest period in which an export is written.
        shortest_delay_steps: Shortest delay at which a `scheduled` exchange waits
            for nothing.
        oldest_teacher_steps: How stale a teacher gets before the next takes over, in
            a `freshest` exchange among students of the same pace.
        storage_bytes_per_second: What all students together read and write on
            average.
    """

    shortest_reload_steps: int
    shortest_publish_steps: int
    shortest_delay_steps: int
    oldest_teacher_steps: int
    storage_bytes_per_second: float


def traffic(
    work: step_time.Work,
    export_dtype: str,
    workers: int,
    machine: planning.Machine,
    network: planning.Network,
    storage: planning.Storage,
) -> Traffic:
    """Returns what a student writes and reads.

    Args:
        work: The model, and how many teach it.
        export_dtype: How exports store matrices.
        workers: W, workers of the student's group.
        machine: Each of them.
        network: Between them.
        storage: As one chief sees it.
    """
    export_bytes = cost.export_bytes(work.config, work.vocab_size, export_dtype)
    seconds = export_bytes / storage.bandwidth
    seconds += FILES_PER_EXPORT * storage.latency_seconds
    # Read and written once each, as wide as they are kept.
    copy = 2 * work.weight_bytes / machine.memory_bandwidth
    # The chief's weights are a sum to which the others add zeros.
    pass_on = step_time.ring_all_reduce(work.weight_bytes, workers, network)
    return Traffic(
        teachers=work.teachers,
        published_bytes=export_bytes,
        read_bytes=work.teachers * export_bytes,
        write_seconds=seconds,
        read_seconds=work.teachers * seconds,
        stall_seconds=(copy, work.teachers * (pass_on + copy)),
    )


def seconds_per_step(
    exchange: codistillation.Exchange, moved: Traffic, step_seconds: float
) -> float:
    """Returns what the exchange adds to a step on average.

    Args:
        exchange: Its mode and its periods.
        moved: What is written and read.
        step_seconds: Of a step without the exchange. A `scheduled` exchange waits
            for what its delay does not hide.
    """
    publish, reload = moved.stall_seconds
    if policies.MODES[exchange.mode].is_waited_for and moved.teachers:
        hidden = exchange.delay_steps * step_seconds
        reload += max(0.0, moved.write_seconds + moved.read_seconds - hidden)
    return publish / exchange.publish_every_steps + reload / exchange.reload_every_steps


def periods(
    exchange: codistillation.Exchange,
    moved: Traffic,
    step_seconds: float,
    students: int,
) -> Periods:
    """Returns what the seconds are in steps.

    Args:
        exchange: Its periods.
        moved: What is written and read.
        step_seconds: Of a codistilling step.
        students: N.
    """
    write = math.ceil(moved.write_seconds / step_seconds)
    read = math.ceil(moved.read_seconds / step_seconds)
    written = moved.published_bytes / exchange.publish_every_steps
    read_bytes = moved.read_bytes / exchange.reload_every_steps
    return Periods(
        shortest_reload_steps=max(1, read),
        shortest_publish_steps=max(1, write),
        shortest_delay_steps=write + read,
        # The newest export may just have missed the look; then it is read, and kept
        # until the next one is.
        oldest_teacher_steps=exchange.publish_every_steps
        + write
        + max(exchange.reload_every_steps, read)
        + read,
        storage_bytes_per_second=students * (written + read_bytes) / step_seconds,
    )
