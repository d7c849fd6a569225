"""From the flags of `train` to supervised processes.

The processes are the same command once more, with the configuration as it was
read now, so that an edited gin file changes nothing in a run that goes on.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
import shlex
import sys
import types
from collections.abc import Callable, Sequence

from absl import flags

from lmcodistill.commands import run_checks
from lmcodistill.storage import files, layout, places
from lmcodistill.supervision import (
    display,
    journal,
    launcher,
    lease,
    lifeline,
    process_group,
    status,
    supervisor,
    tf_config,
)
from lmcodistill.supervision.on_demand import OnDemand
from lmcodistill.training import job as job_lib

# Flags of `train` that the workers get as they were given. The others are only for
# the supervisor, or `_worker_command` says what becomes of them.
FORWARDED_FLAGS = (
    "accept_changed_config",
    "export_key_file",
    "hang_seconds",
    "shared_dir",
    "strategy",
    "students",
)

# From the command of one start of a student's workers to its processes.
Start = Callable[[Sequence[str]], process_group.ProcessGroup]


def run_all(flag_values: flags.FlagValues, jobs: Sequence[job_lib.Job]) -> int:
    """Runs all workers of all students on this machine."""
    lifeline.stop_with_starter()
    for job in jobs:
        _refuse_held(flag_values, job)
    run = layout.RunLayout(jobs[0].run_dir)
    run.root.mkdir(parents=True, exist_ok=True)
    files.write_text(run.config, jobs[0].config_text)
    count = flag_values.workers_per_student
    threads = launcher.threads_of_each(len(jobs) * count)
    is_asynchronous = bool(jobs[0].asynchronous_workers)
    events = journal.Journal(run.supervisor)
    events.note("began", command=_command(flag_values, jobs[0], run.config))
    groups = []
    for job in jobs:
        start = functools.partial(
            launcher.start_group,
            student=job.layout,
            count=count,
            threads=threads,
            parameter_servers=flag_values.parameter_servers * is_asynchronous,
        )
        groups.append(_group(flag_values, job, run.config, events, start))
    shown = display.show_students(run.root, jobs[0].shared_dir, flag_values.log)
    return _supervise(flag_values, groups, shown, jobs[0], _request_files(run, jobs[0]))


def run_one(flag_values: flags.FlagValues, job: job_lib.Job) -> int:
    """Runs the one worker that TF_CONFIG describes."""
    task = run_checks.check_task(flag_values)
    if task.is_chief:
        _refuse_held(flag_values, job)
    config = job.layout.supervised_config(task.index)
    config.parent.mkdir(parents=True, exist_ok=True)
    # Its own: somebody may edit the gin files before the worker is started again.
    files.write_text(config, job.config_text)

    def start(command: Sequence[str]) -> process_group.ProcessGroup:
        as_worker = {tf_config.VARIABLE: task.tf_config}
        worker = launcher.start_worker(command, job.layout, task.index, as_worker)
        return process_group.ProcessGroup([worker], task.addresses)

    events = journal.Journal(job.layout.supervisor(task.index))
    events.note("began", command=_command(flag_values, job, config))
    group = _group(flag_values, job, config, events, start, task.is_chief)
    shown = display.show_log(job.layout.log(task.index))
    return _supervise(flag_values, [group], shown, job)


def _refuse_held(flag_values: flags.FlagValues, job: job_lib.Job) -> None:
    """Refuses to train a student that another living process trains."""
    if not flag_values.take_over:
        with places.failures_named():
            lease.refuse_held(job.layout.leases)


def _group(
    flag_values: flags.FlagValues,
    job: job_lib.Job,
    config: pathlib.Path,
    events: journal.Journal,
    start: Start,
    has_chief: bool = True,
) -> supervisor.SupervisedGroup:
    """Returns the processes of one student that run here, not started yet."""

    def launch(number: int) -> process_group.ProcessGroup:
        if has_chief and number > 1:
            # Watching an owner that cannot be seen would keep the other groups.
            lease.refuse_held(job.layout.leases, wait=False)
        return start(_worker_command(flag_values, job, config, number))

    limits = process_group.Limits(
        flag_values.max_restarts,
        flag_values.start_deadline_seconds,
        flag_values.frozen_seconds,
        job.policy.is_waited_for,
    )
    files_of_student = _request_files(job.layout, job)
    if not has_chief:
        # Only a chief exports; its supervisor finds the file.
        files_of_student.pop(OnDemand.EXPORT, None)
    return supervisor.SupervisedGroup(
        job.student, launch, limits, events, files_of_student
    )


def _request_files(
    folder: layout.RunLayout | layout.StudentLayout, job: job_lib.Job
) -> dict[OnDemand, pathlib.Path]:
    """Returns the file of each request to a run or to a student."""
    if job.asynchronous_workers:  # Its weights are of a step at its periods alone.
        return {}
    return {
        OnDemand.CHECKPOINT: folder.checkpoint_now,
        OnDemand.EXPORT: folder.export_now,
    }


def _command(
    flag_values: flags.FlagValues, job: job_lib.Job, config: pathlib.Path
) -> str:
    """Returns the command that goes on with the run, from any folder."""
    names = (*FORWARDED_FLAGS, "workers_per_student", "parameter_servers", "student")
    given = (flag_values[n] for n in names if flag_values[n].present)
    return shlex.join(
        [
            *("lmcodistill", "train", "--gin_file", str(config)),
            *("--data_dir", str(job.data_dir), "--run_dir", str(job.run_dir)),
            *filter(None, (flag.serialize() for flag in given)),
        ]
    )


def _worker_command(
    flag_values: flags.FlagValues, job: job_lib.Job, config: pathlib.Path, number: int
) -> list[str]:
    """Returns the command line of a student's workers at their `number`-th start."""
    return [
        *(sys.executable, "-m", "lmcodistill", "train"),
        *("--gin_file", str(config)),
        *("--data_dir", str(job.data_dir), "--run_dir", str(job.run_dir)),
        *("--student", str(job.student)),
        *filter(None, (flag_values[name].serialize() for name in FORWARDED_FLAGS)),
        # What came later than the first start is not dead.
        *(["--take_over"] if flag_values.take_over and number == 1 else []),
    ]


def _supervise(
    flag_values: flags.FlagValues,
    groups: Sequence[supervisor.SupervisedGroup],
    shown: contextlib.AbstractContextManager[None],
    job: job_lib.Job,
    request_files: supervisor.RequestFiles = types.MappingProxyType({}),
) -> int:
    with shown:
        supervisor.Supervisor(groups, request_files).run()
    exports = " ".join(
        shlex.quote(str(job.peer_layout(g.student).shared)) for g in groups
    )
    print(
        "Done. Next:\n"
        f"  lmcodistill report {shlex.quote(str(job.run_dir))}\n"
        f"  lmcodistill evaluate --data_dir {shlex.quote(str(job.data_dir))} "
        f"--export {exports}",
        file=sys.stderr,
    )
    if flag_values.json:
        students = map(dataclasses.asdict, status.read(job.run_dir, job.shared_dir))
        print(json.dumps({"run_dir": str(job.run_dir), "students": list(students)}))
    return 0
