"""The prompt of `generate`, as a terminal or a pipe gives it."""

import io
import os
import subprocess
import sys

import pytest

from lmcodistill import cli, errors
from lmcodistill.commands import generate


@pytest.mark.parametrize(
    ("given", "prompt"),
    [
        ("gr\u00fc\u00dfe", "gr\u00fc\u00dfe"),
        ("gr\udcfc\udcdfe", "gr\ufffd\ufffde"),
        # UTF-8 in a locale that knows none.
        ("gr\udcc3\udcbc\udcc3\udc9fe", "gr\u00fc\u00dfe"),
        ("", ""),
    ],
)
def test_bytes_that_are_no_text_become_replacement_characters(given, prompt):
    assert generate._prompt(given) == prompt


@pytest.mark.parametrize(
    ("content", "prompt"),
    [(b"one two\n", "one two"), (b"\xff\n", "\ufffd"), (b"", ""), (b"a\0b", "a\0b")],
)
def test_standard_input_is_read_as_bytes(monkeypatch, content, prompt):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "ascii"))

    assert generate._prompt("-") == prompt


def test_standard_input_without_an_end_is_refused(monkeypatch):
    with open("/dev/zero", encoding="utf-8") as endless:
        monkeypatch.setattr(sys, "stdin", endless)

        with pytest.raises(errors.UsageError, match="more than 1,048,576 bytes"):
            generate._prompt("-")


def test_a_seed_below_0_is_refused(capsys):
    assert cli.main(["generate", "--export=x", "--seed=-1"]) == 2

    assert "--seed=-1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [(b"--run_dir", b"R\xfc"), (b"--run_dir", "R \u00f6".encode())]
)
def test_a_path_that_this_locale_cannot_read_is_refused(arguments):
    # As Python has it without its own ways out of the C locale.
    plain = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

    done = subprocess.run(
        [sys.executable, "-m", "lmcodistill", "train", *arguments],
        env={**os.environ, **plain},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2
    assert "no UTF-8 text" in done.stderr
    assert done.stderr.count("\n") == 1
