"""Paths of all files: in the folders DATA and RUN, and in the place SHARED.

What peers and successors read (exports, checkpoints, leases) is in SHARED, which
may be an object store and is RUN unless said otherwise; what is appended to
(metrics, events, logs) is in RUN. Pure path arithmetic: nothing here reads or
writes, and nothing elsewhere spells a file name of these places.
"""

import pathlib

from lmcodistill.storage import places

# Prefixes of the folders that snapshots are published in.
EXPORT = "export"
CHECKPOINT = "ckpt"


class DataLayout:
    """What `lmcodistill prep` leaves behind in `root`."""

    # In a data folder on an object store as well.
    MANIFEST, REPORT = "manifest.json", "report.json"

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.manifest = root / self.MANIFEST
        self.vocabulary = root / "vocabulary.model"
        self.report_json = root / self.REPORT
        self.report_html = root / "report.html"

    @staticmethod
    def train_name(partition: int, num_partitions: int) -> str:
        """Returns the folder name of one student's slice of the training text."""
        return f"train-{partition:05d}-of-{num_partitions:05d}"

    @staticmethod
    def shard_name(index: int) -> str:
        """Returns the file name of the `index`-th shard of a split."""
        return f"shard-{index:05d}.tokens"


class StudentLayout:
    """One student's folder inside a run; only its own chief writes here.

    Attributes:
        root: Its folder in RUN.
        shared: Its folder in SHARED, which peers read.
    """

    def __init__(self, root: pathlib.Path, shared: places.Place) -> None:
        self.root, self.shared = root, shared
        self.config = root / "config.gin"
        self.metrics = root / "metrics.jsonl"
        self.progress = root / "progress.json"
        self.events = root / "events"
        self.checkpoint_now = root / "checkpoint_now"
        self.export_now = root / "export_now"
        self.checkpoints = shared / "checkpoints"
        self.exports = shared / "exports"
        self.leases = shared / "leases"

    def log(self, worker: int) -> pathlib.Path:
        """Returns the log file of one worker of the student; 0 is the chief."""
        return self.root / ("log.txt" if worker == 0 else f"log-worker-{worker}.txt")

    def logs(self) -> list[pathlib.Path]:
        """Returns those of `log` that exist, the chief's first."""
        others = sorted(self.root.glob("log-worker-*.txt"))
        return [p for p in (self.log(0), *others) if p.is_file()]

    def worker_progress(self, worker: int) -> pathlib.Path:
        """Returns how far one worker is (`progress_file.Heartbeat`)."""
        name = f"progress-worker-{worker}.json"
        return self.root / name if worker else self.progress

    def result(self, worker: int) -> pathlib.Path:
        """Returns what one worker leaves at its end (`progress_file.write_result`)."""
        name = "result.json" if worker == 0 else f"result-worker-{worker}.json"
        return self.root / name

    def supervisor(self, worker: int) -> pathlib.Path:
        """Returns what the supervisor of one worker did, where each has its own."""
        return self.root / f"supervisor-worker-{worker}.jsonl"

    def supervisors(self) -> list[pathlib.Path]:
        """Returns those of `supervisor` that exist."""
        return sorted(self.root.glob("supervisor-worker-*.jsonl"))

    def tracked(self, service: str) -> pathlib.Path:
        """Returns what a tracking service knows the student by."""
        return self.root / f"{service}.txt"

    def all_progress(self) -> list[pathlib.Path]:
        """Returns those of `worker_progress` that exist, the chief's first."""
        others = sorted(self.root.glob("progress-worker-*.json"))
        return [p for p in (self.progress, *others) if p.is_file()]

    def supervised_config(self, worker: int) -> pathlib.Path:
        """Returns the configuration that such a supervisor starts its worker with."""
        return self.supervisor(worker).with_suffix(".gin")


class RunLayout:
    """A whole run: the students of one codistillation, side by side.

    Attributes:
        root: RUN.
    """

    def __init__(self, root: pathlib.Path, shared: places.Place | None = None) -> None:
        """Lays out a run in RUN and in SHARED; None where that is RUN."""
        self.root, self._shared = root, shared or root
        self.config = root / "config.gin"
        self.supervisor = root / "supervisor.jsonl"
        self.page = root / "report.html"
        self.checkpoint_now = root / "checkpoint_now"
        self.export_now = root / "export_now"

    def student(self, index: int) -> StudentLayout:
        folder = f"students/{index}"
        return StudentLayout(self.root / folder, self._shared / folder)

    def students(self) -> list[int]:
        """Returns the indices of the students whose folders exist, ascending."""
        folder = self.root / "students"
        if not folder.is_dir():
            return []
        return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())
