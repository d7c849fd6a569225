"""A checkpoint or an export of a running job, when somebody asks for one."""

import json
import signal

import pytest

from lmcodistill import errors
from lmcodistill.storage import layout, publication
from lmcodistill.supervision import status
from tests.support import tiny_run

pytestmark = pytest.mark.distributed


def checkpoints_of(run, student):
    folder = run.student(student).checkpoints
    return [x.step for x in publication.committed(folder, layout.CHECKPOINT)]


def answers_of(run_dir, student, worker=0, event="saved_as_asked"):
    """Returns the steps at which a worker says that it did what was asked."""
    lines = tiny_run.log_of(run_dir, student, worker).splitlines()
    return [
        int(line.split("step=")[1].split()[0])
        for line in lines
        if f"event={event}" in line
    ]


def test_both_workers_of_a_student_save_when_asked_and_go_on(start, data_dir, tmp_path):
    run = layout.RunLayout(tmp_path)
    process = start(
        *tiny_run.train_arguments(
            *(data_dir, tmp_path),
            NUM_TRAIN_STEPS=1_000_000,
            CHECKPOINT_EVERY_STEPS=1_000_000,
            EVALUATE_EVERY_STEPS=0,
        ),
        "--workers_per_student=2",
    )
    assert tiny_run.wait_until(
        lambda: all(tiny_run.step_of(tmp_path, student) > 4 for student in (0, 1))
    )

    run.checkpoint_now.touch()
    assert tiny_run.wait_until(
        lambda: checkpoints_of(run, 0) and checkpoints_of(run, 1)
    )
    run.student(1).checkpoint_now.touch()
    assert tiny_run.wait_until(lambda: len(answers_of(tmp_path, 1)) == 2)
    process.send_signal(signal.SIGUSR1)
    assert tiny_run.wait_until(lambda: len(answers_of(tmp_path, 0)) == 2)
    assert tiny_run.wait_until(lambda: len(answers_of(tmp_path, 1)) == 3)
    answered = answers_of(tmp_path, 0)
    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 0) > answered[-1])
    seen = status.read(tmp_path)

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == errors.StoppedError.exit_code, err
    for student in (0, 1):
        # The workers agreed on the steps.
        assert answers_of(tmp_path, student, 1) == answers_of(tmp_path, student)
    assert answers_of(tmp_path, 0) == answered == sorted(set(answered))
    assert checkpoints_of(run, 0)[0] == answered[-1]
    assert seen[0].asked_checkpoint == answered[-1]
    assert not list(tmp_path.rglob("checkpoint_now"))
    noted = [json.loads(line) for line in run.supervisor.read_text().splitlines()]
    asked = [x["student"] for x in noted if x["event"] == "save_asked"]
    assert sorted(asked) == [0, 0, 1, 1, 1]
    assert "event=save_asked student=0" in err


def test_chief_publishes_when_asked_and_goes_on(start, data_dir, tmp_path):
    run = layout.RunLayout(tmp_path)
    process = start(
        *tiny_run.train_arguments(
            *(data_dir, tmp_path),
            students=1,
            TARGETS="none",
            EXCHANGE_MODE="freshest",
            NUM_TRAIN_STEPS=1_000_000,
            PUBLISH_EVERY_STEPS=1_000_000,
            CHECKPOINT_EVERY_STEPS=1_000_000,
            EVALUATE_EVERY_STEPS=0,
        ),
        "--workers_per_student=2",
    )

    def published():
        return answers_of(tmp_path, 0, event="published_as_asked")

    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 0) > 4)

    run.student(0).export_now.touch()
    assert tiny_run.wait_until(lambda: len(published()) == 1)
    process.send_signal(signal.SIGUSR2)
    assert tiny_run.wait_until(lambda: len(published()) == 2)
    steps = published()
    assert tiny_run.wait_until(lambda: status.read(tmp_path)[0].asked_export)
    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 0) > steps[-1])

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == errors.StoppedError.exit_code, err
    exports = publication.committed(run.student(0).exports, layout.EXPORT)
    assert [x.step for x in exports] == steps
    assert not list(tmp_path.rglob("export_now"))
    assert err.count("event=export_asked student=0") == 2
