"""The manifests of a run for Kubernetes: an indexed Job for each student.

No shell is in between: commands and variables are lists and strings of YAML, which
reads JSON. Kubernetes itself replaces only $(NAME), and $$ by $.
"""

import dataclasses
import json
import pathlib
import re

import lmcodistill
from lmcodistill import errors
from lmcodistill.launchers import cluster_run, template

_PORT = 2222
_CONFIG_DIR = "/etc/lmcodistill"
_CLAIM = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_MOUNT_DIR = re.compile(r"(/[\w.-]+)+/?")


@dataclasses.dataclass(frozen=True)
class PodStorage:
    """What keeps the folders of a run.

    Attributes:
        claim: The PersistentVolumeClaim, for all pods.
        mount_dir: Where pods see it.
    """

    claim: str
    mount_dir: str

    def __post_init__(self) -> None:
        if not _CLAIM.fullmatch(self.claim):
            raise errors.UsageError(
                f"--claim={self.claim} names no PersistentVolumeClaim; "
                "`kubectl get pvc` lists them."
            )
        if not _MOUNT_DIR.fullmatch(self.mount_dir):
            raise errors.UsageError(
                f"--mount_dir={self.mount_dir} is no place for storage. Give a folder "
                "such as /shared: from the root, but not the root itself."
            )

    def check(self, flag: str, folder: str | None) -> None:
        """Refuses a folder that would go with its pod."""
        path = pathlib.PurePosixPath(folder or "")
        if ".." in path.parts or not path.is_relative_to(self.mount_dir):
            raise errors.UsageError(
                f"--{flag}={folder or ''} is not on the storage of the pods, which "
                f"they see as {self.mount_dir}. Give a folder below it, or another "
                "--mount_dir."
            )


def text(
    run: cluster_run.ClusterRun, config_text: str, image: str, storage: PodStorage
) -> str:
    """Returns the manifests.

    Args:
        run: With both folders.
        config_text: The whole configuration as a gin file.
        image: Of the containers; has `lmcodistill`.
        storage: Has the folders.

    Raises:
        UsageError: a pod could not start, or would write on no storage that stays.
    """
    if not image or not image.isprintable() or " " in image:
        raise errors.UsageError(
            f"--image={image} names no image. `lmcodistill launch docker` makes one."
        )
    storage.check("data_dir", run.data_dir)
    storage.check("run_dir", run.run_dir)
    if run.shared_dir and "://" not in run.shared_dir:
        storage.check("shared_dir", run.shared_dir)
    head = template.render(
        "kubernetes.yaml",
        version=lmcodistill.__version__,
        students=run.students,
        name=run.name,
        config="\n".join(_indented(config_text)),
    )
    return head + "".join(
        template.render(
            "kubernetes_student.yaml",
            student=student,
            name=run.name,
            job=f"{run.name}-{student}",
            labels=_json(
                {
                    "app.kubernetes.io/instance": run.name,
                    "lmcodistill/student": str(student),
                }
            ),
            workers=run.workers,
            deadline=_deadline(run),
            mistakes=_json(cluster_run.MISTAKES),
            again=_json(cluster_run.AGAIN),
            stop_seconds=cluster_run.STOP_SECONDS,
            image=_json(image),
            command=_json([_unexpanded(word) for word in _command(run, student)]),
            tf_config=_json(_tf_config(run, student)),
            port=_PORT,
            resources=_json(_resources(run)),
            config_dir=_CONFIG_DIR,
            mount_dir=_json(storage.mount_dir),
            claim=_json(storage.claim),
        )
        for student in range(run.students)
    )


def _command(run: cluster_run.ClusterRun, student: int) -> list[str]:
    return [
        *("lmcodistill", "train", f"--student={student}"),
        *(f"--data_dir={run.data_dir}", f"--run_dir={run.run_dir}"),
        *(f"--gin_file={_CONFIG_DIR}/config.gin", *run.words()),
    ]


def _tf_config(run: cluster_run.ClusterRun, student: int) -> str:
    job = f"{run.name}-{student}"
    workers = [f"{job}-{index}.{job}:{_PORT}" for index in range(run.workers)]
    cluster = json.dumps({"worker": workers})
    # The index is a number to TF_CONFIG, so it cannot be put in as JSON.
    task = '{"type": "worker", "index": $(JOB_COMPLETION_INDEX)}'
    return f'{{"cluster": {cluster}, "task": {task}}}'


def _deadline(run: cluster_run.ClusterRun) -> str:
    if run.time_limit_seconds is None:
        return ""
    return f"  activeDeadlineSeconds: {run.time_limit_seconds}\n"


def _resources(run: cluster_run.ClusterRun) -> dict[str, dict[str, str]]:
    requests, limits = {}, {}
    if run.cpus:
        requests["cpu"] = str(run.cpus)
    if run.memory_gib:
        requests["memory"] = limits["memory"] = f"{run.memory_gib}Gi"
    if run.gpus:
        limits["nvidia.com/gpu"] = str(run.gpus)
    return {"requests": requests, "limits": limits}


def _indented(config: str) -> list[str]:
    """Returns the lines of a gin file as those of a block of YAML."""
    return [f"    {errors.printable(line)}".rstrip() for line in config.split("\n")]


def _unexpanded(word: str) -> str:
    return word.replace("$", "$$")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
