"""Two students of two workers each: four real processes teach each other."""

import json
import re

import pytest

from tests.support import tiny_run

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def run_dir(finish, data_dir, tmp_path_factory):
    """A finished run, exports scheduled with a delay of two steps."""
    folder = tmp_path_factory.mktemp("two_by_two")
    finish(
        *tiny_run.train_arguments(
            *(data_dir, folder),
            DELAY_STEPS=2,
            # As where the device multiplies it itself.
            Distillation__teacher_compute_dtype="bfloat16",
        ),
        *("--workers_per_student", 2),
    )
    return folder


@pytest.mark.parametrize("student", [0, 1])
def test_replicas_of_a_group_end_bitwise_equal(run_dir, student):
    assert tiny_run.weights_of(run_dir, student, 0) == tiny_run.weights_of(
        run_dir, student, 1
    )


def test_students_do_not_end_alike(run_dir):
    assert tiny_run.weights_of(run_dir, 0) != tiny_run.weights_of(run_dir, 1)


@pytest.mark.parametrize("student", [0, 1])
@pytest.mark.parametrize("worker", [0, 1])
def test_every_worker_loads_the_teacher_that_the_schedule_implies(
    run_dir, student, worker
):
    pattern = r"step=(\d+) teacher=(\d+) export_step=(\d+) staleness=(\d+)"

    loaded = re.findall(pattern, tiny_run.log_of(run_dir, student, worker))

    # Step 2 looks at step 0, where nothing is published yet.
    peer = str(1 - student)
    assert loaded == [("4", peer, "2", "2"), ("6", peer, "4", "2")]


@pytest.mark.parametrize("student", [0, 1])
def test_distillation_starts_with_the_first_teacher(run_dir, student):
    by_step = {r["step"]: r for r in tiny_run.reports_of(run_dir, student, "train")}

    assert by_step[4]["distillation_loss"] is None
    assert (by_step[4]["taught_updates"], by_step[6]["taught_updates"]) == (0, 2)
    assert by_step[4]["distillation_weight"] == 0.0
    assert by_step[6]["distillation_loss"] > 0.0
    assert by_step[6]["teachers"] == [
        {"peer": 1 - student, "step": 2, "staleness_steps": 4}
    ]


@pytest.mark.parametrize("student", [0, 1])
def test_validation_cross_entropy_falls(run_dir, student):
    values = [
        r["cross_entropy"] for r in tiny_run.reports_of(run_dir, student, "validation")
    ]

    assert len(values) == 2
    assert values[1] < values[0]


def test_evaluate_scores_students_and_their_ensemble(finish, run_dir, data_dir):
    out = finish(
        *("evaluate", "--json", "--data_dir", data_dir),
        *("--export", run_dir / "students/0", "--export", run_dir / "students/1"),
    )

    results = json.loads(out)["results"]
    assert [r["name"] for r in results] == [
        "student 0, step 8",
        "student 1, step 8",
        "ensemble of 2",
    ]
    assert len({r["tokens"] for r in results}) == 1
    worst = max(r["cross_entropy"] for r in results[:2])
    assert results[2]["cross_entropy"] < worst


def test_status_reads_the_folder_alone(finish, run_dir):
    students = json.loads(finish("status", run_dir, "--json"))["students"]

    assert [(s["student"], s["step"], s["newest_export"]) for s in students] == [
        (0, 8, 8),
        (1, 8, 8),
    ]


def test_gradients_that_travel_narrow_keep_replicas_equal(
    finish, data_dir, tmp_path_factory
):
    ends = {}
    for dtype in ("float32", "bfloat16"):
        folder = tmp_path_factory.mktemp(dtype)
        finish(
            *tiny_run.train_arguments(
                *(data_dir, folder),
                students=1,
                TARGETS="none",
                Optimizer__all_reduce_dtype=dtype,
            ),
            *("--workers_per_student", 2),
        )
        ends[dtype] = [
            tiny_run.weights_of(folder, 0, 0),
            tiny_run.weights_of(folder, 0, 1),
            tiny_run.reports_of(folder, 0, "validation")[-1]["cross_entropy"],
        ]

    # Rounded, so other weights; but not worse ones.
    chief, other, score = ends["bfloat16"]
    assert chief == other != ends["float32"][0]
    assert score == pytest.approx(ends["float32"][2], abs=0.02)


def test_averaged_students_end_bitwise_equal(finish, data_dir, tmp_path):
    finish(
        *tiny_run.train_arguments(
            data_dir,
            tmp_path,
            TARGETS="none",
            AVERAGE_WEIGHTS=True,
            DELAY_STEPS=0,
            Training__shared_start=True,
            # Nothing is learnt any more after the last mean, at step 4.
            LearningRate__schedule="step",
            LearningRate__decay_start_step=4,
            LearningRate__decay_factor=0.0,
        ),
        *("--workers_per_student", 2),
    )

    assert "step=4 event=weights_averaged" in tiny_run.log_of(tmp_path, 1, 1)
    assert tiny_run.weights_of(tmp_path, 0) == tiny_run.weights_of(tmp_path, 1, 1)
