"""Real runs: real prep, real processes, real TF_CONFIG; models of a few weights."""

import json
import os
import pathlib
import pydoc_data.topics
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Small enough to step in milliseconds; start-up is what these tests pay for.
TINY = {
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
    "Training.evaluation_lanes": 4,
    "LanguageModel.num_layers": 1,
    "LanguageModel.hidden_size": 16,
    "LanguageModel.embedding_size": 8,
}


def bindings(**changes: object) -> list[str]:
    """Returns TINY with changes as flags; `Class__field` stands for `Class.field`."""
    knobs = TINY | {name.replace("__", "."): value for name, value in changes.items()}
    return [f"--gin.{name}={value}" for name, value in knobs.items()]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session")
def start(environment) -> Callable[..., subprocess.Popen]:
    """Starts `lmcodistill ARGUMENTS...` and returns at once."""

    def run(*arguments: object, **more: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "lmcodistill", *map(str, arguments)],
            env={**environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.fixture(scope="session")
def finish(start) -> Callable[..., str]:
    """Runs a command to its end and returns what it printed; it must succeed."""

    def run(*arguments: object, **more: str) -> str:
        process = start(*arguments, **more)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return out

    return run


@pytest.fixture(scope="session")
def data_dir(finish, tmp_path_factory) -> pathlib.Path:
    """Two partitions of the language reference that Python carries."""
    folder = tmp_path_factory.mktemp("data")
    source = folder / "topics.jsonl"
    with open(source, "w", encoding="utf-8") as file:
        for name, text in sorted(pydoc_data.topics.topics.items()):
            file.write(json.dumps({"id": name, "text": text}) + "\n")
    finish(
        *("prep", "--gin_file", "prep/quickstart", "--input", source),
        *("--output_dir", folder / "shards", "--gin.VOCAB_SIZE=400"),
        *("--gin.VALIDATION_FRACTION=0.1", "--num_workers", "1"),
    )
    return folder / "shards"


def train_arguments(data_dir, run_dir, *, students=2, **changes) -> list[object]:
    """Returns the command line of a tiny run."""
    return [
        *("train", "--data_dir", data_dir, "--run_dir", run_dir),
        *("--students", students, *bindings(**changes)),
    ]


def log_of(run_dir: pathlib.Path, student: int, worker: int = 0) -> str:
    """Returns the log of one worker."""
    name = "log.txt" if worker == 0 else f"log-worker-{worker}.txt"
    return (run_dir / "students" / str(student) / name).read_text()


def weights_of(run_dir: pathlib.Path, student: int, worker: int = 0) -> str:
    """Returns the digest of the weights that a worker ended with."""
    ends = [
        line
        for line in log_of(run_dir, student, worker).splitlines()
        if "event=ended" in line
    ]
    return ends[-1].rpartition("weights=")[2]


def reports_of(run_dir: pathlib.Path, student: int, kind: str) -> list[dict]:
    """Returns a student's reports of one kind."""
    path = run_dir / "students" / str(student) / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def journal_of(path: pathlib.Path, *events: str) -> list[dict]:
    """Returns what a supervisor noted; of some kinds, where they are given."""
    if not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if not events or line["event"] in events]


def processes_of(run_dir: pathlib.Path) -> list[int]:
    """Returns the processes whose command line names the run."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if entry.name.isdigit() and str(run_dir).encode() in command:
            found.append(int(entry.name))
    return found


def wait_until(condition, seconds: float = 120.0) -> None:
    """Polls until `condition()`; fails at the deadline."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "the deadline passed"
        time.sleep(0.1)


def step_of(run_dir: pathlib.Path, student: int) -> int:
    """Returns the latest reported step."""
    path = run_dir / "students" / str(student) / "metrics.jsonl"
    if not path.is_file():
        return 0
    reports = reports_of(run_dir, student, "train")
    return reports[-1]["step"] if reports else 0
