"""Trains and scores the runs of a comparison, each once.

A run is a `lmcodistill train` and a `lmcodistill evaluate`, in processes of
their own. A run that ended has left `outcome.json`; one that was stopped goes on
from its checkpoints. Where a run was begun with other settings, nothing is
mixed: the user is told.
"""

import abc
import dataclasses
import json
import pathlib
import shlex
import signal
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Generic, TypeVar

from lmcodistill import errors
from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import processes, text_parts
from lmcodistill.storage import files, layout, progress_file

_Outcome = TypeVar("_Outcome")


@dataclasses.dataclass(frozen=True)
class ComparisonSettings:
    """What all runs of a comparison share.

    Attributes:
        root: Folder of the comparison.
        data_dir: The data folder.
        gin_files: As given.
        bindings: `NAME=VALUE`, as given.
        workers_per_student: Processes of each student.
        streams: Streams that the held-out text is scored in.
        window: Tokens of a stream read at once.
        seed: Of the weights of the first repetition, as given.
        order_seed: Of its order of text, as given.
        part: What of the validation text scores the arms; None: all of it.
        folders: A folder within an arm's, by its name, where settings of it were
            chosen by a tuning.
    """

    root: pathlib.Path
    data_dir: pathlib.Path
    gin_files: tuple[str, ...]
    bindings: tuple[str, ...]
    workers_per_student: int
    streams: int
    window: int
    seed: int = 0
    order_seed: int = 0
    part: text_parts.TextPart | None = None
    folders: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def run_of(self, arm: str, seed: int) -> layout.RunLayout:
        folder = self.root / "runs" / arm / self.folders.get(arm, "")
        return layout.RunLayout(folder / f"seed-{seed}" / "run")


