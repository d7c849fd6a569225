"""Runs that really diverge: what is given up, what recovers, what is never saved."""

import pathlib

import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.storage import publication, tensors
from tests.support import tiny_run

pytestmark = pytest.mark.distributed

# Plain gradient descent without clipping diverges at any such rate.
WILD = 1e25
PLAIN = {
    "TARGETS": "none",
    "OPTIMIZER": "sgd",
    "Optimizer.clip_norm": 0.0,
    "PUBLISH_EVERY_STEPS": 1,
    "Training.max_skipped_updates": 2,
}


def arguments(data_dir, run_dir, **changes):
    return tiny_run.train_arguments(data_dir, run_dir, students=1, **PLAIN | changes)


@pytest.fixture
def well_begun(finish, data_dir, tmp_path):
    """A run whose four steps at a good rate are saved."""
    finish(*arguments(data_dir, tmp_path, NUM_TRAIN_STEPS=4))
    return tmp_path


def snapshots_of(run_dir, kind, prefix):
    return publication.committed(run_dir / "students/0" / kind, prefix)


def not_finite(run_dir: pathlib.Path) -> list[str]:
    """Returns the exports and checkpoints with a tensor that is not finite."""
    spoilt = []
    for index in sorted(run_dir.rglob("*.index")):
        values = tensors.read(index.with_suffix(""))
        if not all(np.isfinite(value).all() for value in values.values()):
            spoilt.append(str(index))
    assert list(run_dir.rglob("*.index"))
    return spoilt


def end(process) -> tuple[int, str]:
    _, err = process.communicate(timeout=300)
    return process.returncode, err


def test_run_that_diverges_before_its_first_checkpoint_ends(start, data_dir, tmp_path):
    code, err = end(start(*arguments(data_dir, tmp_path, LEARNING_RATE=WILD)))

    assert code == errors.DivergedError.exit_code
    assert "3 updates in a row were not finite" in err
    assert "There is no checkpoint to go back to" in err
    assert snapshots_of(tmp_path, "checkpoints", "ckpt") == []
    assert not_finite(tmp_path) == []


def test_run_whose_rollbacks_do_not_help_ends_and_keeps_its_good_checkpoint(
    start, data_dir, well_begun
):
    changed = {"LEARNING_RATE": WILD, "NUM_TRAIN_STEPS": 40}
    code, err = end(
        start(*arguments(data_dir, well_begun, **changed), "--accept_changed_config")
    )

    log = tiny_run.log_of(well_begun, 0)
    assert code == errors.DivergedError.exit_code
    assert "It went back to a checkpoint 2 times" in err
    assert "rollback=1 learning_rate_factor=0.5 cause=3 updates in a row" in log
    assert "rollback=2 learning_rate_factor=0.25" in log
    assert [s.step for s in snapshots_of(well_begun, "checkpoints", "ckpt")] == [4]
    assert not_finite(well_begun) == []


def test_run_whose_rollback_helps_goes_on_at_the_lower_rate(
    start, finish, data_dir, well_begun
):
    changed = {
        "LEARNING_RATE": WILD,
        "NUM_TRAIN_STEPS": 12,
        "Training.rollback_rate_factor": 1e-27,
    }
    finish(*arguments(data_dir, well_begun, **changed), "--accept_changed_config")
    finish(*arguments(data_dir, well_begun, **changed | {"NUM_TRAIN_STEPS": 14}))

    log = tiny_run.log_of(well_begun, 0)
    reports = tiny_run.reports_of(well_begun, 0, "train")
    newest = snapshots_of(well_begun, "checkpoints", "ckpt")[-1]
    assert log.count("event=rolling_back") == 1
    assert [r["step"] for r in reports] == [2, 4, 6, 8, 10, 12, 14]
    assert [r["skipped_updates"] for r in reports] == [0] * 7
    assert [r["learning_rate"] for r in reports[2:]] == pytest.approx([0.01] * 5)
    assert (newest.step, newest.manifest()["rollbacks"]) == (14, 1)
    assert not_finite(well_begun) == []


@pytest.mark.parametrize("update", [5, 8])
def test_weights_spoilt_on_two_workers_are_never_saved(
    finish, data_dir, tmp_path, update
):
    # The eighth update ends in a checkpoint and in an export.
    finish(
        *arguments(data_dir, tmp_path, NUM_TRAIN_STEPS=16),
        *("--workers_per_student", 2),
        LMCODISTILL_FAULT=f"update.rate@{update}:nan",
    )

    log = tiny_run.log_of(tmp_path, 0)
    assert log.count("event=rolling_back") == 1
    assert "step=4 event=restored" in log
    assert tiny_run.weights_of(tmp_path, 0) == tiny_run.weights_of(
        tmp_path, 0, worker=1
    )
    assert tiny_run.reports_of(tmp_path, 0, "train")[-1]["step"] == 16
    assert not_finite(tmp_path) == []


def test_best_checkpoint_is_kept(finish, data_dir, tmp_path):
    # Training goes well until step 4 and then badly, but finitely.
    finish(*arguments(data_dir, tmp_path, NUM_TRAIN_STEPS=4, PUBLISH_EVERY_STEPS=4))
    finish(
        *arguments(
            *(data_dir, tmp_path),
            **{"NUM_TRAIN_STEPS": 20, "LEARNING_RATE": 100.0},
        ),
        "--accept_changed_config",
    )

    manifests = [s.manifest() for s in snapshots_of(tmp_path, "checkpoints", "ckpt")]
    scores = {m["step"]: m["validation_cross_entropy"] for m in manifests}
    assert list(scores) == [4, 16, 20]
    assert min(scores, key=scores.get) == 4
    reported = {
        r["step"]: r["cross_entropy"]
        for r in tiny_run.reports_of(tmp_path, 0, "validation")
    }
    assert scores.items() <= reported.items()
