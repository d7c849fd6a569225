"""Runs the quick start: every step through the command line, as people would.

Makes the corpus, runs `prep`, trains two students that teach each other and one
that learns alone, evaluates them and the ensemble, and says what came out:
quickstart.html, results.json and, here, one table and a sample.

Example:
  tools/quickstart.sh DIR --gin.NUM_TRAIN_STEPS=100
"""

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import platform
import resource
import shlex
import signal
import subprocess
import sys
import time
from typing import Any

import lmcodistill
from lmcodistill.storage import files, layout
from tools.quickstart import results

ROOT = pathlib.Path(__file__).resolve().parents[2]

PROMPT = "If the argument is"


@dataclasses.dataclass(frozen=True)
class Done:
    """A stage that has ended well.

    Attributes:
        name: Of the stage.
        command: For people to run again.
        cost: Summed over all attempts.
        output: What it printed on standard output.
    """

    name: str
    command: str
    cost: results.Cost
    output: str


class Stages:
    """Runs commands one after the other, and none that was done before.

    A stage counts as done while it and all before it have the command that they
    had then.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder, self._before = folder, ""
        self.done: list[Done] = []

    def run(self, name: str, *command: str) -> str:
        """Runs a stage; returns what it printed on standard output."""
        self._before = hashlib.sha256(
            "\0".join([self._before, *command]).encode()
        ).hexdigest()
        path = self._folder / f"{name}.json"
        record = files.read_json(path) if path.is_file() else {}
        if record.get("digest") != self._before:
            record = {"digest": self._before, "wall": 0.0, "cpu": 0.0, "ended": False}
        print(f"\n== {name}", file=sys.stderr, flush=True)
        if record["ended"]:
            print("   done before", file=sys.stderr)
        else:
            print(f"   {shlex.join(command)}", file=sys.stderr, flush=True)
            code = self._attempt(record, command)
            files.write_text(path, files.to_json(record))
            if code:
                sys.exit(_failed(name, code))
        cost = results.Cost(record["wall"], record["cpu"])
        print(
            f"   {cost.wall_seconds:.0f} s, {cost.cpu_seconds:.0f} CPU s",
            file=sys.stderr,
        )
        self.done.append(Done(name, shlex.join(command), cost, record["output"]))
        return record["output"]

    def _attempt(self, record: dict[str, Any], command: tuple[str, ...]) -> int:
        wall, cpu = time.monotonic(), _cpu_seconds_of_children()
        record["output"], code = _call(command)
        record["wall"] += time.monotonic() - wall
        record["cpu"] += _cpu_seconds_of_children() - cpu
        record["ended"] = code == 0
        return code


def main() -> None:
    """Reads the flags, runs the stages and writes the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "output_dir", nargs="?", type=pathlib.Path, default=ROOT / ".quickstart"
    )
    parser.add_argument("--install_seconds", type=float, default=0.0)
    flags, overrides = parser.parse_known_args()
    for argument in overrides:
        if not argument.startswith("--gin."):
            parser.error(f"{argument}: only --gin.NAME=VALUE is passed on to `train`")
    began = time.monotonic()
    folder = flags.output_dir.resolve()
    stages = Stages(folder / "stages")
    (folder / "stages").mkdir(parents=True, exist_ok=True)
    outcome, sample, corpus = _run(stages, folder, overrides)
    machine = (
        f"lmcodistill {lmcodistill.__version__}, Python {platform.python_version()}, "
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores. The same command "
        "on another machine may round differently."
    )
    html = results.page(
        outcome,
        sample,
        corpus,
        [(d.name, d.command, d.cost) for d in stages.done],
        machine,
    )
    files.write_text(folder / "quickstart.html", html)
    files.write_text(
        folder / "results.json",
        files.to_json(
            {
                "evaluated": {"two": outcome.two, "plain": outcome.plain},
                "cost": {d.name: dataclasses.asdict(d.cost) for d in stages.done},
                "verdict": results.verdict(outcome),
                "sample": sample,
            }
        ),
    )
    print("\n" + results.aligned(results.HEAD, results.rows(outcome)) + "\n")
    print("\n".join(results.verdict(outcome)))
    print(f"\nA sample of student 0:\n\n{sample}\n")
    total = flags.install_seconds + time.monotonic() - began
    print(f"Wrote {folder / 'quickstart.html'}. All of it: {total:.0f} s.")


def _run(
    stages: Stages, folder: pathlib.Path, overrides: list[str]
) -> tuple[results.Outcome, str, dict[str, Any]]:
    """Runs all stages; returns what was measured, a sample, `prep`'s report."""
    program = (sys.executable, "-m", "lmcodistill")
    corpus = str(folder / "corpus.warc.wet.gz")
    data, two, plain = (folder / name for name in ("data", "codistilled", "plain"))
    stages.run(
        "corpus",
        *(sys.executable, "-m", "tools.quickstart.corpus", "--output", corpus),
    )
    stages.run(
        "prep",
        *(*program, "prep", "--gin_file", "prep/quickstart"),
        *("--input", corpus, "--output_dir", str(data)),
    )
    data_dir = ("--data_dir", str(data))
    stages.run(
        "train_two_students",
        *(*program, "train", "--gin_file", "runs/quickstart", "--students", "2"),
        *(*data_dir, "--run_dir", str(two), *overrides),
    )
    stages.run(
        "train_one_plain_student",
        *(*program, "train", "--gin_file", "runs/quickstart_baseline"),
        *("--students", "1", *data_dir, "--run_dir", str(plain), *overrides),
    )
    students = [layout.RunLayout(two).student(k) for k in (0, 1)]
    alone = layout.RunLayout(plain).student(0)
    scored = stages.run(
        "evaluate_two_students",
        *(*program, "evaluate", *data_dir, "--json"),
        *("--export", *(str(student.root) for student in students)),
    )
    scored_plain = stages.run(
        "evaluate_plain_student",
        *(*program, "evaluate", *data_dir, "--json", "--export", str(alone.root)),
    )
    sample = stages.run(
        "generate",
        *(*program, "generate", "--export", str(students[0].root)),
        *("--prompt", PROMPT, "--tokens", "80", "--temperature", "0.7"),
    )
    costs = {done.name: done.cost for done in stages.done}
    outcome = results.Outcome(
        two=json.loads(scored)["results"],
        plain=json.loads(scored_plain)["results"][0],
        two_cost=costs["train_two_students"],
        plain_cost=costs["train_one_plain_student"],
        two_reports=[files.read_json_lines(student.metrics) for student in students],
        plain_reports=files.read_json_lines(alone.metrics),
    )
    report = files.read_json(layout.DataLayout(data).report_json)
    return outcome, sample.strip(), report


def _call(command: tuple[str, ...]) -> tuple[str, int]:
    """Runs a program; returns its standard output and its exit code."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            while True:
                try:
                    output, _ = process.communicate()
                    break
                except KeyboardInterrupt:
                    continue  # The program got the Ctrl-C as well, and is saving.
        finally:
            signal.signal(signal.SIGTERM, previous)
    return output, process.returncode


def _failed(name: str, code: int) -> int:
    """Says that a stage failed; returns the exit code."""
    print(
        f"\nquickstart: stage {name} ended with exit code {code}. The same "
        "command goes on from here.",
        file=sys.stderr,
    )
    return code if code > 0 else 128 - code


def _cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
