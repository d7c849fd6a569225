"""One worker of one student, as its supervisor starts it: `train` under TF_CONFIG."""

from lmcodistill import errors, tf_environment
from lmcodistill.commands import run_checks
from lmcodistill.storage import places, progress_file
from lmcodistill.storage.progress_file import Phase
from lmcodistill.supervision import cluster_spec, lease, tf_config, watchdog
from lmcodistill.training import job as job_lib


def run(planned: run_checks.PlannedRun) -> int:
    """Trains as the worker that TF_CONFIG describes, for a supervisor."""
    flag_values, [job] = planned.flag_values, planned.own_jobs
    task = tf_config.own_task()
    # Whether training hangs is the coordinator's to see.
    hang_seconds = 0.0 if task.serves else flag_values.hang_seconds
    if hang_seconds:  # A wait for storage and peers is part of a step.
        hang_seconds += job.policy.longest_wait_seconds
    # First of all: the supervisor hears that this process lives.
    watch = watchdog.Watchdog(hang_seconds)
    path = job.layout.worker_progress(task.index)
    progress = progress_file.Heartbeat(path, job.training.last_step, job.num_students)
    progress.enter(Phase.CHECKING)
    if task.serves:
        return _serve(job, task, watch, progress)
    planned.check_student(job)
    tf_config.check_port(task)
    owner = None
    if task.is_chief:
        progress.enter(Phase.WAITING, "who trained this student before")
        with places.failures_named():
            owner = lease.Lease.acquire(job.layout.leases, flag_values.take_over)
        owner.keep(errors.leave)
    # TensorFlow takes seconds to import; everything above is checked without.
    _start_tensorflow(progress)
    from lmcodistill.training import worker

    return worker.main(job, task, owner, watch, progress)


def _serve(
    job: job_lib.Job,
    task: cluster_spec.Task,
    watch: watchdog.Watchdog,
    progress: progress_file.Heartbeat,
) -> int:
    """Works for the coordinator of a student that is trained asynchronously."""
    tf_config.check_port(task)
    _start_tensorflow(progress)
    from lmcodistill.training.asynchronous import server

    return server.main(job, task, watch, progress)


def _start_tensorflow(progress: progress_file.Heartbeat) -> None:
    progress.enter(Phase.IMPORTING)
    tf_environment.start()
