r"""Train students that teach each other.

Without TF_CONFIG, the whole run starts here: --students groups of
--workers_per_student processes each, until all have made NUM_TRAIN_STEPS
updates. Ctrl-C saves and stops; the same command goes on from there. When a
process dies or freezes, its student is started again from the last checkpoint.

With TF_CONFIG set (by Slurm, Kubernetes or by hand), one worker of student
--student runs here, started again in the same way; the first address of the
cluster is the chief. Start one such cluster per student, all with the same
--run_dir on shared storage.

Examples:
  lmcodistill train --gin_file runs/quickstart --data_dir DATA --run_dir RUN
  lmcodistill train --gin_file runs/paper_baseline --students 1 \
    --data_dir DATA --run_dir RUN --gin.NUM_TRAIN_STEPS=20000
  lmcodistill train --gin_file runs/quickstart --data_dir DATA --run_dir RUN --dry_run
  TF_CONFIG='{"cluster": {"worker": ["a:2222", "b:2222"]},
    "task": {"type": "worker", "index": 0}}' lmcodistill train --student 1 \
    --students 2 --gin_file runs/paper_codistill --data_dir DATA --run_dir RUN
"""

import json
import sys
from collections.abc import Sequence

from absl import flags

from lmcodistill import errors, tf_environment
from lmcodistill.commands import command_flags, export_flags, run_flags, supervision
from lmcodistill.config import loading
from lmcodistill.data import shards
from lmcodistill.storage import places, progress_file
from lmcodistill.storage.progress_file import Phase
from lmcodistill.supervision import lease, lifeline, tf_config, watchdog
from lmcodistill.training import job as job_lib
from lmcodistill.training import preflight

# More would hide what to do about them.
_MAX_CHANGES = 4


def define_flags(define: command_flags.Definer) -> None:
    """Defines where data and run are, and how many processes there are."""
    run_flags.define_flags(define)
    define.integer(
        "student", None, "With TF_CONFIG: which student this worker trains.", 0
    )
    define.bool(
        "dry_run",
        False,
        "Check everything that can be checked without training, and stop.",
    )
    define.bool(
        "take_over",
        False,
        "Take students over from processes that hold them. Only if you know that "
        "those are dead; they end when they notice.",
    )
    define.bool(
        "accept_changed_config",
        False,
        "Go on with a run although its configuration was another.",
    )


def run(flag_values: flags.FlagValues) -> int:
    """Trains, or checks; see the module's text."""
    loaded = job_lib.load(flag_values.gin_file, flag_values.gin_bindings)
    jobs = [_job(flag_values, loaded, k) for k in range(flag_values.students)]
    if flag_values.dry_run:
        return _dry_run(flag_values, jobs, loaded)
    if not tf_config.is_set():
        for job in jobs:
            _check(flag_values, job, loaded)
        job_lib.check_offline_teachers(jobs[0], shards.ShardSet(jobs[0].data_dir))
        return supervision.run_all(flag_values, jobs)
    job = _own_job(flag_values, jobs)
    if lifeline.is_supervised():
        return _be_worker(flag_values, job, loaded)
    _check(flag_values, job, loaded)
    job_lib.check_offline_teachers(job, shards.ShardSet(job.data_dir))
    return supervision.run_one(flag_values, job)


def _job(
    flag_values: flags.FlagValues, loaded: loading.Config, student: int
) -> job_lib.Job:
    for name in ("data_dir", "run_dir"):
        if not flag_values[name].value:
            raise errors.UsageError(
                f"--{name} is missing; `lmcodistill train --help` has examples."
            )
    return job_lib.Job(
        data_dir=flag_values.data_dir,
        run_dir=flag_values.run_dir,
        shared_dir=flag_values.shared_dir or flag_values.run_dir,
        student=student,
        num_students=flag_values.students,
        config_text=loaded.text,
        key=export_flags.key(flag_values),
        **job_lib.settings(loaded),
    )


def _own_job(flag_values: flags.FlagValues, jobs: list[job_lib.Job]) -> job_lib.Job:
    student = flag_values.student
    if student is None or student >= len(jobs):
        raise errors.UsageError(
            f"With TF_CONFIG this process is one worker of one student, and --student "
            f"is {student}. Give --student=0 to --student={len(jobs) - 1}, or unset "
            "TF_CONFIG to start the whole run here."
        )
    return jobs[student]


