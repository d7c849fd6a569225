"""Trains and scores the runs of a comparison, each once.

A run is a `lmcodistill train` and a `lmcodistill evaluate`, in processes of
their own. A run that ended has left `outcome.json`; one that was stopped goes on
from its checkpoints. Where a run was begun with other settings, nothing is
mixed: the user is told.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from typing import Any

from lmcodistill import errors
from lmcodistill.experiments import arms as arms_lib
from lmcodistill.storage import files, layout, progress_file
from lmcodistill.supervision import lifeline


@dataclasses.dataclass(frozen=True)
class Plan:
    """What all runs of a comparison share.

    Attributes:
        root: Folder of the comparison.
        data_dir: The data folder.
        gin_files: As given.
        bindings: `NAME=VALUE`, as given.
        workers_per_student: Processes of each student.
        streams: Streams that the held-out text is scored in.
        window: Tokens of a stream read at once.
    """

    root: pathlib.Path
    data_dir: pathlib.Path
    gin_files: tuple[str, ...]
    bindings: tuple[str, ...]
    workers_per_student: int
    streams: int
    window: int


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run left.

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


class Run:
    """One run: an arm with one seed.

    Attributes:
        arm: Whose run it is.
        seed: Which repetition, from 0.
        folder: Where it is.
    """

    def __init__(self, plan: Plan, arm: arms_lib.Arm, seed: int):
        self._plan, self.arm, self.seed = plan, arm, seed
        self.folder = _folder(plan, arm.name, seed)

    def student(self, number: int) -> layout.StudentLayout:
        """Returns where a student of the run is."""
        return layout.RunLayout(self.folder / "run").student(number)

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.arm.name}, seed {self.seed}"

    @property
    def processes(self) -> int:
        """How many it has while it trains."""
        return self.arm.students * self._plan.workers_per_student

    @property
    def progress(self) -> float:
        """How much of the training is done, 0.0 to 1.0, by what student 0 says."""
        found = progress_file.read(self.student(0).progress)
        return found["step"] / found["num_train_steps"] if found else 0.0

    def outcome(self) -> Outcome | None:
        """Returns what the run left, or None if it has not ended.

        Raises:
            UsageError: it was made with other commands.
        """
        path = self.folder / "outcome.json"
        if not path.exists():
            return None
        found = Outcome(**files.read_json(path))
        if found.commands != [shlex.join(c) for c in self._commands()]:
            raise errors.UsageError(
                f"{self.folder} holds a run of other settings or data. Remove that "
                "folder to make the run anew, or give another --output_dir."
            )
        return found

    def make(self, cores: Collection[int]) -> Outcome:
        """Trains and scores; goes on where an earlier attempt stopped.

        Args:
            cores: That the processes may run on, for the calling thread as well.

        Raises:
            LmcodistillError: training or scoring failed; its own message is in
                the log that this one names.
        """
        # On Linux a thread's own; what it starts inherits it.
        os.sched_setaffinity(0, cores)
        self.folder.mkdir(parents=True, exist_ok=True)
        train, evaluate = self._commands()
        spent = self.folder / "spent.json"
        wall, cpu = files.read_json(spent)["seconds"] if spent.exists() else (0.0, 0.0)
        began = time.monotonic()
        code, used, _ = _call(train, self.folder / "train.log")
        wall, cpu = wall + time.monotonic() - began, cpu + used
        files.write_text(spent, files.to_json({"seconds": [wall, cpu]}))
        self._check(code, train, "train.log")
        code, _, output = _call(evaluate, self.folder / "evaluate.log")
        self._check(code, evaluate, "evaluate.log")
        results = json.loads(output)["results"]
        outcome = Outcome(
            commands=[shlex.join(train), shlex.join(evaluate)],
            wall_seconds=round(wall, 2),
            cpu_seconds=round(cpu, 2),
            students=results[: self.arm.students],
            ensemble=results[-1] if self.arm.students > 1 else None,
        )
        text = files.to_json(dataclasses.asdict(outcome))
        files.write_text(self.folder / "outcome.json", text)
        return outcome

    @property
    def bindings(self) -> list[str]:
        """`NAME=VALUE` of every setting beside the gin files."""
        plan, arm = self._plan, self.arm
        bindings = [*plan.bindings, *(f"{k}={v}" for k, v in arm.bindings)]
        bindings.append(f"Training.seed={arms_lib.SEED_STRIDE * self.seed}")
        if arm.taught_by:
            teachers = layout.RunLayout(_folder(plan, arm.taught_by, self.seed) / "run")
            paths = tuple(
                str(teachers.student(i).root) for i in range(arm.num_teachers)
            )
            bindings.append(f"Distillation.offline_exports={paths!r}")
        return bindings

    def _commands(self) -> tuple[list[str], list[str]]:
        plan, arm = self._plan, self.arm
        program = ["lmcodistill"]
        train = [
            *(*program, "train", "--students", str(arm.students)),
            *("--workers_per_student", str(plan.workers_per_student)),
            *("--data_dir", str(plan.data_dir), "--run_dir", str(self.folder / "run")),
            *(f"--gin_file={path}" for path in plan.gin_files),
            *(f"--gin.{binding}" for binding in self.bindings),
        ]
        evaluate = [
            *(*program, "evaluate", "--data_dir", str(plan.data_dir), "--json"),
            *("--lanes", str(plan.streams), "--window", str(plan.window)),
            *(f"--export={self.student(i).root}" for i in range(arm.students)),
        ]
        return train, evaluate

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


_KINDS = {
    kind.exit_code: kind
    for kind in (
        errors.UsageError,
        errors.DataError,
        errors.SnapshotError,
        errors.DivergedError,
    )
}


def _folder(plan: Plan, arm: str, seed: int) -> pathlib.Path:
    return plan.root / "runs" / arm / f"seed-{seed}"


def _call(command: Sequence[str], log: pathlib.Path) -> tuple[int, float, str]:
    """Runs a command; returns its exit code, CPU seconds and standard output."""
    # As a module: the same program, wherever this one was found.
    arguments = [sys.executable, "-m", *command]
    # Our end is open as long as we live; training stops when it closes.
    ours, theirs = socket.socketpair()
    with ours, open(log, "ab") as stderr, tempfile.TemporaryFile() as stdout:
        with theirs:
            process = subprocess.Popen(
                arguments,
                stdin=theirs.fileno(),
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, lifeline.VARIABLE: "1"},
            )
        _running.add(process.pid)
        try:
            _, status, used = os.wait4(process.pid, 0)
        finally:
            _running.discard(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        output = stdout.read().decode(errors="replace")
    return process.returncode, used.ru_utime + used.ru_stime, output


_running: set[int] = set()


def stop_all() -> None:
    """Asks every run in progress to save and stop."""
    for pid in list(_running):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
