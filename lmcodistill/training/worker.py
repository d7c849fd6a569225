"""One worker of one student, from joining the group to the last export.

Reads top to bottom as the whole run; every line's work is elsewhere.
"""

import collections
import contextlib
import enum
import logging
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Iterator

import tensorflow as tf

from lmcodistill import errors
from lmcodistill.storage import faults, files, places, progress_file, publication
from lmcodistill.supervision import lease, tf_config, watchdog
from lmcodistill.training import (
    actions,
    checkpoints,
    cluster,
    divergence,
    lessons,
    metrics,
    publishing,
    saving,
)
from lmcodistill.training import job as job_lib
from lmcodistill.training import step as step_lib
from lmcodistill.training import student as student_lib

log = logging.getLogger("lmcodistill")

# Steps between an update and the look at its totals: by then they have long
# arrived, so looking never waits for the device.
_LAG = 2


class StopRequest:
    """Remembers that this process was asked to stop, once or more often."""

    def __init__(self):
        self._event = threading.Event()
        # TensorFlow installs a handler of its own that swallows the signal; ours
        # must come after the strategy.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        # Schedulers ask all processes, and the supervisor asks again.
        self._event.set()

    def __call__(self) -> bool:
        """Returns whether a stop was asked for."""
        return self._event.is_set()


class Outcome(enum.Enum):
    """How a stretch of training ended."""

    DONE = "done"
    STOPPED = "stopped"
    ROLLED_BACK = "rolled_back"


def run(job: job_lib.Job, own: lease.Lease | None, watch: watchdog.Watchdog) -> None:
    """Trains the student of `job` as the worker that TF_CONFIG describes.

    Args:
        job: The job.
        own: On the chief: its right to write in the student's folder.
        watch: Told that the group has come together, and how far training is.

    Raises:
        StoppedError: it was asked to stop, and saved.
        GroupLostError: another worker of the group is gone, or another process
            took the student over.
        DivergedError: too many updates were not finite.
        DataError: the data do not fit.
        SnapshotError: no checkpoint can be used, or none can be saved.
    """
    # A run must repeat bit for bit on the CPU; all randomness is seeded by step.
    tf.config.experimental.enable_op_determinism()
    with _lost_workers_named(), places.failures_named():
        group = cluster.Group()
        stop = StopRequest()
        watch.joined()
        inputs = job_lib.open_inputs(job)
        student = student_lib.Student(job, inputs, group)
        if own is not None:
            _prepare_folder(job)
        while True:
            first = _restore(job, group, student)
            with (
                _metrics(job, group, first) as writer,
                _publishing(job, inputs, student, own) as publish,
            ):
                outcome, step = _train(
                    job, inputs, group, student, writer, publish, stop, watch, first
                )
            if outcome is not Outcome.ROLLED_BACK:
                break
            student.rollbacks += 1
            if own is not None:
                own.renew()  # What was published beyond the checkpoint is void.
        result = {
            "outcome": outcome.value,
            "traces": student.num_traces,
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            // 1024,
            "weights": student.digest(),
        }
        log.info("event=ended %s", " ".join(f"{n}={x}" for n, x in result.items()))
        path = job.layout.result(group.worker_index)
        progress_file.write_result(path, {**result, "step": step})
    if outcome is Outcome.STOPPED:
        raise errors.StoppedError(
            "Stopped on request after saving; the same command goes on from here."
        )


def _train(
    job, inputs, group, student, writer, publish, stop, watch, first
) -> tuple[Outcome, int]:
    """Makes the updates from step `first` on; returns the step reached."""
    read = lessons.Reader(job, inputs)
    reload = lessons.Reload(job, group, student, read, stop)
    report = actions.Report(job, student, writer, first, reload, publish)
    guard = divergence.Guard(job.training, student.rollbacks)
    checkpoint = saving.Checkpoint(job, group, student, publish)
    evaluate = actions.Evaluate(
        job, inputs, group, student, writer, checkpoint, watch.goes_on
    )
    heartbeat = progress_file.Heartbeat(
        job.layout.progress, job.training.num_train_steps, first
    )
    told: collections.deque[tuple[int, step_lib.Totals]] = collections.deque()
    for step in range(first, job.training.num_train_steps):
        watch.reached(step)
        faults.point("update")
        if publish:
            publish(step)
        if not reload(step):
            checkpoint(step, force=True)
            return Outcome.STOPPED, step
        told.append((step + 1, student.update(step, stop(), reload.announce())))
        report(*told[-1])
        evaluate(step + 1)
        # Saving waits for the device in any case, and only good states are saved.
        is_due, is_stopped = checkpoint.is_due(step + 1), False
        while len(told) > (0 if is_due else _LAG):
            at, totals = told.popleft()
            verdict = guard.look(at, totals)
            if verdict is divergence.Verdict.ROLL_BACK:
                return _rolled_back(job, group, guard), step + 1
            if verdict is divergence.Verdict.DROP_TEACHERS:
                reload.drop_all(step + 1)
            if float(totals.announced):
                reload.swap_staged(step + 1)
            is_stopped |= float(totals.stop) > 0.0
        is_last = is_stopped or step + 1 == job.training.num_train_steps
        if is_last or (is_due and not guard.skipped_in_a_row):
            try:
                checkpoint(step + 1, force=is_last)
            except errors.DivergedError:
                guard.roll_back(step + 1, "a weight is not finite")
                return _rolled_back(job, group, guard), step + 1
        if is_stopped:
            return Outcome.STOPPED, step + 1
        if group.is_chief:
            heartbeat.beat(step + 1)
    watch.reached(job.training.num_train_steps)
    if publish:
        publish(job.training.num_train_steps)
        heartbeat.beat(job.training.num_train_steps, force=True)
    return Outcome.DONE, job.training.num_train_steps


