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

    def run_of(self, arm: str, seed: int) -> layout.RunLayout:
        return layout.RunLayout(self.root / "runs" / arm / f"seed-{seed}" / "run")


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


class ArmRun:
    """One run: an arm with one seed.

    Attributes:
        arm: Whose run it is.
        seed: Which repetition, from 0.
        name: What people call it.
        processes: How many it has while it trains.
        folder: Where it is.
    """

    def __init__(
        self, settings: ComparisonSettings, arm: arms_lib.Arm, seed: int
    ) -> None:
        self._settings, self.arm, self.seed = settings, arm, seed
        self.name = f"{arm.name}, seed {seed}"
        self.processes = arm.students * settings.workers_per_student
        self._run = settings.run_of(arm.name, seed)
        self.folder = self._run.root.parent

    def student(self, number: int) -> layout.StudentLayout:
        return self._run.student(number)

    @property
    def progress(self) -> float:
        """How much of the training is done, 0.0 to 1.0, by student 0's heartbeat."""
        beat = progress_file.read(self.student(0).progress)
        return beat["step"] / beat["num_train_steps"] if beat else 0.0

    def outcome(self) -> RunOutcome | None:
        """Returns what the run left, or None if it has not ended.

        Raises:
            UsageError: it was made with other commands.
        """
        path = self.folder / "outcome.json"
        if not path.exists():
            return None
        outcome = RunOutcome(**files.read_json(path))
        if outcome.commands != [shlex.join(c) for c in self._commands()]:
            raise errors.UsageError(
                f"{self.folder} holds a run of other settings or data. Remove that "
                "folder to make the run anew, or give another --output_dir."
            )
        return outcome

    def make(self, cores: Collection[int]) -> RunOutcome:
        """Trains and scores; goes on where an earlier attempt stopped.

        Args:
            cores: That the processes may run on.

        Raises:
            LmcodistillError: training or scoring failed; its own message is in
                the log that this one names.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        train, evaluate = self._commands()
        spent = self.folder / "spent.json"
        wall, cpu = files.read_json(spent)["seconds"] if spent.exists() else (0.0, 0.0)
        began = time.monotonic()
        code, cpu_seconds, _ = call(train, self.folder / "train.log", cores)
        wall, cpu = wall + time.monotonic() - began, cpu + cpu_seconds
        files.write_text(spent, files.to_json({"seconds": [wall, cpu]}))
        self._check(code, train, "train.log")
        code, _, output = call(evaluate, self.folder / "evaluate.log", cores)
        self._check(code, evaluate, "evaluate.log")
        results = json.loads(output)["results"]
        outcome = RunOutcome(
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
        settings, arm = self._settings, self.arm
        bindings = [*settings.bindings, *(f"{k}={v}" for k, v in arm.bindings)]
        shift = arms_lib.SEED_STRIDE * self.seed
        bindings += [
            f"Training.seed={settings.seed + shift + arm.seed_offset}",
            f"Batches.order_seed={settings.order_seed + shift}",
        ]
        if arm.taught_by:
            teachers = settings.run_of(arm.taught_by, self.seed)
            paths = [str(teachers.student(i).root) for i in range(arm.num_teachers)]
            bindings.append(f"Distillation.offline_exports={tuple(paths)!r}")
        return bindings

    def _commands(self) -> tuple[list[str], list[str]]:
        settings, arm = self._settings, self.arm
        data_dir = ("--data_dir", str(settings.data_dir))
        train = [
            *("lmcodistill", "train", "--students", str(arm.students)),
            *("--workers_per_student", str(settings.workers_per_student)),
            *(*data_dir, "--run_dir", str(self._run.root)),
            *(f"--gin_file={path}" for path in settings.gin_files),
            *(f"--gin.{binding}" for binding in self.bindings),
        ]
        evaluate = [
            *("lmcodistill", "evaluate", *data_dir, "--json"),
            *("--lanes", str(settings.streams), "--window", str(settings.window)),
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
# Python that takes its place on some cores and becomes another command. Affinity
# belongs to a thread: set here, it would outlast the run in a pool's thread.
_ON_CORES = (
    "import os, sys; os.sched_setaffinity(0, map(int, sys.argv[1].split(','))); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)
_running: set[int] = set()


def call(
    command: Sequence[str], log: pathlib.Path, cores: Collection[int]
) -> tuple[int, float, str]:
    """Runs a module of Python on some cores, in a process of its own.

    Args:
        command: The module's name, and its arguments.
        log: What its standard error is appended to.
        cores: That it, and all that it starts, may run on.

    Returns:
        Its exit code, its CPU seconds and its standard output.
    """
    on_cores = [sys.executable, "-c", _ON_CORES, ",".join(map(str, sorted(cores)))]
    # Our end is open as long as we live; training stops when it closes.
    our_end, child_end = socket.socketpair()
    with our_end, open(log, "ab") as stderr, tempfile.TemporaryFile() as stdout:
        with child_end:
            process = subprocess.Popen(
                # As a module: the same program, wherever this one was found.
                [*on_cores, "-m", *command],
                stdin=child_end.fileno(),
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, lifeline.VARIABLE: "1"},
            )
        _running.add(process.pid)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            _running.discard(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        output = stdout.read().decode(errors="replace")
    return process.returncode, usage.ru_utime + usage.ru_stime, output


def stop_all() -> None:
    """Asks every run in progress to save and stop."""
    for pid in list(_running):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
