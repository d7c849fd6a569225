"""From the flags of `train` to supervised processes.

The processes are the same command once more, with the configuration as it was
read now, so that an edited gin file changes nothing in a run that goes on.
"""

import contextlib
import json
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable, Sequence

from absl import flags

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
from lmcodistill.training import job as job_lib


def define_flags(flag_values: flags.FlagValues) -> None:
    """Defines when a student is started again, and where its ports may be."""
    flags.DEFINE_integer(
        "max_restarts",
        10,
        "How often in a row a student is started again without getting any further "
        "than before; 0: never, and the first failure ends the run.",
        0,
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "start_deadline_seconds",
        300.0,
        "How long a student's workers may take to find each other. Then the missing "
        "ones are named, and all are started again.",
        1.0,
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "hang_seconds",
        1800.0,
        "How long a step may take. Then the worker says where each of its threads "
        "is, and its student is started again; 0: for ever.",
        0.0,
        flag_values=flag_values,
    )
    flags.DEFINE_bool(
        "allow_public_addresses",
        False,
        "Let TF_CONFIG have addresses of the internet. TensorFlow's ports have no "
        "password: only behind a firewall.",
        flag_values=flag_values,
    )


def check_task(flag_values: flags.FlagValues) -> tf_config.Task:
    """Checks what TF_CONFIG says; returns this worker's place."""
    task = tf_config.own_task()
    warning = tf_config.check_addresses(task, flag_values.allow_public_addresses)
    tf_config.check_port(task)
    if warning:
        print(f"lmcodistill train: {warning}", file=sys.stderr)
    return task


def run_all(flag_values: flags.FlagValues, jobs: Sequence[job_lib.Job]) -> int:
    """Runs all workers of all students on this machine."""
    if lifeline.is_supervised():
        threading.Thread(
            target=_stop_after, args=(lifeline.inherited(),), daemon=True
        ).start()
    for job in jobs:
        _refuse_held(flag_values, job)
    run = layout.RunLayout(jobs[0].run_dir)
    run.root.mkdir(parents=True, exist_ok=True)
    files.write_text(run.config, jobs[0].config_text)
    count = flag_values.workers_per_student
    threads = max(1, len(os.sched_getaffinity(0)) // (len(jobs) * count))

    def start(job: job_lib.Job, command: Sequence[str]) -> process_group.Attempt:
        return launcher.start_group(command, job.layout, count, threads)

    noted = journal.Journal(run.supervisor)
    groups = [_group(flag_values, job, run.config, noted, start) for job in jobs]
    shown = display.Display(run.root, jobs[0].shared_dir)
    return _supervise(flag_values, groups, shown, jobs[0])


def _stop_after(line: lifeline.Lifeline) -> None:
    """Asks this process to save and stop when whoever started it is gone."""
    while line.lasts():
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def run_one(flag_values: flags.FlagValues, job: job_lib.Job) -> int:
    """Runs the one worker that TF_CONFIG describes."""
    task = check_task(flag_values)
    if task.is_chief:
        _refuse_held(flag_values, job)
    config_path = job.layout.supervised_config(task.index)
    config_path.parent.mkdir(parents=True, exist_ok=True)
    # Its own: somebody may edit the gin files before the worker is started again.
    files.write_text(config_path, job.config_text)

    def start(job: job_lib.Job, command: Sequence[str]) -> process_group.Attempt:
        one = launcher.start_worker(command, job.layout, task.index, {})
        return process_group.Attempt([one], task.addresses)

    noted = journal.Journal(job.layout.supervisor(task.index))
    group = _group(flag_values, job, config_path, noted, start, task.is_chief)
    shown = display.Follow(job.layout.log(task.index))
    return _supervise(flag_values, [group], shown, job)


def _group(
    flag_values: flags.FlagValues,
    job: job_lib.Job,
    config_path: pathlib.Path,
    noted: journal.Journal,
    start: Callable[[job_lib.Job, Sequence[str]], process_group.Attempt],
    has_chief: bool = True,
) -> supervisor.Group:
    """Returns the processes of one student that run here, not started yet."""

    def start_again(number: int) -> process_group.Attempt:
        if has_chief and number > 1:
            _refuse_seen(job)
        return start(job, _worker_command(flag_values, job, config_path, number))

    limits = process_group.Limits(
        flag_values.max_restarts,
        flag_values.start_deadline_seconds,
        float(os.environ.get("LMCODISTILL_FROZEN_SECONDS", "30")),
        job.policy.is_waited_for,
    )
    return supervisor.Group(job.student, start_again, limits, noted)


def _refuse_held(flag_values: flags.FlagValues, job: job_lib.Job) -> None:
    """Refuses to train a student that another living process trains."""
    with places.failures_named():
        holder = lease.newest(job.layout.leases)
        if holder is not None and not flag_values.take_over:
            lease.refuse_if_alive(job.layout.leases, holder)


def _refuse_seen(job: job_lib.Job) -> None:
    """Refuses where that process is seen at once; watching for it takes a while."""
    holder = lease.newest(job.layout.leases)
    if holder is not None and holder.is_alive():
        lease.refuse_if_alive(job.layout.leases, holder)


def _worker_command(
    flag_values: flags.FlagValues,
    job: job_lib.Job,
    config_path: pathlib.Path,
    number: int,
) -> list[str]:
    """Returns the command line of a student's workers at their `number`-th start."""
    command = [
        *(sys.executable, "-m", "lmcodistill", "train"),
        *("--gin_file", str(config_path)),
        *("--data_dir", str(job.data_dir), "--run_dir", str(job.run_dir)),
        *("--students", str(job.num_students), "--student", str(job.student)),
        *("--hang_seconds", str(flag_values.hang_seconds)),
    ]
    for name in ("shared_dir", "export_key_file"):
        if flag_values[name].value:
            command += [f"--{name}", str(flag_values[name].value)]
    if flag_values.accept_changed_config:
        command.append("--accept_changed_config")
    if flag_values.take_over and number == 1:  # What came later is not dead.
        command.append("--take_over")
    return command


def _supervise(
    flag_values: flags.FlagValues,
    groups: Sequence[supervisor.Group],
    shown: contextlib.AbstractContextManager[None],
    job: job_lib.Job,
) -> int:
    with shown:
        supervisor.Supervisor(groups).run()
    if flag_values.json:
        students = [s.to_json() for s in status.read(job.run_dir, job.shared_dir)]
        print(json.dumps({"run_dir": str(job.run_dir), "students": students}))
    return 0
