"""One worker of one student, from joining the group to the last export.

Reads top to bottom as the whole run; every line's work is elsewhere.
"""

import contextlib
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
from lmcodistill.storage import files, places, progress_file, publication
from lmcodistill.storage.progress_file import Phase
from lmcodistill.supervision import cluster_spec, watchdog
from lmcodistill.supervision import lease as lease_lib
from lmcodistill.supervision.on_demand import OnDemand
from lmcodistill.training import checkpoints, cluster, divergence, metrics, sinks
from lmcodistill.training import job as job_lib
from lmcodistill.training import loop as loop_lib
from lmcodistill.training import student as student_lib
from lmcodistill.training.asynchronous import coordination
from lmcodistill.training.asynchronous import student as asynchronous_student
from lmcodistill.training.hooks import (
    checkpoint,
    evaluate,
    gradients,
    publish,
    reload,
    report,
)
from lmcodistill.training.hooks.every import Every

log = logging.getLogger("lmcodistill")


class Worker:
    """A worker that has joined its group.

    Attributes:
        group: The workers of the student.
        student: The student on this worker.
    """

    def __init__(
        self,
        job: job_lib.Job,
        lease: lease_lib.Lease | None,
        watch: watchdog.Watchdog,
        progress: progress_file.Heartbeat,
    ):
        """Joins the group and builds the student. Collective."""
        self._job, self._lease, self._watch = job, lease, watch
        self._progress = progress
        progress.enter(Phase.JOINING)
        is_asynchronous = bool(job.asynchronous_workers)
        self.group = coordination.Coordination() if is_asynchronous else cluster.Group()
        progress.uses(self.group.devices)
        stop = threading.Event()
        self._asked_to_stop = stop.is_set
        # TensorFlow installs a handler of its own that swallows the signal; ours must
        # come after the strategy. The supervisor and a scheduler may each ask.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        watch.joined()
        self._inputs = job_lib.open_inputs(job)
        progress.enter(Phase.BUILDING)
        kind: type[student_lib.Student] = student_lib.Student
        if is_asynchronous:
            kind = asynchronous_student.AsynchronousStudent
        self.student = kind(
            *(job, self._inputs, self.group),
            on_trace=lambda: progress.enter(Phase.TRACING),
        )

    def train(self) -> loop_lib.Ending:
        """Trains from the newest checkpoint to the end; raises as `run`."""
        if self.group.is_chief:
            self._check_offline_teachers()
            _prepare_folder(self._job)
        while True:
            self._progress.enter(Phase.RESTORING)
            first = _restore(self._job, self.group, self.student)
            self._progress.restored(first)
            ending = self._train_from(first)
            if ending.outcome is not loop_lib.Outcome.ROLLED_BACK:
                return ending
            self.student.rollbacks += 1
            if self._lease is not None:
                self._lease.renew()  # What was published beyond the checkpoint is void.

    def _check_offline_teachers(self) -> None:
        """Refuses before the first step what would end the run after burn-in."""
        loader = reload.Loader(self._job, self._inputs)
        for path in self._job.distillation.offline_exports:
            loader.of_path(path)

    def _train_from(self, first: int) -> loop_lib.Ending:
        """Makes the updates from step `first` on."""
        job, group, student = self._job, self.group, self.student
        last, progress = job.training.last_step, self._progress
        loader = reload.Loader(job, self._inputs)
        exchange = reload.Reload(
            *(job.policy, group, student, loader, self._asked_to_stop),
            on_wait=lambda what: progress.enter(Phase.WAITING, what),
        )
        with self._chief(first, exchange) as chief:

            def answer(step: int) -> None:
                self._watch.asked[OnDemand.CHECKPOINT].clear()
                progress.saved_as_asked(step)
                log.info("step=%d event=saved_as_asked", step)

            save = checkpoint.Checkpoint(
                *(job.training, job.layout.checkpoints, group, student),
                key=job.key,
                owner=chief.owner,
                settle=chief.settle,
                on_save=lambda: progress.enter(Phase.SAVING),
                on_answer=answer,
            )

            def on_window(count: int) -> None:
                self._watch.goes_on(count)
                progress.enter(Phase.VALIDATING)

            def score(step: int, result: evaluate.Score) -> None:
                save.note_evaluation(step, result.cross_entropy)
                chief.score(step, result)

            return loop_lib.Loop(
                last=last,
                student=student,
                chief=chief,
                reload=exchange,
                gradients=gradients.Gradients(
                    student,
                    Every(job.distillation.measure_gradients_every_steps, last),
                    chief.angle,
                ),
                evaluate=evaluate.Evaluate(
                    job,
                    self._inputs,
                    student,
                    group,
                    on_window=on_window,
                    on_score=score,
                ),
                checkpoint=save,
                guard=divergence.Guard(job.training, student.rollbacks),
                asked_to_stop=self._asked_to_stop,
                asked_to_save=self._watch.asked[OnDemand.CHECKPOINT].is_set,
                on_step=self._watch.reached,
                beat=progress.beat,
            ).run(first)

    @contextlib.contextmanager
    def _chief(self, first: int, exchange: reload.Reload) -> Iterator[loop_lib.Chief]:
        """Yields what this worker does as the chief, if it is."""
        if not self.group.is_chief:
            yield loop_lib.Chief()
            return
        assert self._lease is not None  # The chief has one.
        job, owner = self._job, self._lease.ownership(self._job.key)
        last = job.training.last_step
        sink, text = None, job.config_text
        if job.training.metrics_sink != "none":
            sink = sinks.Sink(job.training.metrics_sink, job.layout, text)
        writer = metrics.MetricsWriter(
            job.layout.metrics, job.layout.events, first, text, sink
        )
        with contextlib.closing(writer):
            export = publish.Publish(
                *(job, self._inputs, self.student, owner),
                asked=self._watch.asked[OnDemand.EXPORT],
                on_answer=self._progress.published_as_asked,
            )
            write_report = report.Report(
                self.student,
                writer,
                Every(job.training.report_every_steps, last),
                first,
                tokens_per_step=job.tokens_per_step,
                exchange=lambda: {
                    "refused_exports": exchange.refusals,
                    "exports_in_full": export.num_in_full,
                },
            )

            def score(step: int, result: evaluate.Score) -> None:
                result.write(step, writer)
                write_report.note_validation(result.seconds)

            yield loop_lib.Chief(
                owner=owner,
                publish=export,
                settle=export.settle,
                report=write_report,
                angle=lambda step, angle: writer.write(
                    "gradients", step, angle._asdict()
                ),
                score=score,
            )
            export.close()  # Not after an error: it may be storage that hangs.


