"""The run that the flags of `train` describe, and what is looked at before it begins.

`train` looks at each student, `train --dry_run` and `check` at all there is; `check`
then does more (`training/trial.py`).
"""

import json
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from lmcodistill import errors, tf_environment
from lmcodistill.commands import export_flags, run_flags
from lmcodistill.config import loading
from lmcodistill.data import shards
from lmcodistill.supervision import cluster_spec, tf_config
from lmcodistill.training import job as job_lib
from lmcodistill.training import preflight

# More would hide what to do about them.
_MAX_CHANGES = 4


class PlannedRun:
    """A run as its flags and its configuration describe it.

    Attributes:
        flag_values: The flags.
        config_text: The whole configuration as a gin file.
        jobs: Of all students.
    """

    def __init__(self, flag_values: flags.FlagValues):
        """Reads the configuration.

        Raises:
            UsageError: it cannot be used, or a flag is missing.
        """
        self.flag_values = flag_values
        self._loaded = job_lib.load(flag_values.gin_file, flag_values.gin_bindings)
        self.config_text = self._loaded.text
        flag_values.refuse_missing()
        self.jobs = [
            _job(flag_values, self._loaded, k) for k in range(flag_values.students)
        ]

    @property
    def own_jobs(self) -> list[job_lib.Job]:
        """Of the students that are trained from here: all, or with TF_CONFIG one.

        Raises:
            UsageError: TF_CONFIG is set, and nothing says whose worker this is.
        """
        if not tf_config.is_set():
            return self.jobs
        student = self.flag_values.student
        if student is None or student >= len(self.jobs):
            raise errors.UsageError(
                "With TF_CONFIG this process is one worker of one student, and "
                f"--student is {student}. Give --student=0 to "
                f"--student={len(self.jobs) - 1}, or unset TF_CONFIG to start the "
                "whole run here."
            )
        return [self.jobs[student]]

    @property
    def workers_per_student(self) -> int:
        """Processes of each student that make its updates.

        Raises:
            UsageError: the flag and TF_CONFIG disagree.
        """
        given = self.flag_values.workers_per_student
        if not tf_config.is_set():
            return given
        workers = self.jobs[0].asynchronous_workers
        workers = workers or len(tf_config.own_task().addresses)
        if self.flag_values["workers_per_student"].present and given != workers:
            raise errors.UsageError(
                f"--workers_per_student={given}, and the cluster of TF_CONFIG has "
                f"{workers}. Leave the flag out: TF_CONFIG decides; or unset TF_CONFIG "
                "to start the whole run here."
            )
        return workers

    @property
    def processes(self) -> int:
        """Processes of this machine, as far as one knows."""
        # Under TF_CONFIG the other workers may have machines of their own.
        if tf_config.is_set():
            return 1
        others = 0  # The coordinator, which evaluates, and those that keep the weights.
        if self.jobs[0].asynchronous_workers:
            others = 1 + self.flag_values.parameter_servers
        return self.workers_per_student * len(self.jobs) + others

    def check_student(self, job: job_lib.Job) -> dict[str, object]:
        """Refuses what one student could not be trained with; returns its summary."""
        job_lib.check_peers(job)
        inputs = job_lib.open_inputs(job)
        job_lib.check_vocabulary(job, inputs)
        source = "--workers_per_student="
        if tf_config.is_set():
            source = "TF_CONFIG's workers: "
        workers = self.workers_per_student
        if not job.asynchronous_workers:
            run_flags.check_shared(job.batches, workers, source)
        preflight.check(job, inputs, self.processes)
        if not self.flag_values.accept_changed_config:
            _refuse_changed_config(job, self._loaded)
        return job_lib.summary(job, inputs, workers)

    def check_offline_teachers(self) -> None:
        """Refuses exports that could not teach: everything but how they predict."""
        job = self.own_jobs[0]
        job_lib.check_offline_teachers(job, shards.ShardSet(job.data_dir))

    def check(self) -> list[dict[str, object]]:
        """Refuses whatever can be known without TensorFlow to end badly.

        Returns:
            The summary of each student.
        """
        summaries = [self.check_student(job) for job in self.jobs]
        self.check_offline_teachers()
        if tf_config.is_set():
            check_task(self.flag_values)
        return summaries


def _job(
    flag_values: flags.FlagValues, loaded: loading.Config, student: int
) -> job_lib.Job:
    return job_lib.Job(
        data_dir=flag_values.data_dir,
        run_dir=flag_values.run_dir,
        shared_dir=flag_values.shared_dir or flag_values.run_dir,
        student=student,
        num_students=flag_values.students,
        config_text=loaded.text,
        key=export_flags.key(flag_values),
        asynchronous_workers=_asynchronous_workers(flag_values),
        **job_lib.settings(loaded),
    )


def check_settings(loaded: loading.Config, num_students: int) -> job_lib.Job:
    """Refuses settings that no data could make a run of.

    Returns:
        The first student, without folders.
    """
    nowhere = pathlib.Path()
    job = job_lib.Job(
        data_dir=nowhere,
        run_dir=nowhere,
        shared_dir=nowhere,
        student=0,
        num_students=num_students,
        config_text=loaded.text,
        **job_lib.settings(loaded),
    )
    job_lib.check_peers(job)
    return job


def _asynchronous_workers(flag_values: flags.FlagValues) -> int:
    """Returns how many workers make updates of their own; 0: all make each together.

    Raises:
        UsageError: TF_CONFIG is that of another strategy.
    """
    strategy = flag_values.strategy
    is_asynchronous = strategy == "parameter_server"
    if not tf_config.is_set():
        return flag_values.workers_per_student if is_asynchronous else 0
    workers = tf_config.own_task().asynchronous_workers
    if bool(workers) != is_asynchronous:
        found = "parameter servers" if workers else "no parameter servers ('ps')"
        raise errors.UsageError(
            f"TF_CONFIG has {found}, and --strategy={strategy}. Give the other "
            "strategy, or the TF_CONFIG of this one."
        )
    return workers


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


def _try_offline_teachers(jobs: Sequence[job_lib.Job]) -> None:
    """Lets the teachers of OFFLINE_EXPORTS predict, as each student will.

    Raises:
        SnapshotError: one cannot teach.
    """
    tf_environment.start()
    import tensorflow as tf

    from lmcodistill.training.hooks import reload

    tf.config.set_visible_devices([], "GPU")  # A run that trains there keeps them.
    for job in jobs:
        loader = reload.Loader(job, job_lib.open_inputs(job))
        for path in job.distillation.offline_exports:
            loader.of_path(path)


def check_task(flag_values: flags.FlagValues) -> cluster_spec.Task:
    """Checks what TF_CONFIG says; returns this worker's place."""
    task = tf_config.own_task()
    warning = tf_config.check_addresses(task, flag_values.allow_public_addresses)
    tf_config.check_port(task)
    if warning:
        print(f"lmcodistill train: {warning}", file=sys.stderr)
    return task


def dry_run(planned: PlannedRun) -> None:
    """Checks everything that can be checked without training, and says so."""
    summaries = planned.check()
    if planned.jobs[0].distillation.offline_exports:
        _try_offline_teachers(planned.jobs)
    if planned.flag_values.json:
        print(json.dumps({"students": summaries, "config": planned.config_text}))
        return
    print(planned.config_text, end="")
    for summary in summaries:
        print("\n" + "\n".join(f"{name}: {value}" for name, value in summary.items()))
    print("\nEverything that can be checked without training is in order.")
