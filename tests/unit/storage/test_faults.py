"""Faults happen where and when they were asked for, and nowhere else."""

import errno
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from lmcodistill import errors
from lmcodistill.storage import faults

ROOT = pathlib.Path(__file__).resolve().parents[3]
PASSES = """
import sys
from lmcodistill.storage import faults
for index in range(5):
    print(index, flush=True)
    faults.point(sys.argv[1])
"""


def pass_by(fault: str, name: str = "here", times: int = 5) -> list[int]:
    """Returns at which of its passes a point failed, counted from one."""
    failed = []
    for index in range(1, times + 1):
        try:
            faults.point(name)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            failed.append(index)
    return failed


@pytest.mark.parametrize(
    ("fault", "failed"),
    [
        ("here@1:fail", [1]),
        ("here@3:fail", [3]),
        ("here@3+:fail", [3, 4, 5]),
        ("here@9:fail", []),
        ("there@1+:fail", []),
        ("here@2:fail;here@4:fail", [2, 4]),
        ("there@1:fail; here@2:fail", [2]),
        ("he*@2:fail", [2]),
        ("her@1:fail", []),
        ("*@1:fail", None),
    ],
)
def test_fault_happens_at_the_pass_that_was_asked_for(monkeypatch, fault, failed):
    monkeypatch.setenv(faults.VARIABLE, fault)

    if failed is None:
        with pytest.raises(errors.UsageError):
            pass_by(fault)
    else:
        assert pass_by(fault) == failed


def test_lot_picks_one_pass_of_a_range(monkeypatch):
    monkeypatch.setenv(faults.VARIABLE, "here@2-4:fail")
    picked = set()

    for _ in range(100):
        faults.forget()
        failed = pass_by("")
        assert len(failed) == 1
        picked |= set(failed)

    assert picked == {2, 3, 4}


def test_group_of_points_counts_together(monkeypatch):
    monkeypatch.setenv(faults.VARIABLE, "export.*@3:fail")

    faults.point("export.written")
    faults.point("ckpt.written")
    faults.point("export.before_rename")
    with pytest.raises(OSError, match="asked for at export.before_marker"):
        faults.point("export.before_marker")


def test_without_the_variable_nothing_happens(monkeypatch):
    monkeypatch.delenv(faults.VARIABLE, raising=False)

    assert pass_by("") == []
    assert faults.point("here") is False


def test_number_that_becomes_none_is_left_to_the_caller(monkeypatch):
    monkeypatch.setenv(faults.VARIABLE, "here@2:nan")

    assert [faults.point("here") for _ in range(3)] == [False, True, False]


def test_sleep_takes_its_time(monkeypatch):
    monkeypatch.setenv(faults.VARIABLE, "here@1:sleep=0.2")
    began = time.monotonic()

    faults.point("here")

    assert 0.2 <= time.monotonic() - began < 2.0


@pytest.mark.parametrize(
    "text", ["here", "here@x:kill", "here@1:explode", "here@1:sleep", "a@1:kill;", ";"]
)
def test_text_that_is_no_fault_is_refused(monkeypatch, text):
    monkeypatch.setenv(faults.VARIABLE, text)

    with pytest.raises(errors.UsageError, match="NAME@COUNT:ACTION was expected"):
        faults.point("elsewhere")


def start(fault: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PASSES, "here"],
        cwd=ROOT,
        env={**os.environ, faults.VARIABLE: fault},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_kill_is_a_kill_and_says_where():
    process = start("here@3:kill")

    output, complaints = process.communicate()

    assert process.returncode == -signal.SIGKILL
    assert output.split() == ["0", "1", "2"]
    assert complaints == "event=fault point=here action=kill\n"


def test_stop_is_a_stop():
    process = start("here@2:stop")
    try:
        waited, status = os.waitpid(process.pid, os.WUNTRACED)
        stopped = os.WIFSTOPPED(status)
    finally:
        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate()

    assert (waited, stopped) == (process.pid, True)
    assert output.split() == ["0", "1", "2", "3", "4"]


def test_every_point_that_the_soak_names_is_in_the_program():
    source = "".join(p.read_text() for p in (ROOT / "lmcodistill").rglob("*.py"))
    points = set(re.findall(r'faults\.point\(f?"([^"]+)"\)', source))

    assert {"storage.read", "lease.beat", "{prefix}.before_marker"} <= points
