"""Real tiny runs for the soak test: start them, look at them, break them.

A run here is the real program with real processes and a model of a few thousand
weights, so that what is paid for is starting and stopping, not arithmetic.
"""

import dataclasses
import json
import os
import pathlib
import pydoc_data.topics
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = {
    "GLOBAL_BATCH_SIZE": 4,
    "WINDOW": 8,
    "REPORT_EVERY_STEPS": 10,
    "EVALUATE_EVERY_STEPS": 0,
    "CHECKPOINT_EVERY_STEPS": 20,
    "BURN_IN_STEPS": 5,
    "PUBLISH_EVERY_STEPS": 10,
    "RELOAD_EVERY_STEPS": 10,
    "EXCHANGE_MODE": "scheduled",
    "DELAY_STEPS": 20,
    "LEARNING_RATE": 0.01,
    "Training.evaluation_lanes": 4,
    "LanguageModel.num_layers": 1,
    "LanguageModel.hidden_size": 16,
    "LanguageModel.embedding_size": 8,
}


@dataclasses.dataclass
class Row:
    """What one row of the fault list came to.

    Attributes:
        row: Its name, such as `R1`.
        trials: How often the fault was made.
        survived: How often all that was demanded held.
        lost_steps: Most steps lost beyond the last checkpoint in a trial.
        longest_recovery_s: Longest time from a fault to the next new step.
        notes: What else was seen.
    """

    row: str
    trials: int = 0
    survived: int = 0
    lost_steps: int = 0
    longest_recovery_s: float = 0.0
    notes: dict = dataclasses.field(default_factory=dict)

    def note(self, held: bool, **why: object) -> None:
        """Counts one trial; keeps the first few that did not hold."""
        self.trials += 1
        self.survived += held
        if not held:
            self.notes.setdefault("failures", [])
            if len(self.notes["failures"]) < 5:
                self.notes["failures"].append(why)


def environment(**more: str) -> dict[str, str]:
    """Returns the environment of a child that finds this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def run_command(*arguments: object, **more: str) -> subprocess.CompletedProcess:
    """Runs `lmcodistill ARGUMENTS...` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "lmcodistill", *map(str, arguments)],
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )


def make_data(folder: pathlib.Path) -> pathlib.Path:
    """Returns two partitions of the language reference that Python carries."""
    shards = folder / "shards"
    if shards.is_dir():
        return shards
    source = folder / "topics.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    with open(source, "w", encoding="utf-8") as file:
        for name, text in sorted(pydoc_data.topics.topics.items()):
            file.write(json.dumps({"id": name, "text": text}) + "\n")
    done = run_command(
        *("prep", "--gin_file", "prep/quickstart", "--input", source),
        *("--output_dir", shards, "--gin.VOCAB_SIZE=400"),
        *("--gin.VALIDATION_FRACTION=0.1", "--num_workers", "1"),
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return shards


class TinyRun:
    """One run: its folder, its launcher, its workers."""

    def __init__(
        self,
        data_dir: pathlib.Path,
        run_dir: pathlib.Path,
        *flags: object,
        students: int = 2,
        workers: int = 1,
        **knobs: object,
    ):
        """Describes a run; nothing is started.

        Args:
            data_dir: What `make_data` returned.
            run_dir: Its folder.
            *flags: More flags of `train`.
            students: How many.
            workers: Processes of each.
            **knobs: Bindings beside `TINY`; `__` stands for a dot.
        """
        self.run_dir, self.students, self.workers = run_dir, students, workers
        self._data_dir, self._flags, self._knobs = data_dir, flags, knobs
        self.launcher: subprocess.Popen | None = None

    def start(self, num_train_steps: int, **more: str) -> subprocess.Popen:
        """Starts the launcher and returns it."""
        knobs = {**TINY, "NUM_TRAIN_STEPS": num_train_steps}
        knobs |= {name.replace("__", "."): v for name, v in self._knobs.items()}
        command = [
            *(sys.executable, "-m", "lmcodistill", "train"),
            *("--data_dir", self._data_dir, "--run_dir", self.run_dir),
            *("--students", self.students, "--workers_per_student", self.workers),
            *(f"--gin.{name}={value}" for name, value in knobs.items()),
            *self._flags,
        ]
        self.run_dir.mkdir(parents=True, exist_ok=True)
        with open(self.run_dir / "launcher.txt", "ab") as output:
            self.launcher = subprocess.Popen(
                [str(part) for part in command],
                env=environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self.launcher

    def finish(self, num_train_steps: int, **more: str) -> int:
        """Runs to the end; returns the exit code."""
        return self.start(num_train_steps, **more).wait()

    def stop(self, number: int = signal.SIGINT, seconds: float = 120.0) -> int | None:
        """Asks the launcher to stop; returns its exit code, None where it did not."""
        if self.launcher is None:
            return None
        self.launcher.send_signal(number)
        try:
            return self.launcher.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def folder(self, student: int) -> pathlib.Path:
        """Returns a student's folder."""
        return self.run_dir / "students" / str(student)

    def step(self, student: int) -> int:
        """Returns the latest step of a student's heartbeat."""
        try:
            return json.loads((self.folder(student) / "progress.json").read_text())[
                "step"
            ]
        except (OSError, ValueError):
            return 0

    def log(self, student: int, worker: int = 0) -> str:
        """Returns a worker's log."""
        name = "log.txt" if worker == 0 else f"log-worker-{worker}.txt"
        path = self.folder(student) / name
        return path.read_text(errors="replace") if path.is_file() else ""

    def weights(self, student: int, worker: int = 0) -> str:
        """Returns the digest of the weights that a worker ended with."""
        ends = [x for x in self.log(student, worker).splitlines() if "event=ended" in x]
        return ends[-1].rpartition("weights=")[2] if ends else ""

    def processes(self, student: int | None = None) -> list[int]:
        """Returns the workers' process ids, of one student or of all."""
        return sorted(
            pid for pid, own in _workers_of(self.run_dir) if student in (None, own)
        )

    def outlived(self) -> list[int]:
        """Returns the processes of this run that there should be none of."""
        return [pid for pid, _ in _workers_of(self.run_dir)]

    def checkpoint_steps(self, student: int) -> list[int]:
        """Returns the steps of the committed checkpoints, ascending."""
        return _steps(self.folder(student) / "checkpoints", "ckpt")

    def export_steps(self, student: int) -> list[int]:
        """Returns the steps of the committed exports, ascending."""
        return _steps(self.folder(student) / "exports", "export")

    def litter(self) -> list[str]:
        """Returns what is in the snapshots' folders without being a snapshot."""
        found = []
        for student in range(self.students):
            for name in ("checkpoints", "exports"):
                folder = self.folder(student) / name
                entries = folder.iterdir() if folder.is_dir() else []
                found += [str(p) for p in entries if not (p / "COMMITTED").is_file()]
        return found


def _steps(folder: pathlib.Path, prefix: str) -> list[int]:
    markers = folder.glob(f"{prefix}-*/COMMITTED")
    return sorted(int(path.parent.name.split("-")[1]) for path in markers)


def _workers_of(run_dir: pathlib.Path) -> Iterator[tuple[int, int]]:
    """Yields (process id, student) of a run's workers."""
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if str(run_dir) in words and "--student" in words:
            yield int(entry.name), int(words[words.index("--student") + 1])


def wait_until(
    condition: Callable[..., object], seconds: float, *arguments: object
) -> bool:
    """Polls until `condition(*arguments)`; returns False at the deadline."""
    give_up = time.monotonic() + seconds
    while not condition(*arguments):
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """Signals a process; returns False where it is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
