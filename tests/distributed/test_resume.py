"""Stopping, dying and going on: the outcome is the same, bit for bit."""

import json
import os
import pathlib
import signal
import socket
import subprocess

import pytest

from lmcodistill import errors
from tests.support import tiny_run

pytestmark = pytest.mark.distributed
# What is measured and carried on the guide is part of what goes on: three streams,
# so that two workers cannot share them evenly.
AUTO = {
    "WEIGHT_SCHEDULE": "auto",
    "DistillationWeight__auto_after_readings": 0,
    "DistillationWeight__auto_every_steps": 2,
    "DistillationWeight__auto_lanes": 3,
    # Teachers so near to their students that they are given a weight.
    "LEARNING_RATE": 0.003,
    "DELAY_STEPS": 2,
}
GUIDE_VALUES = ("auto_share", "guide_cross_entropy", "guide_teacher_cross_entropy")


def arguments(data_dir, folder, num_train_steps, **changes):
    changes = {**AUTO, "NUM_TRAIN_STEPS": num_train_steps, **changes}
    return tiny_run.train_arguments(data_dir, folder, **changes)


@pytest.fixture(scope="module")
def undisturbed(finish, data_dir, tmp_path_factory):
    """Twelve steps without an interruption."""
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(*arguments(data_dir, folder, 12))
    return folder


@pytest.fixture(scope="module")
def in_two_parts(finish, data_dir, tmp_path_factory):
    """Six steps, an end, and the same command to twelve, with all instruments."""
    folder = tmp_path_factory.mktemp("two_parts")
    finish(*arguments(data_dir, folder, 6))
    instruments = {
        "EVALUATE_TEACHERS": True,
        "Distillation.measure_gradients_every_steps": 4,
    }
    finish(*arguments(data_dir, folder, 12, **instruments))
    return folder


@pytest.mark.parametrize("student", [0, 1])
def test_six_steps_and_six_more_equal_twelve(
    finish, data_dir, undisturbed, in_two_parts, student
):
    assert tiny_run.weights_of(in_two_parts, student) == tiny_run.weights_of(
        undisturbed, student
    )


def test_reports_are_those_of_one_run(undisturbed, in_two_parts):
    for student in (0, 1):
        once = tiny_run.reports_of(undisturbed, student, "train")
        resumed = tiny_run.reports_of(in_two_parts, student, "train")

        assert [r["step"] for r in resumed] == [r["step"] for r in once]
        for value in ("cross_entropy", "distillation_weight", *GUIDE_VALUES):
            assert [r[value] for r in resumed] == [r[value] for r in once]
        # Measured before the stop, at step 6, and after it.
        assert all(r["auto_share"] is not None for r in once[2:])


def test_measured_weight_taught_somebody(undisturbed):
    weights = [
        report["distillation_weight"]
        for student in (0, 1)
        for report in tiny_run.reports_of(undisturbed, student, "train")
    ]

    assert max(weights) > 0.0


def test_run_that_was_stopped_at_a_step_goes_on_as_one(
    finish, data_dir, undisturbed, tmp_path
):
    # Step 5 is on none of the periods, and the exchange is scheduled.
    command = arguments(data_dir, tmp_path, 12)
    finish(*command, "--gin.Training.stop_at_step=5")

    for kind in ("train", "validation"):
        assert tiny_run.reports_of(tmp_path, 0, kind)[-1]["step"] == 5
    assert tiny_run.result_of(tmp_path, 0)["outcome"] == "done"
    finish(*command)
    for student in (0, 1):
        assert tiny_run.weights_of(tmp_path, student) == tiny_run.weights_of(
            undisturbed, student
        )


def test_instruments_tell_what_they_measured(in_two_parts):
    for student in (0, 1):
        angles = tiny_run.reports_of(in_two_parts, student, "gradients")
        scores = tiny_run.reports_of(in_two_parts, student, "validation")

        assert [angle["step"] for angle in angles] == [8]
        for angle in angles:
            assert -1.0 <= angle["cosine"] <= 1.0
            assert min(angle["label_norm"], angle["soft_norm"]) > 0.0
        told = [score["step"] for score in scores if "teachers" in score]
        assert told == [8, 12]  # Not before the instruments were on.
        (teacher,) = scores[-1]["teachers"]
        assert teacher["peer"] == 1 - student
        # The logarithm of a mean is above the mean of the logarithms.
        both = (scores[-1]["cross_entropy"] + teacher["cross_entropy"]) / 2
        assert scores[-1]["ensemble_cross_entropy"] < both


def test_another_number_of_workers_goes_on_from_the_same_streams(
    finish, data_dir, undisturbed, in_two_parts
):
    finish(*arguments(data_dir, undisturbed, 14))
    finish(*arguments(data_dir, in_two_parts, 14), *("--workers_per_student", 2))

    one, two = (
        tiny_run.reports_of(folder, 0, "train")[-1]
        for folder in (undisturbed, in_two_parts)
    )
    assert one["step"] == two["step"] == 14
    assert "event=restored" in tiny_run.log_of(in_two_parts, 0, 1)
    # Two workers share three streams of the guide: the sums are those of one.
    for value in GUIDE_VALUES:
        assert two[value] == pytest.approx(one[value], rel=1e-4)


