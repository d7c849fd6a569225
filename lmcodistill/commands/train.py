r"""Train students that teach each other.

Without TF_CONFIG, the whole run starts here: --students groups of
--workers_per_student processes each, until all have made NUM_TRAIN_STEPS
updates. Ctrl-C saves and stops; the same command goes on from there. When a
process dies or freezes, its student is started again from the last checkpoint.

With TF_CONFIG set (by Slurm, Kubernetes or by hand), one worker of student
--student runs here, started again in the same way; the first address of the
cluster is the chief. Start one such cluster per student, all with the same
--run_dir on shared storage.

--strategy=parameter_server trains one student by asynchronous SGD, the paper's
other baseline: its workers do not wait for each other.

`lmcodistill check` with the same flags tries all of it before, the first update
included.

Examples:
  lmcodistill train --gin_file runs/quickstart --data_dir DATA --run_dir RUN
  lmcodistill train --gin_file runs/paper_baseline --students 1 \
    --data_dir DATA --run_dir RUN --gin.NUM_TRAIN_STEPS=20000
  lmcodistill train --gin_file runs/quickstart --dry_run \
    --data_dir DATA --run_dir RUN
  lmcodistill train --gin_file runs/paper_baseline --students 1 \
    --strategy parameter_server --workers_per_student 2 \
    --data_dir DATA --run_dir RUN
  TF_CONFIG='{"cluster": {"worker": ["a:2222", "b:2222"]},
    "task": {"type": "worker", "index": 0}}' lmcodistill train --student 1 \
    --students 2 --gin_file runs/paper_codistill --data_dir DATA --run_dir RUN
"""

from absl import flags

from lmcodistill.commands import command_flags, run_flags


def define_flags(define: command_flags.Definer) -> None:
    """Defines where data and run are, and how many processes there are."""
    run_flags.define_flags(define)
    define.require("data_dir", "run_dir")
    define.bool(
        "dry_run",
        False,
        "Check what can be checked in a second, and stop; `lmcodistill check` looks at "
        "everything.",
    )
    run_flags.define_supervision(define)
    run_flags.define_worker_flags(define)
    define.bool(
        "take_over",
        False,
        "Take students over from processes that hold them. Only if you know that "
        "those are dead; they end when they notice.",
    )


def run(flag_values: flags.FlagValues) -> int:
    """Trains, or checks; see the module's text."""
    # A mistake among the flags is found without all of this.
    from lmcodistill.commands import run_checks
    from lmcodistill.supervision import lifeline, tf_config

    planned = run_checks.PlannedRun(flag_values)
    if flag_values.dry_run:
        run_checks.dry_run(planned)
        return 0
    if tf_config.is_set() and lifeline.is_supervised():
        from lmcodistill.commands import worker_process

        return worker_process.run(planned)
    for job in planned.own_jobs:
        planned.check_student(job)
    planned.check_offline_teachers()
    from lmcodistill.commands import supervision

    if tf_config.is_set():
        return supervision.run_one(flag_values, planned.own_jobs[0])
    return supervision.run_all(flag_values, planned.jobs)