def run(
    job: job_lib.Job,
    lease: lease_lib.Lease | None,
    watch: watchdog.Watchdog,
    progress: progress_file.Heartbeat,
) -> None:
    """Trains the student of `job` as the worker that TF_CONFIG describes.

    The chief has a lease. `watch` hears that the group has come together, and how far
    training is; so do people, by `progress`.

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
        worker = Worker(job, lease, watch, progress)
        outcome, step = worker.train()
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        result = {
            "outcome": outcome.value,
            "traces": worker.student.num_traces,
            "peak_memory_mb": peak_kb // 1024,
            "weights": worker.student.digest(),
        }
        progress.enter(Phase.ENDING)
        log.info("event=ended %s", " ".join(f"{n}={x}" for n, x in result.items()))
        path = job.layout.result(worker.group.worker_index)
        more = {"step": step, "pid": os.getpid()}
        progress_file.write_result(path, {**result, **more})
    if outcome is loop_lib.Outcome.STOPPED:
        raise errors.StoppedError(
            "Stopped on request after saving; the same command goes on from here."
        )


def _restore(
    job: job_lib.Job, group: cluster.Group, student: student_lib.Student
) -> int:
    """Restores the newest whole checkpoint; returns the step to go on from."""
    snapshot = checkpoints.newest_of_group(group, job.layout.checkpoints, job.key)
    if snapshot is None:
        log.info("step=0 event=starting_from_scratch")
        return 0
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
    task: cluster_spec.Task,
    lease: lease_lib.Lease | None,
    watch: watchdog.Watchdog,
    progress: progress_file.Heartbeat,
) -> int:
    """Trains as a process of its own: prepares the folder, logs, runs."""
    start_logging(job, task.index)
    if lease is not None:
        files.write_text(job.layout.config, job.config_text)
    try:
        run(job, lease, watch, progress)
    except errors.LmcodistillError as error:
        if lease is not None:
            lease.release()
        # TensorFlow may block or abort in its farewell when a worker is gone.
        errors.leave(error)
    except Exception as error:
        if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
            known = errors.of_system(error)
            assert known is not None
            errors.leave(known)
        traceback.print_exc()
        os._exit(1)  # A bug; the farewell as above.
    if lease is not None:
        lease.release()
    watch.done()
    if job.asynchronous_workers:
        os._exit(0)  # TensorFlow's farewell may wait for ever for one that left.
    return 0
