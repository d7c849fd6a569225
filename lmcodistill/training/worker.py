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
from collections.abc import Iterator

import tensorflow as tf

from lmcodistill import errors
from lmcodistill.storage import files, publication, reports
from lmcodistill.training import (
    actions,
    checkpoints,
    cluster,
    job,
    metrics,
    student,
    tf_config,
)

log = logging.getLogger("lmcodistill")

# Steps between a request to stop and the look at it: by then its total has long
# arrived, so looking never waits for the device.
_STOP_LAG = 2


class StopRequest:
    """Remembers that this process was asked to stop; asked twice, it stops at once."""

    def __init__(self):
        self._event = threading.Event()
        # TensorFlow installs a handler of its own that swallows the signal; ours
        # must come after the strategy.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, _) -> None:
        self._event.set()
        signal.signal(number, signal.SIG_DFL)

    def __call__(self) -> bool:
        """Returns whether a stop was asked for."""
        return self._event.is_set()


def run(what: job.Job) -> None:
    """Trains the student of `what` as the worker that TF_CONFIG describes.

    Raises:
        StoppedError: it was asked to stop, and saved.
        GroupLostError: another worker of the group is gone.
        DivergedError: a loss is not finite.
        DataError: the data do not fit.
        SnapshotError: no checkpoint can be used.
    """
    # A run must repeat bit for bit on the CPU; all randomness is seeded by step.
    tf.config.experimental.enable_op_determinism()
    with _lost_workers_named():
        group = cluster.Group()
        stop = StopRequest()
        inputs = job.open_inputs(what)
        learner = student.Student(what, inputs, group)
        first = _restore(what, group, learner)
        if group.is_chief:
            _prepare_folder(what)
        with _metrics(what, group, first) as writer:
            stopped = _train(what, inputs, group, learner, writer, stop, first)
        log.info(
            "event=ended stopped=%s peak_memory_mb=%d weights=%s",
            stopped,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            learner.digest(),
        )
    if stopped:
        raise errors.StoppedError(
            "Stopped on request after saving; the same command goes on from here."
        )


def _train(what, inputs, group, learner, writer, stop, first) -> bool:
    """Runs the loop; returns whether it ended because a stop was asked for."""
    publish = actions.Publish(what, inputs, learner)
    reload = actions.Reload(what, group, learner, stop)
    report = actions.Report(what, learner, writer, first)
    evaluate = actions.Evaluate(what, inputs, group, learner, writer)
    checkpoint = actions.Checkpoint(what, group, learner)
    heartbeat = reports.Heartbeat(
        what.layout.progress, what.training.num_train_steps, first
    )
    asked: list[tf.Tensor] = []
    for step in range(first, what.training.num_train_steps):
        if group.is_chief:
            publish(step)
        if not reload(step):
            checkpoint(step, force=True)
            return True
        totals = learner.update(step, stop())
        report(step + 1, totals)
        evaluate(step + 1)
        checkpoint(step + 1)
        if group.is_chief:
            heartbeat.beat(step + 1)
        asked.append(totals.stop)
        if len(asked) > _STOP_LAG and float(asked.pop(0)) > 0.0:
            checkpoint(step + 1, force=True)
            return True
    if group.is_chief:
        publish(what.training.num_train_steps)
        heartbeat.beat(what.training.num_train_steps, force=True)
    return False


def _restore(what: job.Job, group: cluster.Group, learner: student.Student) -> int:
    """Restores the newest whole checkpoint; returns the step to go on from."""
    folder = what.layout.checkpoints
    chosen = group.broadcast_json(
        checkpoints.newest_step(folder) if group.is_chief else None
    )
    if chosen is None:
        log.info("step=0 event=starting_from_scratch")
        return 0
    values, manifest = checkpoints.load(folder, chosen)
    source = str(publication.at_step(folder, checkpoints.PREFIX, chosen).path)
    learner.restore(values, manifest, source)
    log.info("step=%d event=restored from=%s", chosen, source)
    return chosen


def _prepare_folder(what: job.Job) -> None:
    """Sweeps what a killed predecessor left half-written."""
    for folder in (what.layout.checkpoints, what.layout.exports):
        folder.mkdir(parents=True, exist_ok=True)
        publication.sweep(folder)


@contextlib.contextmanager
def _metrics(
    what: job.Job, group: cluster.Group, first: int
) -> Iterator[metrics.MetricsWriter | None]:
    if not group.is_chief:
        yield None
        return
    writer = metrics.MetricsWriter(what.layout.metrics, what.layout.events, first)
    try:
        yield writer
    finally:
        writer.close()


@contextlib.contextmanager
def _lost_workers_named() -> Iterator[None]:
    try:
        yield
    except cluster.LOST_ERRORS as error:
        first_line = str(error).strip().splitlines()[0][:300]
        raise errors.GroupLostError(
            f"A worker of this student was lost ({type(error).__name__}: "
            f"{first_line}). Start the same command again on all its workers; they go "
            "on from the last checkpoint."
        ) from error


def start_logging(what: job.Job, worker: int) -> None:
    """Sends one line per event to standard error, prefixed by who and when."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter(
            f"%(asctime)s student={what.student} worker={worker} %(message)s"
        )
    )
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    log.info("event=started pid=%d", os.getpid())


def main(what: job.Job, task: tf_config.Task) -> int:
    """Trains as a process of its own: prepares the folder, logs, runs."""
    if task.is_chief:
        what.layout.root.mkdir(parents=True, exist_ok=True)
        files.write_text(what.layout.config, what.config_text)
    start_logging(what, task.index)
    try:
        run(what)
    except errors.LmcodistillError as error:
        # TensorFlow may block or abort in its farewell when a worker is gone.
        print(f"lmcodistill train: {error}", file=sys.stderr, flush=True)
        os._exit(error.exit_code)
    return 0