class TrainRun(abc.ABC, Generic[_Outcome]):
    """A `lmcodistill train` that is made once.

    Attributes:
        arm: Whose run it is.
        seed: Which repetition, from 0.
        name: What people call it.
        processes: How many it has while it trains.
        folder: Where it is.
        work: Updates to make, times processes: for how long it takes.
    """

    def __init__(
        self,
        settings: ComparisonSettings,
        arm: arms_lib.Arm,
        seed: int,
        run: layout.RunLayout,
        *,
        name: str,
        steps: int,
        teachers: layout.RunLayout | None,
        more: arms_lib.Bindings = (),
    ) -> None:
        self._settings, self.arm, self.seed = settings, arm, seed
        self.name, self.folder = name, run.root.parent
        self.processes = arm.students * settings.workers_per_student
        self.work = float(steps * self.processes)
        self._run, self._teachers, self._more = run, teachers, more

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from the others; `after` of those that need it."""
        return self.arm.name, str(self.seed)

    @property
    def after(self) -> tuple[str, ...] | None:
        """The `key` of the run that must have ended before it begins."""
        return None

    @property
    def progress(self) -> float:
        """How much of the training is done, 0.0 to 1.0, by student 0's heartbeat."""
        beat = progress_file.read(self.student(0).progress)
        return beat["step"] / beat["num_train_steps"] if beat else 0.0

    def student(self, number: int) -> layout.StudentLayout:
        return self._run.student(number)

    @abc.abstractmethod
    def outcome(self) -> _Outcome | None:
        """Returns what the run left, or None if it has not ended.

        Raises:
            UsageError: it was made with other commands.
        """

    @abc.abstractmethod
    def make(self, cores: Collection[int]) -> _Outcome:
        """Makes it; goes on where an earlier attempt stopped.

        Args:
            cores: That the processes may run on.

        Raises:
            LmcodistillError: it failed; its own message is in the log that this
                one names.
        """

    @property
    def recipe(self) -> list[str]:
        """`NAME=VALUE` of what makes its way to train, beside the gin files."""
        settings, arm = self._settings, self.arm
        bindings = [*settings.bindings, *(f"{k}={v}" for k, v in arm.bindings)]
        if self._teachers is not None:
            students = map(self._teachers.student, range(arm.num_teachers))
            paths = tuple(str(student.root) for student in students)
            bindings.append(f"Distillation.offline_exports={paths!r}")
        return bindings

    @property
    def bindings(self) -> list[str]:
        """`NAME=VALUE` of every setting beside the gin files."""
        settings, shift = self._settings, arms_lib.SEED_STRIDE * self.seed
        return [
            *self.recipe,
            f"Training.seed={settings.seed + shift + self.arm.seed_offset}",
            f"Batches.order_seed={settings.order_seed + shift}",
            *(f"{name}={value}" for name, value in self._more),
        ]

    @property
    def _train_command(self) -> list[str]:
        settings = self._settings
        return [
            *("lmcodistill", "train", "--students", str(self.arm.students)),
            *self.arm.flags,
            *("--workers_per_student", str(settings.workers_per_student)),
            *("--data_dir", str(settings.data_dir), "--run_dir", str(self._run.root)),
            *(f"--gin_file={path}" for path in settings.gin_files),
            *(f"--gin.{binding}" for binding in self.bindings),
        ]

    def _train(self, cores: Collection[int]) -> tuple[int, float, float]:
        """Trains; returns the exit code, and wall and CPU seconds of all attempts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        spent = self.folder / "spent.json"
        wall, cpu = files.read_json(spent)["seconds"] if spent.exists() else (0.0, 0.0)
        began = time.monotonic()
        code, cpu_seconds, _ = processes.call(
            self._train_command, self.folder / "train.log", cores
        )
        wall, cpu = wall + time.monotonic() - began, cpu + cpu_seconds
        files.write_text(spent, files.to_json({"seconds": [wall, cpu]}))
        return code, round(wall, 2), round(cpu, 2)

    def _check_commands(self, then: Sequence[str], now: Sequence[str]) -> None:
        if then != now:
            raise errors.UsageError(
                f"{self.folder} holds a run of other settings or data. Remove that "
                "folder to make the run anew, or give another --output_dir."
            )

    def _check(self, code: int, command: list[str], log: str) -> None:
        if code == 0:
            return
        if code in (errors.StoppedError.exit_code, -signal.SIGTERM, -signal.SIGINT):
            raise errors.StoppedError(
                f"{self.name} was stopped; the same command goes on from there."
            )
        lines = (self.folder / log).read_text(errors="replace").strip().splitlines()
        raise _KINDS.get(code, errors.LmcodistillError)(
            f"{self.name} ended with code {code}: {lines[-1] if lines else ''} "
            f"(`{shlex.join(command)}`; its log is {self.folder / log})"
        )


@dataclasses.dataclass(frozen=True)
class RunOutcome:
    """The results of a run that ended; `outcome.json` is this as JSON.

    Attributes:
        commands: What was run, for people to run again.
        wall_seconds: Of training, all attempts, process starts included.
        cpu_seconds: The same, of all processes.
        students: What `evaluate` says of each student's last export.
        ensemble: What it says of all together; None for one student.
    """

    commands: list[str]
    wall_seconds: float
    cpu_seconds: float
    students: list[dict[str, Any]]
    ensemble: dict[str, Any] | None


class ArmRun(TrainRun[RunOutcome]):
    """An arm with one seed, trained to its end and scored."""

    def __init__(
        self,
        settings: ComparisonSettings,
        arm: arms_lib.Arm,
        seed: int,
        steps: int = 1,
    ) -> None:
        """Takes the steps of the whole run, to tell how long it takes."""
        teachers = settings.run_of(arm.taught_by, seed) if arm.taught_by else None
        super().__init__(
            *(settings, arm, seed, settings.run_of(arm.name, seed)),
            name=f"{arm.name}, seed {seed}",
            steps=steps,
            teachers=teachers,
            more=settings.part.bindings if settings.part else (),
        )

    @property
    def after(self) -> tuple[str, ...] | None:
        return (self.arm.taught_by, str(self.seed)) if self.arm.taught_by else None

    def outcome(self) -> RunOutcome | None:
        path = self.folder / "outcome.json"
        if not path.exists():
            return None
        outcome = RunOutcome(**files.read_json(path))
        self._check_commands(outcome.commands, [shlex.join(c) for c in self._commands])
        return outcome

    def make(self, cores: Collection[int]) -> RunOutcome:
        train, evaluate = self._commands
        code, wall, cpu = self._train(cores)
        self._check(code, train, "train.log")
        code, _, output = processes.call(evaluate, self.folder / "evaluate.log", cores)
        self._check(code, evaluate, "evaluate.log")
        results = json.loads(output)["results"]
        outcome = RunOutcome(
            commands=[shlex.join(train), shlex.join(evaluate)],
            wall_seconds=wall,
            cpu_seconds=cpu,
            students=results[: self.arm.students],
            ensemble=results[-1] if self.arm.students > 1 else None,
        )
        text = files.to_json(dataclasses.asdict(outcome))
        files.write_text(self.folder / "outcome.json", text)
        return outcome

    @property
    def _commands(self) -> tuple[list[str], list[str]]:
        settings, arm = self._settings, self.arm
        evaluate = [
            *("lmcodistill", "evaluate", "--data_dir", str(settings.data_dir)),
            *("--json", "--lanes", str(settings.streams)),
            *("--window", str(settings.window)),
            *(f"--export={self.student(i).root}" for i in range(arm.students)),
        ]
        if settings.part:
            evaluate.append(f"--first_token={settings.part.first_token}")
        return self._train_command, evaluate


_KINDS = {
    kind.exit_code: kind
    for kind in (
        errors.UsageError,
        errors.DataError,
        errors.SnapshotError,
        errors.DivergedError,
    )
}