def _check(
    flag_values: flags.FlagValues, job: job_lib.Job, loaded: loading.Config
) -> dict[str, object]:
    """Checks one student's job; returns its summary."""
    job_lib.check_peers(job)
    inputs = job_lib.open_inputs(job)
    job_lib.check_vocabulary(job, inputs)
    workers, source = flag_values.workers_per_student, "--workers_per_student="
    if tf_config.is_set():
        workers, source = len(tf_config.own_task().addresses), "TF_CONFIG's workers: "
    run_flags.check_shared(job.batches, workers, source)
    # Under TF_CONFIG the other workers may have machines of their own.
    processes = 1 if tf_config.is_set() else workers * flag_values.students
    preflight.check(job, inputs, processes)
    if not flag_values.accept_changed_config:
        _refuse_changed_config(job, loaded)
    return job_lib.summary(job, inputs, workers)


def _refuse_changed_config(job: job_lib.Job, loaded: loading.Config) -> None:
    """Refuses to go on with a run whose configuration was another."""
    path = job.layout.config
    old_text = path.read_text() if path.is_file() else loaded.text
    changes = loaded.refused_changes(old_text)
    if changes:
        lines = [f"  {name}: was {old}, now {new}" for name, old, new in changes]
        if len(lines) > _MAX_CHANGES:
            shown = _MAX_CHANGES - 1
            lines[shown:] = [f"  and {len(lines) - shown} more; `configs diff` has all"]
        rows = "\n".join(lines)
        raise errors.UsageError(
            f"{job.layout.root} was begun with another configuration:\n{rows}\n"
            "Give the old values, or another --run_dir, or go on all the same with "
            "--accept_changed_config."
        )
    for name, (old, new) in loaded.moved_ends(old_text).items():
        print(
            f"lmcodistill train: {job.layout.root} goes on with {name} = {new}, which "
            f"was {old} and is the end of training in both: from here on the value is "
            "that of the longer or shorter schedule.",
            file=sys.stderr,
        )


def _be_worker(
    flag_values: flags.FlagValues, job: job_lib.Job, loaded: loading.Config
) -> int:
    """Trains as the worker that TF_CONFIG describes, for a supervisor."""
    hang_seconds = flag_values.hang_seconds
    if hang_seconds:  # A wait for storage and peers is part of a step.
        hang_seconds += job.policy.longest_wait_seconds
    # First of all: the supervisor hears that this process lives.
    watch = watchdog.Watchdog(hang_seconds)
    task = tf_config.own_task()
    path = job.layout.worker_progress(task.index)
    progress = progress_file.Heartbeat(path, job.training.last_step, job.num_students)
    progress.enter(Phase.CHECKING)
    _check(flag_values, job, loaded)
    tf_config.check_port(task)
    owner = None
    if task.is_chief:
        progress.enter(Phase.WAITING, "who trained this student before")
        with places.failures_named():
            owner = lease.Lease.acquire(job.layout.leases, flag_values.take_over)
        owner.keep(errors.leave)
    # TensorFlow takes seconds to import; everything above is checked without.
    progress.enter(Phase.IMPORTING)
    tf_environment.start()
    from lmcodistill.training import worker

    return worker.main(job, task, owner, watch, progress)


def _dry_run(
    flag_values: flags.FlagValues, jobs: list[job_lib.Job], loaded: loading.Config
) -> int:
    """Checks everything that can be checked without training, and says so."""
    summaries = [_check(flag_values, job, loaded) for job in jobs]
    if tf_config.is_set():
        supervision.check_task(flag_values)
    if jobs[0].distillation.offline_exports:
        _try_offline_teachers(jobs)
    if flag_values.json:
        print(json.dumps({"students": summaries, "config": loaded.text}))
        return 0
    print(loaded.text, end="")
    for summary in summaries:
        print("\n" + "\n".join(f"{name}: {value}" for name, value in summary.items()))
    print("\nEverything that can be checked without training is in order.")
    return 0


def _try_offline_teachers(jobs: Sequence[job_lib.Job]) -> None:
    """Lets the teachers of OFFLINE_EXPORTS predict, as each student will.

    Raises:
        SnapshotError: one cannot teach.
    """
    # Without TensorFlow first, because that takes seconds to import.
    job_lib.check_offline_teachers(jobs[0], shards.ShardSet(jobs[0].data_dir))
    tf_environment.start()
    import tensorflow as tf

    from lmcodistill.training.hooks import reload

    tf.config.set_visible_devices([], "GPU")  # A run that trains there keeps them.
    for job in jobs:
        loader = reload.Loader(job, job_lib.open_inputs(job))
        for path in job.distillation.offline_exports:
            loader.of_path(path)
