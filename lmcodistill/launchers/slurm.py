"""The batch script of a run for Slurm: an array, one element per student."""

import shlex

import lmcodistill
from lmcodistill import errors
from lmcodistill.launchers import cluster_run, template

# Then a student whose workers are lost again and again is given up.
_MAX_REQUEUES = 50


def text(run: cluster_run.ClusterRun) -> str:
    """Returns the script; it refuses to start without folders that nobody named."""
    return template.render(
        "slurm.sh",
        version=lmcodistill.__version__,
        name=run.name,
        last_student=run.students - 1,
        workers=run.workers,
        resources="".join(f"#SBATCH {option}\n" for option in _resources(run)),
        stop_seconds=cluster_run.STOP_SECONDS,
        data_dir=_folder(run.data_dir, "DATA", "the data folder"),
        run_dir=_folder(run.run_dir, "RUN", "the folder of the run"),
        flags="\n  ".join(map(shlex.quote, run.words())),
        stopped=errors.StoppedError.exit_code,
        lost=errors.GroupLostError.exit_code,
        max_requeues=_MAX_REQUEUES,
    )


def _resources(run: cluster_run.ClusterRun) -> list[str]:
    """Returns the options of sbatch for what was asked for."""
    options = []
    if run.cpus:
        options.append(f"--cpus-per-task={run.cpus}")
    if run.gpus:
        options.append(f"--gpus-per-node={run.gpus}")
    if run.memory_gib:
        options.append(f"--mem={run.memory_gib}G")
    if run.time_limit_seconds is not None:
        minutes, seconds = divmod(run.time_limit_seconds, 60)
        options.append(f"--time={minutes}:{seconds:02}")
    return options


def _folder(path: str | None, variable: str, meaning: str) -> str:
    if path is not None:
        return shlex.quote(path)
    return f'"${{{variable}:?Set it to {meaning}: {variable}=FOLDER sbatch FILE}}"'