def test_finished_run_goes_on_with_more_steps_though_its_rate_fell_to_the_end(
    start, data_dir, tmp_path
):
    def train(num_train_steps, **changes):
        cosine = {
            "LearningRate.schedule": "'cosine'",
            "LearningRate.decay_end_step": "%NUM_TRAIN_STEPS",
        }
        process = start(
            *tiny_run.train_arguments(
                *(data_dir, tmp_path),
                students=1,
                **{"NUM_TRAIN_STEPS": num_train_steps, "TARGETS": "none"},
                **cosine | changes,
            )
        )
        _, err = process.communicate(timeout=200)
        return process.returncode, err

    first, longer, other = train(6), train(12), train(14, SEED=5)

    assert (first[0], longer[0]) == (0, 0), longer[1]
    assert "goes on with LearningRate.decay_end_step = 12, which was 6" in longer[1]
    log = tiny_run.log_of(tmp_path, 0, 0)
    assert "step=6 event=restored" in log
    reports = tiny_run.reports_of(tmp_path, 0, "train")
    assert [report["step"] for report in reports] == [2, 4, 6, 8, 10, 12]
    rates = {report["step"]: report["learning_rate"] for report in reports}
    # The update of step 7 by hand: 0.02 * (1 + cos(pi * 7 / 12)) / 2.
    assert rates[8] == pytest.approx(0.007412, rel=1e-3)
    # A change that is none of the length is refused as ever.
    assert other[0] == errors.UsageError.exit_code
    assert "Training.seed: was 0, now 5" in other[1]
    assert "decay_end_step" not in other[1]


def test_ctrl_c_saves_stops_and_leaves_no_orphan(start, data_dir, tmp_path):
    many_steps = 100_000
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path, NUM_TRAIN_STEPS=many_steps)
    )
    assert tiny_run.wait_until(
        lambda: tiny_run.step_of(tmp_path, 0) > 0 and tiny_run.step_of(tmp_path, 1) > 0
    )

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)

    assert process.returncode == errors.StoppedError.exit_code, err
    assert "the same command goes on from here" in err.splitlines()[-1]
    assert tiny_run.processes_of(tmp_path) == []
    checkpoints = list((tmp_path / "students/0/checkpoints").glob("ckpt-*/COMMITTED"))
    assert checkpoints


def test_a_killed_launcher_leaves_no_orphan(start, data_dir, tmp_path):
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path, NUM_TRAIN_STEPS=100_000)
    )
    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 0) > 0)

    process.kill()
    process.communicate()

    assert tiny_run.wait_until(lambda: tiny_run.processes_of(tmp_path) == [])


def test_without_restarts_a_killed_worker_ends_the_run_and_is_named(
    start, data_dir, tmp_path
):
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path, NUM_TRAIN_STEPS=100_000),
        "--max_restarts=0",
    )
    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 0) > 0)
    victims = [
        pid
        for pid in tiny_run.processes_of(tmp_path)
        if b"--student\x001" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    ]

    os.kill(victims[0], signal.SIGKILL)
    _, err = process.communicate(timeout=120)

    assert process.returncode == errors.GroupLostError.exit_code
    assert "Student 1, worker 0 was ended by SIGKILL" in err
    assert tiny_run.processes_of(tmp_path) == []


def test_another_configuration_is_refused_with_the_difference(
    start, data_dir, undisturbed
):
    process = start(*arguments(data_dir, undisturbed, 14, BURN_IN_STEPS=3))

    _, err = process.communicate(timeout=60)

    assert process.returncode == errors.UsageError.exit_code
    assert "DistillationWeight.burn_in_steps: was 2, now 3" in err
    assert "--accept_changed_config" in err


def test_a_taken_port_is_named(start, data_dir, tmp_path):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = {
            "cluster": {"worker": [f"127.0.0.1:{port}"]},
            "task": {"type": "worker", "index": 0},
        }
        process = start(
            *tiny_run.train_arguments(data_dir, tmp_path),
            *("--student", 0),
            TF_CONFIG=json.dumps(config),
        )
        _, err = process.communicate(timeout=60)

    assert process.returncode == errors.GroupLostError.exit_code
    assert f"Port {port}" in err
    assert "Traceback" not in err


def test_output_is_one_json_object(undisturbed, data_dir, start):
    process: subprocess.Popen = start(
        *arguments(data_dir, undisturbed, 14),
        "--json",
        "--dry_run",
    )

    out, _ = process.communicate(timeout=60)

    assert out.count("\n") == 1
    assert out.startswith("{")
