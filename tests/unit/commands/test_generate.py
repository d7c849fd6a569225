"""`generate`: prompts from a flag, from a pipe, and from a person at a terminal."""

import json
import os
import pty
import select
import subprocess
import sys

import pytest

import lmcodistill
from lmcodistill import errors
from lmcodistill.commands import generate
from tests.support import tiny_run


def test_texts_are_those_of_the_interface(command, run_dir):
    _, out, _ = command(
        *("generate", "--export", run_dir, "--prompt", "one two", "--json"),
        *("--samples", 2, "--tokens", 5, "--seed", 3, "--temperature", 0.5),
    )

    texts = lmcodistill.load(run_dir).generate(
        "one two", num_samples=2, num_tokens=5, seed=3, temperature=0.5
    )
    assert json.loads(out) == {"prompt": "one two", "texts": texts}


def test_each_line_of_a_pipe_is_a_prompt_with_a_seed_of_its_own(command, run_dir):
    generate = ("generate", "--export", run_dir, "--json", "--tokens", 5)

    _, out, _ = command(*generate, stdin=b"one\r\n\nnine nine\n")

    answers = [json.loads(line) for line in out.splitlines()]
    alone = [
        json.loads(command(*generate, "--prompt", prompt, "--seed", seed)[1])
        for seed, prompt in enumerate(["one", "", "nine nine"])
    ]
    assert answers == alone


def test_without_a_prompt_and_without_input_the_text_begins_as_documents_do(
    command, run_dir
):
    generate = ("generate", "--export", run_dir, "--tokens", 5)

    assert command(*generate) == command(*generate, "--prompt", "")


def test_dash_reads_all_input_as_one_prompt(command, run_dir):
    _, out, _ = command(
        *("generate", "--export", run_dir, "--json", "--prompt", "-", "--tokens=1"),
        stdin=b"one\ntwo\n",
    )

    assert json.loads(out)["prompt"] == "one\ntwo"


@pytest.mark.parametrize(
    ("flags", "stdin", "expected_code", "words"),
    [
        (("--seed", "-1"), b"", 2, "--seed=-1"),
        (("--tokens", "0"), b"", 2, "--tokens=0"),
        (("--temperature", "-0.5"), b"", 2, "--temperature=-0.5"),
        (("--temperature", "nan"), b"", 2, "nan"),
        (("--prompt", "gr\udcfc\udcdfe"), b"", 2, "no UTF-8"),
        (("--prompt", "-"), b"\xff", 3, "Line 1 of standard input is no UTF-8"),
        ((), b"one\n\xff\n", 3, "Line 2 of standard input is no UTF-8"),
    ],
)
def test_what_cannot_be_continued_is_one_message(
    command, run_dir, flags, stdin, expected_code, words
):
    code, _, err = command("generate", "--export", run_dir, *flags, stdin=stdin)

    assert code == expected_code
    assert words in err
    assert "Traceback" not in err


def test_terminal_without_unicode_gets_escapes(run_dir, lmcodistill):
    done = lmcodistill(
        *("generate", "--export", str(run_dir), "--prompt", "gr\u00fc\u00dfe"),
        *("--tokens", "1"),
        PYTHONIOENCODING="ascii",
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("gr\\xfc\\xdfe")


def test_person_at_a_terminal_is_asked_again_until_ctrl_d(run_dir):
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "lmcodistill", "generate", "--export", str(run_dir)]
        + ["--tokens", "2"],
        env=tiny_run.environment(),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    seen = b""

    def read_until(expected):
        nonlocal seen
        while expected not in seen:
            assert select.select([controller], [], [], 60)[0], seen
            seen += os.read(controller, 1024)
        before, _, seen = seen.partition(expected)
        return before

    try:
        read_until(b"Ctrl-D ends.")
        read_until(b"> ")
        os.write(controller, b"nine eight\n")
        first = read_until(b"\n> ")
        os.write(controller, b"four\n")
        second = read_until(b"\n> ")
        os.write(controller, b"\x04")
        code = process.wait(timeout=60)
    finally:
        process.kill()
        os.close(controller)

    # What is typed is echoed; the answer begins with it.
    assert first.count(b"nine eight") == 2
    assert second.count(b"four") == 2
    assert code == 0


def test_standard_input_without_an_end_is_refused(monkeypatch):
    with open("/dev/zero", encoding="utf-8") as endless:
        monkeypatch.setattr(sys, "stdin", endless)

        with pytest.raises(errors.DataError, match="more than"):
            list(generate._prompts("-"))


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
