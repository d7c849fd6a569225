"""Where everything lives on disk: the two folders DATA and RUN.

Pure path arithmetic. Nothing here reads or writes; nothing elsewhere spells a
file name of these folders.
"""

import dataclasses
import pathlib

# Prefixes of the folders that snapshots are published in.
EXPORT = "export"
CHECKPOINT = "ckpt"


@dataclasses.dataclass(frozen=True)
class DataLayout:
    """What `lmcodistill prep` leaves behind in `root`."""

    root: pathlib.Path

    @property
    def manifest(self) -> pathlib.Path:
        return self.root / "manifest.json"

    @property
    def vocabulary(self) -> pathlib.Path:
        return self.root / "vocabulary.model"

    @property
    def report_json(self) -> pathlib.Path:
        return self.root / "report.json"

    @property
    def report_html(self) -> pathlib.Path:
        return self.root / "report.html"

    @staticmethod
    def train_name(partition: int, num_partitions: int) -> str:
        """Returns the folder name of one student's slice of the training text."""
        return f"train-{partition:05d}-of-{num_partitions:05d}"

    @staticmethod
    def shard_name(index: int) -> str:
        """Returns the file name of the `index`-th shard of a split."""
        return f"shard-{index:05d}.tokens"


@dataclasses.dataclass(frozen=True)
class StudentLayout:
    """One student's folder inside a run; only its own chief writes here."""

    root: pathlib.Path

    @property
    def config(self) -> pathlib.Path:
        return self.root / "config.gin"

    @property
    def metrics(self) -> pathlib.Path:
        return self.root / "metrics.jsonl"

    @property
    def progress(self) -> pathlib.Path:
        return self.root / "progress.json"

    @property
    def events(self) -> pathlib.Path:
        return self.root / "events"

    def log(self, worker: int) -> pathlib.Path:
        """Returns the log file of one worker of the student; 0 is the chief."""
        return self.root / ("log.txt" if worker == 0 else f"log-worker-{worker}.txt")

    @property
    def checkpoints(self) -> pathlib.Path:
        return self.root / "checkpoints"

    @property
    def exports(self) -> pathlib.Path:
        return self.root / "exports"


@dataclasses.dataclass(frozen=True)
class RunLayout:
    """A whole run: the students of one codistillation, side by side."""

    root: pathlib.Path

    @property
    def config(self) -> pathlib.Path:
        return self.root / "config.gin"

    def student(self, index: int) -> StudentLayout:
        return StudentLayout(self.root / "students" / str(index))

    def students(self) -> list[int]:
        """Returns the indices of the students whose folders exist, ascending."""
        folder = self.root / "students"
        if not folder.is_dir():
            return []
        return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())
