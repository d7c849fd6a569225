"""A run on a cluster: what is the same whatever starts it."""

import dataclasses
import re

from lmcodistill import errors

# Between the signal and the end: a step, a save, and the other workers.
STOP_SECONDS = 180
# A mistake, as each of these codes means, is not cured by starting again.
MISTAKES = tuple(
    kind.exit_code
    for kind in (
        *(errors.UsageError, errors.DataError),
        *(errors.SnapshotError, errors.DivergedError),
    )
)
# After these the same command goes on from the last checkpoint.
AGAIN = (errors.GroupLostError.exit_code, errors.StoppedError.exit_code)

# What is left of the 63 characters of a host's name is its student and worker.
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_TIME = re.compile(r"(?:(\d{1,3})-)?(\d{1,3}):([0-5]\d):([0-5]\d)")


@dataclasses.dataclass(frozen=True)
class ClusterRun:
    """What is to be started.

    Attributes:
        name: Of the run, among others on the cluster.
        students: Students in the run.
        workers: Workers of each student, one on each node or pod.
        data_dir: The data folder; None where whoever starts the run names it.
        run_dir: The run's folder; the same.
        shared_dir: Where students meet, if not in the run's folder.
        train_flags: What `train` is given beside its student and the folders.
        cpus: Cores of a worker; 0 leaves it to the cluster, as with the next two.
        gpus: GPUs of a worker.
        memory_gib: Memory of a worker.
        time_limit_seconds: How long it may take; None leaves it to the cluster.
    """

    name: str
    students: int
    workers: int
    data_dir: str | None = None
    run_dir: str | None = None
    shared_dir: str | None = None
    train_flags: tuple[str, ...] = ()
    cpus: int = 0
    gpus: int = 0
    memory_gib: int = 0
    time_limit_seconds: int | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise errors.UsageError(
                f"--name={self.name} cannot name a job. Expected at most 40 small "
                "letters, digits and hyphens, a letter first and no hyphen last."
            )
        for word in (*self.words(), self.data_dir or "", self.run_dir or ""):
            if not word.isprintable():
                raise errors.UsageError(
                    f"{word!r} has a character that cannot be printed, and would not "
                    "reach the cluster as it is. Give a name without it."
                )

    def words(self) -> list[str]:
        """Returns the flags of `train`, but for its student and these two folders."""
        return [
            f"--students={self.students}",
            *([f"--shared_dir={self.shared_dir}"] if self.shared_dir else []),
            *self.train_flags,
        ]


def seconds_of(time_limit: str) -> int:
    """Returns a time limit, D-HH:MM:SS or HH:MM:SS, in seconds.

    Raises:
        UsageError: it is none, or leaves no time to train.
    """
    match = _TIME.fullmatch(time_limit)
    if not match:
        raise errors.UsageError(
            f"--time_limit={time_limit} is no time. Expected HH:MM:SS or D-HH:MM:SS, "
            "such as 12:00:00 or 2-00:00:00."
        )
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if total <= 2 * STOP_SECONDS:
        raise errors.UsageError(
            f"--time_limit={time_limit} leaves no time to train: the last "
            f"{STOP_SECONDS} s are kept for saving. Give more than "
            f"{2 * STOP_SECONDS // 60} minutes."
        )
    return total
