"""The fuzzer of prep's input, for a few seconds; and that it would find something."""

import json
import pathlib
import subprocess
import sys

import pytest

from data_prep import counts as counts_lib
from data_prep.reading import html_pages, page_process, readers, text_lines
from tools.fuzz import child

ROOT = pathlib.Path(__file__).resolve().parents[2]


def fuzz(tmp_path, *arguments):
    return subprocess.run(
        [
            sys.executable,
            *("-m", "tools.fuzz"),
            "--json",
            "--workers=1",
            f"--failures={tmp_path / 'found'}",
            *arguments,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_hostile_and_damaged_input_does_no_harm(tmp_path):
    done = fuzz(tmp_path, "--fast", "--trials=300", "--seed=7")

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["trials"] == 300
    assert found["failures"] == []
    assert found["peak_mb"] < 512 and found["page_reader_peak_mb"] < 512
    # The inputs are no mere noise: most are damaged, and still pages come out.
    assert found["damaged"] > 150
    assert found["kept"] > 300
    assert found["checked_pages"] > 60


@pytest.mark.slow
def test_large_hostile_input_does_no_harm(tmp_path):
    done = fuzz(tmp_path, "--trials=0")

    assert done.returncode == 0, done.stdout + done.stderr


def _lose_a_page(*_, **__):
    return html_pages.PageText("", "unreadable_page")


def _drop_twice(counts, reason):
    counts.read += 2
    counts.dropped[reason] += 1


def _raise(*_):
    raise KeyError("lost")


def _take_memory(lines, _, taken=[]):  # noqa: B006
    taken.append(taken or b"1" * (600 << 20))
    return (line.decode("utf-8", "replace") for line in lines)


@pytest.mark.parametrize(
    ("module", "name", "fault", "words"),
    [
        (readers, "_first_language", _raise, "KeyError: 'lost'"),
        (text_lines, "decode", _take_memory, "memory: "),
        (counts_lib.Counts, "drop", _drop_twice, "kept and dropped"),
        (page_process, "extract_text", _lose_a_page, "missing: "),
    ],
)
def test_fuzzer_finds_a_fault_that_is_there(
    tmp_path, monkeypatch, module, name, fault, words
):
    monkeypatch.setattr(module, name, fault)
    tried = child._Trials(7, tmp_path, "", str(tmp_path / "found"))

    counts = tried.batch([str(number) for number in range(20)])

    assert any(words in failure["what"] for failure in counts["failures"])
    saved = pathlib.Path(counts["failures"][0]["saved"])
    assert (
        saved.read_bytes() == child.make(7, counts["failures"][0]["trial"], "").content
    )
