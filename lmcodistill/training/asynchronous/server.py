"""A process that works for a coordinator: a worker, or a parameter server.

It reads no text and writes no metrics: all that it computes with is sent to it. Where
the coordinator is started again, it serves the new one.
"""

import signal
import time

import tensorflow as tf

from lmcodistill.storage import progress_file
from lmcodistill.storage.progress_file import Phase
from lmcodistill.supervision import cluster_spec, watchdog
from lmcodistill.training import job as job_lib
from lmcodistill.training import worker

_POLL_SECONDS = 1.0


def main(
    job: job_lib.Job,
    task: cluster_spec.Task,
    watch: watchdog.Watchdog,
    progress: progress_file.Heartbeat,
) -> int:
    """Serves until the coordinator leaves a new result in the run's folder."""
    worker.start_logging(job, task.index)
    # The coordinator saves when it is asked to stop, and needs this process for it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tf.config.experimental.enable_op_determinism()
    result = job.layout.result(0)
    before = progress_file.read(result)
    server = tf.distribute.Server(
        task.cluster, job_name=task.job, task_index=task.job_index, protocol="grpc"
    )
    watch.joined()
    progress.enter(Phase.SERVING)
    while progress_file.read(result) == before:
        time.sleep(_POLL_SECONDS)
    del server
    watch.done()
    return 0