def _rolled_back(
    job: job_lib.Job, group: cluster.Group, guard: divergence.Guard
) -> Outcome:
    """Returns `ROLLED_BACK` where there is a whole checkpoint. Collective."""
    found = None
    if group.is_chief:
        found = checkpoints.newest(job.layout.checkpoints, job.key)
    if not group.broadcast_json(found is not None):
        raise guard.gave_up("There is no checkpoint to go back to")
    return Outcome.ROLLED_BACK


def _restore(
    job: job_lib.Job, group: cluster.Group, student: student_lib.Student
) -> int:
    """Restores the newest whole checkpoint; returns the step to go on from."""
    folder = job.layout.checkpoints
    found = checkpoints.newest(folder, job.key) if group.is_chief else None
    version = group.broadcast_json(found.version if found else None)
    if version is None:
        log.info("step=0 event=starting_from_scratch")
        return 0
    snapshot = checkpoints.of_version(folder, version, job.key)
    values, manifest = checkpoints.load(snapshot)
    student.restore(values, manifest, str(snapshot.path))
    log.info("step=%d event=restored from=%s", snapshot.step, snapshot.path)
    return snapshot.step


def _prepare_folder(job: job_lib.Job) -> None:
    """Sweeps what a killed predecessor left half-written."""
    for folder in (job.layout.checkpoints, job.layout.exports):
        places.make_folder(folder)
        publication.sweep(folder)
    if places.is_open_to_all(job.layout.exports) and job.key is None:
        log.warning(
            "event=folder_open_to_all folder=%s reason=whoever can log in here can "
            "decide what the peers learn; chmod o-w, or give --export_key_file",
            job.layout.exports,
        )


@contextlib.contextmanager
def _metrics(
    job: job_lib.Job, group: cluster.Group, first: int
) -> Iterator[metrics.MetricsWriter | None]:
    if not group.is_chief:
        yield None
        return
    writer = metrics.MetricsWriter(job.layout.metrics, job.layout.events, first)
    try:
        yield writer
    finally:
        writer.close()


@contextlib.contextmanager
def _publishing(
    job: job_lib.Job,
    inputs: job_lib.Inputs,
    student: student_lib.Student,
    own: lease.Lease | None,
) -> Iterator[publishing.Publish | None]:
    if own is None:
        yield None
        return
    publish = publishing.Publish(job, inputs, student, own.ownership(job.key))
    yield publish
    publish.close()  # Not after an error: it may be storage that does not answer.


@contextlib.contextmanager
def _lost_workers_named() -> Iterator[None]:
    try:
        yield
    except cluster.LOST_ERRORS as error:
        first_line = str(error).strip().splitlines()[0][:300]
        raise errors.GroupLostError(
            f"A worker of this student was lost ({type(error).__name__}: "
            f"{first_line}). Its workers are started again by their supervisors, or "
            "by the same command, and go on from the last checkpoint."
        ) from error


def start_logging(job: job_lib.Job, worker: int) -> None:
    """Sends one line per event to standard error, prefixed by who and when."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter(
            f"%(asctime)s student={job.student} worker={worker} %(message)s"
        )
    )
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    log.info("event=started pid=%d", os.getpid())


def main(
    job: job_lib.Job,
    task: tf_config.Task,
    own: lease.Lease | None,
    watch: watchdog.Watchdog,
) -> int:
    """Trains as a process of its own: prepares the folder, logs, runs."""
    start_logging(job, task.index)
    if own is not None:
        files.write_text(job.layout.config, job.config_text)
    try:
        run(job, own, watch)
    except errors.LmcodistillError as error:
        if own is not None:
            own.release()
        # TensorFlow may block or abort in its farewell when a worker is gone.
        errors.leave(error)
    except Exception:
        traceback.print_exc()
        os._exit(1)  # A bug; the farewell as above.
    if own is not None:
        own.release()
    watch.done()
    return 0
