"""Run the whole program on a small real text, in minutes, on two cores.

Makes a corpus of the documentation that every Python carries, runs `prep`,
trains two students that teach each other and one that learns alone, evaluates
them and the ensemble, and says what came out, on the terminal and in
DIR/quickstart.html. Every step is a command of this program, printed as it
runs. The same command goes on where it was stopped, and leaves alone what is
done.

Examples:
  lmcodistill quickstart
  lmcodistill quickstart DIR
  lmcodistill quickstart DIR --gin.NUM_TRAIN_STEPS=400
"""

import dataclasses
import json
import os
import pathlib
import platform
import sys
import time
from typing import Any

from absl import flags

import lmcodistill
from lmcodistill import errors
from lmcodistill.commands import command_flags
from lmcodistill.quickstart import results, stages
from lmcodistill.storage import files, layout, places

ARGUMENTS = "[DIR]"

_PROMPT = "If the argument is"


def define_flags(define: command_flags.Definer) -> None:
    """Defines what a script that installs beforehand tells."""
    define.float(
        "install_seconds",
        0.0,
        "What installing took, to be counted with the rest.",
        0.0,
    )


def run(flag_values: flags.FlagValues, arguments: list[str]) -> None:
    """Runs the stages and writes the page."""
    if len(arguments) > 1:
        raise errors.UsageError(
            f"quickstart takes one folder, not {arguments[1]!r} too."
        )
    if flag_values.gin_file:
        raise errors.UsageError(
            "quickstart has gin files of its own; change them with --gin.NAME=VALUE."
        )
    began = time.monotonic()
    folder = places.local(*arguments or [".quickstart"])
    steps = stages.Stages(folder / "stages")
    (folder / "stages").mkdir(parents=True, exist_ok=True)
    overrides = [f"--gin.{binding}" for binding in flag_values.gin_bindings]
    outcome, sample, corpus = _run(steps, folder, overrides)
    found = {
        "evaluated": {"two": outcome.two, "plain": outcome.plain},
        "cost": {done.name: dataclasses.asdict(done.cost) for done in steps.done},
        "verdict": results.verdict(outcome),
        "sample": sample,
    }
    html = results.page(
        outcome,
        sample,
        corpus,
        [(done.name, done.command, done.cost) for done in steps.done],
        _machine(),
    )
    files.write_text(folder / "quickstart.html", html)
    files.write_text(folder / "results.json", files.to_json(found))
    if flag_values.json:
        print(json.dumps(found))
        return
    print("\n" + results.aligned(results.HEAD, results.rows(outcome)) + "\n")
    print("\n".join(results.verdict(outcome)))
    print(f"\nA sample of student 0:\n\n{sample}\n")
    total = flag_values.install_seconds + time.monotonic() - began
    print(f"Wrote {folder / 'quickstart.html'}. All of it: {total:.0f} s.")


def _machine() -> str:
    return (
        f"lmcodistill {lmcodistill.__version__}, Python {platform.python_version()}, "
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores. The same command "
        "on another machine may round differently."
    )


def _run(
    steps: stages.Stages, folder: pathlib.Path, overrides: list[str]
) -> tuple[results.Measured, str, dict[str, Any]]:
    """Runs all stages; returns what was measured, a sample, `prep`'s report."""
    program = (sys.executable, "-m", "lmcodistill")
    corpus = str(folder / "corpus.warc.wet.gz")
    data, two, plain = (folder / name for name in ("data", "codistilled", "plain"))
    steps.run(
        "corpus",
        *(sys.executable, "-m", "lmcodistill.quickstart.corpus", "--output", corpus),
    )
    steps.run(
        "prep",
        *(*program, "prep", "--gin_file", "prep/quickstart"),
        *("--input", corpus, "--output_dir", str(data)),
    )
    data_dir = ("--data_dir", str(data))
    steps.run(
        "train_two_students",
        *(*program, "train", "--gin_file", "runs/quickstart", "--students", "2"),
        *(*data_dir, "--run_dir", str(two), *overrides),
    )
    steps.run(
        "train_one_plain_student",
        *(*program, "train", "--gin_file", "runs/quickstart_baseline"),
        *("--students", "1", *data_dir, "--run_dir", str(plain), *overrides),
    )
    students = [layout.RunLayout(two).student(k) for k in (0, 1)]
    alone = layout.RunLayout(plain).student(0)
    scored = steps.run(
        "evaluate_two_students",
        *(*program, "evaluate", *data_dir, "--json"),
        *("--export", *(str(student.root) for student in students)),
    )
    scored_plain = steps.run(
        "evaluate_plain_student",
        *(*program, "evaluate", *data_dir, "--json", "--export", str(alone.root)),
    )
    sample = steps.run(
        "generate",
        *(*program, "generate", "--export", str(students[0].root)),
        *("--prompt", _PROMPT, "--tokens", "80", "--temperature", "0.7"),
    )
    costs = {done.name: done.cost for done in steps.done}
    outcome = results.Measured(
        two=json.loads(scored)["results"],
        plain=json.loads(scored_plain)["results"][0],
        two_cost=costs["train_two_students"],
        plain_cost=costs["train_one_plain_student"],
        two_reports=[files.read_json_lines(student.metrics) for student in students],
        plain_reports=files.read_json_lines(alone.metrics),
    )
    report = files.read_json(layout.DataLayout(data).report_json)
    return outcome, sample.strip(), report
