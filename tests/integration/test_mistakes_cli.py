"""Mistakes at the terminal: one message, the right exit code, no traceback."""

import json
import os
import subprocess
import sys

import pytest

from lmcodistill.commands import catalogue

COMMANDS = ", ".join(catalogue.COMMANDS)


def test_help_lists_the_commands_and_exits_0(lmcodistill):
    for arguments in ((), ("--help",), ("-h",), ("help",)):
        done = lmcodistill(*arguments)

        assert done.returncode == 0
        assert "  configs     List, show, copy, check, compare and" in done.stdout
        assert done.stderr == ""


def test_version_is_the_package_version(lmcodistill):
    assert lmcodistill("--version").stdout == "lmcodistill 0.1.0\n"


# What is wrong, and the whole message that follows "lmcodistill".
MISTAKES = {
    "mistyped command": (
        ("confgs",),
        f": there is no command confgs. Did you mean configs? Commands: {COMMANDS}.",
    ),
    "flag before the command": (
        ("--json=true", "configs"),
        ": --json=true: the command comes first: lmcodistill <command> [flags]. "
        f"Commands: {COMMANDS}.",
    ),
    "mistyped flag": (
        ("configs", "--jsn"),
        " configs: there is no flag --jsn. Did you mean --json?",
    ),
    "mistyped action": (
        ("configs", "shwo", "runs/quickstart"),
        " configs: there is no action shwo (did you mean show?). Actions: list, "
        "show NAME, copy NAME [DEST], check NAME ..., explain NAME, diff A B.",
    ),
    "one argument too many": (
        ("configs", "list", "runs"),
        " configs: list does not take 'runs'.",
    ),
    "no name": (
        ("configs", "show"),
        " configs: show needs the name of a shipped file; `lmcodistill configs list` "
        "shows them.",
    ),
    "mistyped name": (
        ("configs", "show", "runs/quikstart"),
        " configs: no shipped file is called runs/quikstart (did you mean "
        "runs/quickstart?). `lmcodistill configs list` shows them.",
    ),
    "mistyped knob": (
        ("train", "--gin.BURN_IN_STEP=3"),
        " train: --gin.BURN_IN_STEP=3: nothing reads BURN_IN_STEP (did you mean "
        "BURN_IN_STEPS?).",
    ),
    "mistyped gin file": (
        ("train", "--gin_file=runs/quikstart"),
        " train: --gin_file=runs/quikstart: no such file, and no shipped file of that "
        "name (did you mean runs/quickstart?). `lmcodistill configs list` lists them.",
    ),
    "value that cannot work": (
        ("train", "--gin_file=runs/quickstart", "--gin.TARGETS=peer"),
        " train: --gin.TARGETS=peer: Distillation.targets = 'peer' cannot work: "
        "expected one of none, offline, peers, uniform, unigram.",
    ),
    "mistyped flag of train": (
        ("train", "--data_dirr=DATA"),
        " train: there is no flag --data_dirr. Did you mean --data_dir?",
    ),
    "word that belongs to no flag": (
        ("train", "DATA"),
        " train: 'DATA' belongs to no flag, and train takes flags only. A value with "
        "spaces or stars needs quotes.",
    ),
    "mistyped flag of prep": (
        ("prep", "--inptu=x"),
        " prep: there is no flag --inptu. Did you mean --input?",
    ),
    "gin where nothing reads it": (
        ("configs", "list", "--gin.SEED=3"),
        " configs: this command reads no gin; remove --gin.SEED=3.",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_exits_2_with_one_line_that_helps(lmcodistill, mistake):
    arguments, message = MISTAKES[mistake]

    done = lmcodistill(*arguments)

    assert done.stderr == f"lmcodistill{message}\n"
    assert done.stdout == ""
    assert done.returncode == 2


def test_json_reports_an_error_on_standard_output_too(lmcodistill):
    done = lmcodistill("configs", "show", "nothing", "--json")

    assert json.loads(done.stdout) == {
        "error": "no shipped file is called nothing. `lmcodistill configs list` "
        "shows them.",
        "exit_code": 2,
    }
    assert done.returncode == 2


def test_copy_never_overwrites(lmcodistill, tmp_path):
    folder = tmp_path / "working_directory"
    first = lmcodistill("configs", "copy", "runs/quickstart")
    (folder / "quickstart.gin").write_text("mine")

    second = lmcodistill("configs", "copy", "runs/quickstart")

    assert (first.returncode, first.stdout) == (0, "Wrote quickstart.gin\n")
    assert second.returncode == 2
    assert (folder / "quickstart.gin").read_text() == "mine"
    assert second.stderr == (
        "lmcodistill configs: quickstart.gin exists and is not overwritten; name "
        "another file.\n"
    )


def test_a_reader_that_has_seen_enough_causes_no_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "lmcodistill", "configs", "list"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert done.stderr == ""
