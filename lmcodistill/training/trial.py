"""A few updates before a run begins: whether they can be made here, and how fast.

Nothing is written. The updates are those that training compiles, on the windows that
it would begin with.
"""

import dataclasses
import resource
import time
from typing import NamedTuple

import tensorflow as tf

from lmcodistill import errors
from lmcodistill.codistill import fixed_targets
from lmcodistill.exports import reader, writer
from lmcodistill.training import cluster
from lmcodistill.training import job as job_lib
from lmcodistill.training import student as student_lib
from lmcodistill.training.hooks import reload

# Of each kind, after the one that is traced; the fastest counts.
TIMED_UPDATES = 3


class TrialUpdates(NamedTuple):
    """What a few updates told.

    Attributes:
        devices: What they were made on.
        streams: Of one worker, which is what they read.
        cross_entropy: On the labels of the first window, in nats per token, with new
            weights.
        step_seconds: Of an update without soft targets.
        taught_step_seconds: Of one with them; None where the run has none.
        tracing_seconds: Of both kinds together, once a start.
        peak_memory_bytes: Of this process, activations and TensorFlow included; what is
            on a GPU is not.
    """

    devices: list[str]
    streams: int
    cross_entropy: float
    step_seconds: float
    taught_step_seconds: float | None
    tracing_seconds: float
    peak_memory_bytes: int


def run(job: job_lib.Job, workers: int) -> TrialUpdates:
    """Makes updates as one of a student's workers would, in a group of its own.

    TF_CONFIG must not be set. The peers' exports do not exist yet: copies of the
    student stand for them.

    Args:
        job: The student.
        workers: That share its global batch.

    Raises:
        UsageError: the batch cannot be shared by the devices here.
        DivergedError: an update is not finite.
        SnapshotError: an export of OFFLINE_EXPORTS cannot teach.
    """
    # As in training, and as slow.
    tf.config.experimental.enable_op_determinism()
    streams = job.batches.global_batch_size // workers
    batches = dataclasses.replace(job.batches, global_batch_size=streams)
    job = dataclasses.replace(job, batches=batches)
    inputs, group = job_lib.open_inputs(job), cluster.Group()
    student = student_lib.Student(job, inputs, group)
    cross_entropy, step_seconds = _time_updates(job, student, 0)
    taught_step_seconds, targets = None, job.distillation.targets
    if job.policy.num_teachers or targets in fixed_targets.DISTRIBUTIONS:
        student.teachers.swap(_teachers(job, inputs, student), 0)
        # A weight that grows is zero at first, one that falls at the end.
        ends = student.taught_from, job.training.last_step - 1
        number = max(ends, key=job.weight.at)
        _, taught_step_seconds = _time_updates(job, student, number)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return TrialUpdates(
        group.devices,
        streams,
        cross_entropy,
        step_seconds,
        taught_step_seconds,
        student.tracing_seconds,
        peak_kb << 10,
    )


def _time_updates(
    job: job_lib.Job, student: student_lib.Student, number: int
) -> tuple[float, float]:
    """Returns the cross entropy of the first update of a step, and the seconds of one.

    Raises:
        DivergedError: the first one is not finite.
    """
    totals, _ = student.update(number)  # Traced and compiled, so not timed.
    cross_entropy = float(totals.label_loss) / job.tokens_per_step
    if float(totals.skipped):
        raise errors.DivergedError(
            f"The very first update is not finite: cross entropy {cross_entropy:g}, "
            f"soft loss {float(totals.soft_loss):g}, gradient norm "
            f"{float(totals.gradient_norm):g}. Lower init_scale, or "
            "compute in float32."
        )
    seconds = []
    for _ in range(TIMED_UPDATES):
        began = time.perf_counter()
        totals, _ = student.update(number)
        float(totals.label_loss)  # Waits for the device.
        seconds.append(time.perf_counter() - began)
    return cross_entropy, min(seconds)


def _teachers(
    job: job_lib.Job, inputs: job_lib.Inputs, student: student_lib.Student
) -> list[reader.Export]:
    """Returns the exports that teach from the start, or what stands for them."""
    data = inputs.data.manifest
    if job.distillation.offline_exports:
        loader = reload.Loader(job, inputs)
        exports = map(loader.of_path, job.distillation.offline_exports)
        return [dataclasses.replace(e, student=k) for k, e in enumerate(exports)]
    copy = reader.Export(
        source="a copy of the student",
        student=job.student,
        step=0,
        config=inputs.model,
        vocab_size=data.vocab_size,
        vocabulary=data.vocabulary,
        reset_at_documents=job.batches.reset_at_documents,
        generation=0,
        weights=writer.weights_of(student.published),
    )
    count = job.policy.num_teachers
    return [dataclasses.replace(copy, student=k) for k in range(count)]
