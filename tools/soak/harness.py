"""What the scenarios of the soak test share: a run to break, and what came of it."""

import dataclasses
import os
import pathlib
import random
import signal
import subprocess
import sys
from typing import Any

from lmcodistill.storage import layout, publication
from tests.support import tiny_run

# A run long enough to be broken on the way; the rest is `tiny_run.TINY`.
LONG: dict[str, Any] = {
    "REPORT_EVERY_STEPS": 10,
    "EVALUATE_EVERY_STEPS": 0,
    "CHECKPOINT_EVERY_STEPS": 20,
    "BURN_IN_STEPS": 5,
    "PUBLISH_EVERY_STEPS": 10,
    "RELOAD_EVERY_STEPS": 10,
    "DELAY_STEPS": 20,
    "LEARNING_RATE": 0.01,
}
_KEPT_FAILURES = 5


@dataclasses.dataclass
class Survival:
    """What a scenario came to.

    Attributes:
        trials: How often the fault was made.
        survived: How often all that was demanded held.
        lost_steps: Most steps lost beyond the last checkpoint in a trial.
        longest_recovery_s: Longest time from a fault to the next new step, seconds.
        notes: What else was seen.
    """

    trials: int = 0
    survived: int = 0
    lost_steps: int = 0
    longest_recovery_s: float = 0.0
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def note(self, held: bool, **why: object) -> None:
        """Counts one trial; keeps the first few that did not hold."""
        self.trials += 1
        self.survived += held
        if not held:
            failures = self.notes.setdefault("failures", [])
            failures += [why] if len(failures) < _KEPT_FAILURES else []

    def recovered(self, seconds: float) -> None:
        """Notes how long the run took to go on."""
        self.longest_recovery_s = round(max(self.longest_recovery_s, seconds), 1)

    def count(self, outcome: str) -> None:
        """Counts an outcome, among the notes."""
        outcomes = self.notes.setdefault("outcomes", {})
        outcomes[outcome] = outcomes.get(outcome, 0) + 1


class TinyRun:
    """One run: its folder, its launcher, its workers."""

    def __init__(
        self,
        data_dir: pathlib.Path,
        run_dir: pathlib.Path,
        *flags: object,
        students: int = 2,
        workers: int = 1,
        **knobs: Any,
    ):
        """Describes a run; nothing is started.

        Args:
            data_dir: What `tiny_run.make_data` returned.
            run_dir: Its folder.
            *flags: More flags of `train`.
            students: How many.
            workers: Processes of each.
            **knobs: Bindings beside `LONG`; `__` stands for a dot.
        """
        self.run_dir, self.students, self.workers = run_dir, students, workers
        self._data_dir, self._flags, self._knobs = data_dir, flags, knobs
        self.launcher: subprocess.Popen[bytes] | None = None

    def start(self, num_train_steps: int, **more: str) -> subprocess.Popen[bytes]:
        """Starts the launcher and returns it."""
        knobs = {**LONG, **self._knobs, "NUM_TRAIN_STEPS": num_train_steps}
        command = [
            *(sys.executable, "-m", "lmcodistill"),
            *tiny_run.train_arguments(
                self._data_dir, self.run_dir, students=self.students, **knobs
            ),
            *("--workers_per_student", self.workers, *self._flags),
        ]
        self.run_dir.mkdir(parents=True, exist_ok=True)
        with open(self.run_dir / "launcher.txt", "ab") as output:
            self.launcher = subprocess.Popen(
                [str(part) for part in command],
                env=tiny_run.environment(**more),
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

    @property
    def has_ended(self) -> bool:
        """Whether the launcher does not run."""
        return self.launcher is None or self.launcher.poll() is not None

    def folder(self, student: int) -> pathlib.Path:
        """Returns a student's folder."""
        return tiny_run.student_of(self.run_dir, student).root

    def step(self, student: int) -> int:
        """Returns the latest step of a student's heartbeat."""
        return tiny_run.heartbeat_of(self.run_dir, student)["step"]

    def pid(self, student: int) -> int:
        """Returns a student's chief; 0 until it knows the step that it goes on from."""
        heartbeat = tiny_run.heartbeat_of(self.run_dir, student)
        return 0 if heartbeat.get("restored_step") is None else heartbeat["pid"]

    def log(self, student: int) -> str:
        """Returns the chief's log."""
        return tiny_run.log_of(self.run_dir, student)

    def reports(self, student: int) -> tiny_run.Reports:
        """Returns a student's training reports so far."""
        return tiny_run.reports_of(self.run_dir, student, "train")

    def result(self, student: int, worker: int = 0) -> dict[str, Any]:
        """Returns how a worker ended; empty where it left nothing."""
        try:
            return tiny_run.result_of(self.run_dir, student, worker)
        except FileNotFoundError:
            return {}

    def processes(self, student: int | None = None) -> list[int]:
        """Returns the process ids of a student's workers, or all of the run."""
        return tiny_run.processes_of(self.run_dir, student)

    def checkpoint_steps(self, student: int) -> list[int]:
        """Returns the steps of the committed checkpoints, oldest first."""
        folder = tiny_run.student_of(self.run_dir, student).checkpoints
        return [c.step for c in publication.committed(folder, layout.CHECKPOINT)]

    def export_steps(self, student: int) -> list[int]:
        """Returns the steps of the committed exports, oldest first."""
        folder = tiny_run.student_of(self.run_dir, student).exports
        return [e.step for e in publication.committed(folder, layout.EXPORT)]

    def litter(self) -> list[str]:
        """Returns what is in the snapshots' folders without being a snapshot."""
        paths = []
        for student in range(self.students):
            for name in ("checkpoints", "exports"):
                folder = self.folder(student) / name
                entries = folder.iterdir() if folder.is_dir() else []
                paths += [str(p) for p in entries if not (p / "COMMITTED").is_file()]
        return paths


class Setup:
    """What a scenario is given.

    Attributes:
        seed: Of all that it draws.
        trials: How often it makes its fault.
        data: What `tiny_run.make_data` returned.
        work: An empty folder.
        rng: Begins with the seed.
    """

    def __init__(self, seed: int, trials: int, data: pathlib.Path, work: pathlib.Path):
        self.seed, self.trials, self.data, self.work = seed, trials, data, work
        self.rng = random.Random(seed)

    def run(self, name: str, *flags: object, **knobs: Any) -> TinyRun:
        """Describes a run in a folder of this name: see `TinyRun`."""
        return TinyRun(self.data, self.work / name, *flags, **knobs)


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """Signals a process; returns False where it is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
