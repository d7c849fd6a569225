r"""Write the file that starts a run on a cluster, or makes an image for one.

TARGET is slurm (a batch script), kubernetes (manifests) or docker (a
Dockerfile). What belongs to `train` is checked here and now; the data are
looked at where the run starts. With Slurm, --data_dir and --run_dir may be left
out: then DATA and RUN are to be set when the script is submitted.

Examples:
  lmcodistill launch slurm --students 2 --workers_per_student 4 \
    --gpus_per_worker 1 --time_limit 12:00:00 --gin_file runs/paper_codistill \
    --data_dir /shared/data --run_dir /shared/run --print > run.sbatch
  sbatch run.sbatch
  lmcodistill launch docker --output_dir image
  lmcodistill launch kubernetes --gin_file runs/paper_codistill --image IMAGE \
    --claim shared --data_dir /shared/data --run_dir /shared/run --print
"""

import json
import pathlib
import shlex

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags, run_flags
from lmcodistill.config import shipped
from lmcodistill.launchers import cluster_run, docker, kubernetes, slurm
from lmcodistill.storage import places

ARGUMENTS = "TARGET"

# The file of each target, and what starts it.
_FILES = {
    "slurm": ("lmcodistill.sbatch", "sbatch {}"),
    "kubernetes": ("lmcodistill.yaml", "kubectl apply -f {}"),
    "docker": ("Dockerfile", "docker build --tag lmcodistill --file {} dist"),
}
_ONLY_KUBERNETES = ("image", "claim", "mount_dir")
# Flags that `train` gets as they were given here.
GIVEN_ON = (
    *("allow_public_addresses", "export_key_file", "frozen_seconds"),
    *("hang_seconds", "log", "max_restarts", "start_deadline_seconds"),
)


def define_flags(define: command_flags.Definer) -> None:
    """Defines what the run is, what its workers need, and where the file goes."""
    run_flags.define_flags(define)
    define.path("output_dir", "Write the file into this folder.")
    define.bool("print", False, "Print the file instead of saying what to do.")
    define.heading("The cluster")
    define.string("name", "codistill", "What the cluster calls the run.")
    define.string("time_limit", None, "How long it may take, D-HH:MM:SS or HH:MM:SS.")
    define.integer("cpus_per_worker", 0, "Cores; 0: as the cluster has it.", 0)
    define.integer("gpus_per_worker", 0, "GPUs; for docker: with CUDA if any.", 0)
    define.integer("memory_gib_per_worker", 0, "GiB; 0: as the cluster has it.", 0)
    define.string("image", "", "Kubernetes: the image of the workers.")
    define.string("claim", "", "Kubernetes: the PersistentVolumeClaim of all pods.")
    define.string("mount_dir", "/shared", "Kubernetes: where pods see that storage.")
    run_flags.define_supervision(define)


def run(flag_values: flags.FlagValues, arguments: list[str]) -> None:
    """Prints the file, writes it, or says how to get it and what to do with it."""
    target = _target(flag_values, arguments)
    name, start = _FILES[target]
    text = _text(flag_values, target)
    path = (flag_values.output_dir or pathlib.Path()) / name
    if flag_values.output_dir is not None:
        _write(path, text)
    if flag_values.json:
        print(json.dumps({"file": name, "text": text}))
    elif flag_values.print:
        print(text, end="")
    elif flag_values.output_dir is not None:
        words = shlex.quote(str(path))
        print(f"Wrote {path}. Look it over, then:\n  {start.format(words)}")
    else:
        print(
            f"The flags are in order. For the file, add --print > {name} or "
            f"--output_dir FOLDER to the same command. Look it over, then:\n"
            f"  {start.format(name)}"
        )


def _target(flag_values: flags.FlagValues, arguments: list[str]) -> str:
    if len(arguments) != 1 or arguments[0] not in _FILES:
        word = arguments[0] if arguments else ""
        raise errors.UsageError(
            f"found {' '.join(arguments) or 'no target'}"
            f"{shipped.did_you_mean(word, list(_FILES))}, expected one of "
            f"{', '.join(_FILES)}, as in `lmcodistill launch slurm --print`."
        )
    for flag in _ONLY_KUBERNETES:
        if arguments[0] != "kubernetes" and flag_values[flag].present:
            raise errors.UsageError(
                f"--{flag} is for kubernetes and says nothing to {arguments[0]}; "
                "leave it out."
            )
    return arguments[0]


def _text(flag_values: flags.FlagValues, target: str) -> str:
    if target == "docker":
        return docker.text(flag_values.gpus_per_worker)
    config_text = _checked(flag_values)
    if target == "slurm":
        return slurm.text(_described(flag_values, _gin_flags(flag_values)))
    run = _described(flag_values, [])
    storage = kubernetes.PodStorage(flag_values.claim, flag_values.mount_dir)
    return kubernetes.text(run, config_text, flag_values.image, storage)


def _checked(flag_values: flags.FlagValues) -> str:
    """Returns the configuration as gin text; refuses what is wrong without a folder."""
    # A mistake among the flags is found without NumPy.
    from lmcodistill.commands import run_checks
    from lmcodistill.training import job as job_lib

    loaded = job_lib.load(flag_values.gin_file, flag_values.gin_bindings)
    job = run_checks.check_settings(loaded, flag_values.students)
    run_flags.check_shared(job.batches, flag_values.workers_per_student)
    return loaded.text


def _described(
    flag_values: flags.FlagValues, gin_flags: list[str]
) -> cluster_run.ClusterRun:
    limit = flag_values.time_limit
    given = [flag_values[name] for name in GIVEN_ON if flag_values[name].present]
    return cluster_run.ClusterRun(
        name=flag_values.name,
        students=flag_values.students,
        workers=flag_values.workers_per_student,
        data_dir=_text_of(flag_values.data_dir),
        run_dir=_text_of(flag_values.run_dir),
        shared_dir=_text_of(flag_values.shared_dir),
        train_flags=(*gin_flags, *(flag.serialize() for flag in given)),
        cpus=flag_values.cpus_per_worker,
        gpus=flag_values.gpus_per_worker,
        memory_gib=flag_values.memory_gib_per_worker,
        time_limit_seconds=cluster_run.seconds_of(limit) if limit else None,
    )


def _gin_flags(flag_values: flags.FlagValues) -> list[str]:
    """Returns the configuration as flags that mean the same in any folder."""
    files = [
        name if shipped.find(name) else str(pathlib.Path(name).resolve())
        for name in flag_values.gin_file
    ]
    return [
        *(f"--gin_file={name}" for name in files),
        *(f"--gin.{binding}" for binding in flag_values.gin_bindings),
    ]


def _text_of(place: places.Place | None) -> str | None:
    return None if place is None else str(place)


def _write(path: pathlib.Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            raise errors.UsageError(
                f"{path} exists and is not overwritten. Remove it, or give another "
                "--output_dir."
            ) from None
        raise errors.UsageError(
            f"{path} cannot be written ({error.strerror}). Give a folder that can."
        ) from error
