"""Completion by a real shell; what a report of a fault tells."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from lmcodistill import cli
from lmcodistill.commands import catalogue


@pytest.fixture
def completed(capsys):
    """Returns what bash offers for words, the last of which is being typed."""
    assert cli.main(["completion", "bash"]) == 0
    script = capsys.readouterr().out

    def complete(*words):
        quoted = " ".join(f"'{word}'" for word in words)
        ask = (
            f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _lmcodistill; "
            'echo "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            ["bash", "-u", "-c", script + ask],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    return complete


def test_commands_flags_and_shipped_files_are_completed(completed):
    assert completed("lmcodistill", "tr") == ["train"]
    assert set(completed("lmcodistill", "")) == set(catalogue.COMMANDS)
    assert completed("lmcodistill", "train", "--data_") == ["--data_dir"]
    assert completed("lmcodistill", "train", "--gin_file", "runs/quick") == [
        "runs/quickstart",
        "runs/quickstart_baseline",
    ]
    # As bash splits --gin_file=runs/paper_b.
    words = ("train", "--gin_file", "=", "runs/paper_b")
    assert completed("lmcodistill", *words) == ["runs/paper_baseline"]
    assert completed("lmcodistill", "configs", "show", "models/t") == [
        *("models/tiny", "models/transformer_124m", "models/transformer_tiny")
    ]


def test_fish_is_told_of_every_command_and_flag(capsys):
    assert cli.main(["completion", "fish"]) == 0

    out = capsys.readouterr().out
    assert all(f"-f -a {name} -d " in out for name in catalogue.COMMANDS)
    assert "'__fish_seen_subcommand_from train' -l data_dir" in out


def test_shell_that_there_is_not_is_refused(capsys):
    assert cli.main(["completion", "tcsh"]) == 2
    assert "expected one of bash, zsh, fish" in capsys.readouterr().err


def test_report_of_the_machine_has_no_secrets():
    secret = "AKIA-not-to-be-shown"
    done = subprocess.run(
        [sys.executable, "-m", "lmcodistill", "env", "--json"],
        env={**os.environ, "AWS_SECRET_ACCESS_KEY": secret, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    found = json.loads(done.stdout)
    assert found["tensorflow"].startswith("2.")
    assert found["OMP_NUM_THREADS"] == "1"
    assert "CPU" in found["devices"]
    assert secret not in done.stdout


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_reads_its_text(capsys):
    assert cli.main(["completion", "zsh"]) == 0
    script = capsys.readouterr().out

    subprocess.run(["zsh", "-c", script], check=True)
