"""The status of a run as read from its folder."""

import dataclasses
import io
import json
import os
import subprocess
import time

import pytest
import rich.console

from lmcodistill.storage import layout, progress_file
from lmcodistill.supervision import journal, lease, states, status, status_view

REPORT = {
    "kind": "train",
    "step": 50,
    "cross_entropy": 6.3921,
    "tokens_per_second": 4_833.0,
    "teachers": [{"peer": 1, "step": 30, "staleness_steps": 20}],
}
SCORE = {"kind": "validation", "step": 50, "cross_entropy": 6.5, "bits_per_byte": 2.25}


@pytest.fixture
def run(tmp_path):
    return layout.RunLayout(tmp_path)


@pytest.fixture
def begin(run):
    """Has this process train a student, as far as its folder tells."""

    def make(student=0, step=50, restored=0, reports=(REPORT, SCORE)):
        folder = run.student(student)
        folder.root.mkdir(parents=True)
        journal.Journal(run.supervisor).note(
            "started", student=student, attempt=1, pids=[os.getpid()]
        )
        lines = "".join(json.dumps(report) + "\n" for report in reports)
        folder.metrics.write_text(lines)
        heartbeat = progress_file.Heartbeat(folder.progress, 200, 2)
        heartbeat.uses(["CPU: of a test"])
        heartbeat.restored(restored)
        heartbeat.beat(step - 1)
        heartbeat.beat(step, force=True)
        return heartbeat

    return make


def test_running_student_has_numbers_phase_and_device(run, begin):
    begin(restored=40).enter(progress_file.Phase.VALIDATING)

    first, second = status.read(run.root)

    assert (first.state, first.phase, first.step) == ("running", "validating", 50)
    assert (first.restored_step, first.num_train_steps) == (40, 200)
    assert first.perplexity == pytest.approx(597.11, abs=0.01)  # exp(6.3921)
    assert first.validation_bits_per_byte == 2.25
    assert first.processes[0]["devices"] == ["CPU: of a test"]
    assert first.last_sign_seconds < 5.0
    # Student 1 is known of by student 0 alone.
    assert (second.student, second.state) == (1, "not started")
    assert json.dumps(dataclasses.asdict(first))


def test_what_was_asked_for_is_shown_with_its_step(run, begin):
    heartbeat = begin()
    journal.Journal(run.supervisor).note("save_asked", student=0, attempt=1)
    heartbeat.saved_as_asked(51)
    heartbeat.published_as_asked(50)
    heartbeat.beat(52, force=True)

    [student, _] = status.read(run.root)

    assert (student.asked_checkpoint, student.asked_export) == (51, 50)
    assert student.state == "running"
    assert "saved at step 51, as asked" in shown([student], 80)
    assert "published at step 50, as asked" in shown([student], 80)


def test_pace_of_an_earlier_start_is_not_shown(run, begin):
    begin(step=51, restored=50)

    [student, _] = status.read(run.root)

    assert student.tokens_per_second is None
    assert status_view.total([student]) == "Students: 1 running."


def test_silence_by_the_clock_is_looked_at_twice(run, begin, monkeypatch):
    """Another machine's clock is an hour ahead; its lease is renewed."""
    begin()
    monkeypatch.setattr(lease, "_here", lambda: "another machine")
    held = lease.Lease.acquire(run.student(0).leases)
    monkeypatch.setattr(lease, "_here", lambda: "this machine")
    held.keep(lambda error: None)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + 600.0)

    state = status.read(run.root)[0].state
    held.release()

    assert state == "running"


def test_process_that_was_stopped_is_frozen(run, begin):
    child = subprocess.Popen(["sleep", "60"])
    try:
        begin()
        held = lease.Lease.acquire(run.student(0).leases)
        journal.Journal(run.supervisor).note(
            "started", student=0, attempt=2, pids=[os.getpid(), child.pid]
        )
        os.kill(child.pid, 19)
        began = time.monotonic()
        give_up = began + 5.0
        while (found := status.read(run.root)[0]).state != "frozen":
            assert time.monotonic() < give_up
    finally:
        child.kill()
        child.wait()
    held.release()

    assert found.exit_code == 75


@pytest.mark.parametrize(
    ("given", "over", "code"),
    [
        (["running", "done"], False, 0),
        (["done", "done"], True, 0),
        (["done", "not started"], True, 0),
        (["not started"], False, 0),
        (["stopped", "done"], True, 143),
        (["stopped", "diverged"], True, 5),
        (["frozen", "running"], False, 75),
        (["lost", "stopped"], True, 75),
        (["restarting", "running"], False, 0),
    ],
)
def test_run_is_over_when_nothing_goes_on_and_tells_the_worst(
    run, begin, given, over, code
):
    begin()
    one = status.read(run.root)[0]
    students = [
        dataclasses.replace(one, state=state, exit_code=state.exit_code)
        for state in map(states.StudentState, given)
    ]

    assert (status.is_over(students), status.exit_code(students)) == (over, code)


def shown(students, columns):
    """Returns what a terminal so many columns wide shows."""
    output = io.StringIO()
    console = rich.console.Console(file=output, width=columns, force_terminal=False)
    console.print(status_view.view(students, columns))
    return output.getvalue()


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120, 200])
def test_nothing_is_cut_at_any_width(run, begin, columns):
    begin(step=123_456)
    student = dataclasses.replace(
        status.read(run.root)[0],
        num_train_steps=1_000_000,
        eta_seconds=3_723.0,
        restarts=2,
        restored_step=84,
        last_cause={
            "cause": "SIGKILL",
            "reason": None,
            "worker": 1,
            "last_step": 110,
            "time": "",
        },
    )
    waiting = dataclasses.replace(
        student,
        student=1,
        state=states.StudentState.WAITING,
        waiting_for="a-host-with-a-long-name.cluster.example:2222",
    )

    text = shown([student, waiting], columns)

    assert max(map(len, text.splitlines())) <= columns
    assert "…" not in text
    for number in ("123456/1000000", "4,833", "6.3921", "597.1", "6.5000", "665.1"):
        assert text.count(number) >= 2, number
    words = "".join(text.split())
    assert "a-host-with-a-long-name.cluster.example:2222" in words
    for part in ("1:02:03", "CPU:ofatest", "wentonfromstep84", "1(20)", "SIGKILL"):
        assert part in words, part
    assert "4,833 tokens/s in total" in " ".join(text.split())  # One of two runs.


def test_line_for_a_log_has_all_numbers(run, begin):
    begin()

    line = status_view.line(status.read(run.root)[0])

    assert line.startswith("student 0: running, step 50/200, 4,833 tokens/s")
    assert "cross entropy 6.3921 (perplexity 597.1)" in line
    assert "\n" not in line
