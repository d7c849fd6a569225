"""Small real runs of the real program, for the tests and for the soak test.

A model of a few thousand weights that learns the language reference which every
Python carries: what a run costs is starting and stopping processes, not arithmetic.
"""

import contextlib
import json
import os
import pathlib
import pydoc_data.topics
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from lmcodistill.storage import layout

ROOT = pathlib.Path(__file__).resolve().parents[2]

TINY: dict[str, object] = {
    "NUM_TRAIN_STEPS": 8,
    "GLOBAL_BATCH_SIZE": 4,
    "WINDOW": 8,
    "REPORT_EVERY_STEPS": 2,
    "EVALUATE_EVERY_STEPS": 4,
    "EVALUATION_TOKENS": 400,
    "CHECKPOINT_EVERY_STEPS": 4,
    "BURN_IN_STEPS": 2,
    "PUBLISH_EVERY_STEPS": 2,
    "RELOAD_EVERY_STEPS": 2,
    "EXCHANGE_MODE": "scheduled",
    "LEARNING_RATE": 0.02,
    "Training.evaluation_lanes": 32,
    "LanguageModel.num_layers": 1,
    "LanguageModel.hidden_size": 16,
    "LanguageModel.embedding_size": 8,
}

Reports = list[dict[str, Any]]


def bindings(**changes: object) -> list[str]:
    """Returns TINY with changes as flags; `Class__field` stands for `Class.field`."""
    knobs = TINY | {name.replace("__", "."): value for name, value in changes.items()}
    return [f"--gin.{name}={value}" for name, value in knobs.items()]


def bindings_of(family: str, sizes: dict[str, object], **changes: object) -> list[str]:
    """Returns TINY with a model of another family, of these sizes, and with changes."""
    tiny = [flag for flag in bindings(**changes) if "LanguageModel" not in flag]
    sized = [f"--gin.{name}={value}" for name, value in sizes.items()]
    return [*tiny, f"--gin.MODEL_FAMILY={family}", *sized]


def train_arguments(
    data_dir: pathlib.Path, run_dir: pathlib.Path, *, students: int = 2, **changes: Any
) -> list[object]:
    """Returns the command line of a tiny run."""
    return [
        *("train", "--data_dir", data_dir, "--run_dir", run_dir),
        *("--students", students, *bindings(**changes)),
    ]


def environment(**more: str) -> dict[str, str]:
    """Returns the environment of a process that finds this checkout."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def start(*arguments: object, **more: str) -> subprocess.Popen[str]:
    """Starts `lmcodistill ARGUMENTS...` and returns at once."""
    return subprocess.Popen(
        [sys.executable, "-m", "lmcodistill", *map(str, arguments)],
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*arguments: object, **more: str) -> str:
    """Runs a command to its end and returns what it printed.

    Raises:
        RuntimeError: it failed; says what it wrote to standard error.
    """
    process = start(*arguments, **more)
    output, said = process.communicate(timeout=300)
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {said}")
    return output


def train_apart(
    data_dir: pathlib.Path,
    run_dir: pathlib.Path,
    students: Sequence[Sequence[str]],
    **more: str,
) -> None:
    """Trains students of one worker each, each with bindings of its own.

    Raises:
        RuntimeError: one failed; says what it wrote to standard error.
    """
    processes = []
    for student, own in enumerate(students):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        task = {
            "cluster": {"worker": [address]},
            "task": {"type": "worker", "index": 0},
        }
        processes.append(
            start(
                *("train", "--data_dir", data_dir, "--run_dir", run_dir),
                *("--students", len(students), "--student", student, *own),
                **more,
                TF_CONFIG=json.dumps(task),
            )
        )
    for process in processes:
        _, said = process.communicate(timeout=120)
        if process.returncode:
            raise RuntimeError(f"exit code {process.returncode}: {said}")


def make_data(folder: pathlib.Path) -> pathlib.Path:
    """Returns two partitions of the language reference, made if they are not there."""
    shards = folder / "shards"
    if shards.is_dir():
        return shards
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "topics.jsonl"
    with open(source, "w", encoding="utf-8") as file:
        for name, text in sorted(pydoc_data.topics.topics.items()):
            file.write(json.dumps({"id": name, "text": text}) + "\n")
    finish(
        *("prep", "--gin_file", "prep/quickstart", "--input", source),
        *("--output_dir", shards, "--gin.VOCAB_SIZE=400"),
        *("--gin.VALIDATION_FRACTION=0.1", "--gin.GUIDE_FRACTION=0.1"),
        *("--num_workers", "1"),
    )
    return shards


def student_of(run_dir: pathlib.Path, student: int) -> layout.StudentLayout:
    """Returns where a student's files are."""
    return layout.RunLayout(run_dir).student(student)


def log_of(run_dir: pathlib.Path, student: int, worker: int = 0) -> str:
    """Returns the log of one worker; empty where it has not begun."""
    path = student_of(run_dir, student).log(worker)
    return path.read_text(errors="replace") if path.is_file() else ""


def result_of(run_dir: pathlib.Path, student: int, worker: int = 0) -> dict[str, Any]:
    """Returns how a worker ended: outcome, step, digest of its weights, traces."""
    return json.loads(student_of(run_dir, student).result(worker).read_text())


def weights_of(run_dir: pathlib.Path, student: int, worker: int = 0) -> str:
    """Returns the digest of the weights that a worker ended with."""
    return result_of(run_dir, student, worker)["weights"]


def reports_of(run_dir: pathlib.Path, student: int, kind: str) -> Reports:
    """Returns a student's reports of one kind so far."""
    path = student_of(run_dir, student).metrics
    text = path.read_text() if path.is_file() else ""
    # The last line may still be growing.
    reports = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
    return [report for report in reports if report["kind"] == kind]


def step_of(run_dir: pathlib.Path, student: int) -> int:
    """Returns the latest reported step."""
    return max((r["step"] for r in reports_of(run_dir, student, "train")), default=0)


def heartbeat_of(run_dir: pathlib.Path, student: int) -> dict[str, Any]:
    """Returns the latest heartbeat of a student: its step and its process id."""
    try:
        return json.loads(student_of(run_dir, student).progress.read_text())
    except (OSError, ValueError):
        return {"step": 0, "pid": 0}


def journal_of(path: pathlib.Path, *events: str) -> Reports:
    """Returns what a supervisor noted; of some kinds, where they are given."""
    text = path.read_text() if path.is_file() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if not events or line["event"] in events]


def processes_of(run_dir: pathlib.Path, student: int | None = None) -> list[int]:
    """Returns the processes whose command line names the run, and the student."""
    run = re.compile(re.escape(str(run_dir).encode()) + rb"[/\0]")
    flag = b"" if student is None else f"--student\0{student}\0".encode()
    pids = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            if run.search(command) and flag in command:
                pids.append(int(entry.name))
    return sorted(pids)


def wait_until(condition: Callable[[], object], seconds: float = 120.0) -> bool:
    """Polls until `condition()`; returns False at the deadline."""
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True
