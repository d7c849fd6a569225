"""Checkpoints: the newest whole one counts, and the best ones stay."""

import os

import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.settings import training
from lmcodistill.storage import publication
from lmcodistill.training import checkpoints
from lmcodistill.training.checkpoints import Scored

MANIFEST = {"student": 0, "teachers": [{"peer": 1, "step": 50}]}


def values(step):
    return {
        "model/embedding": np.full([3, 2], step, np.float32),
        "state/layer_0/h": np.array([[np.pi, step]], np.float64),
    }


@pytest.fixture
def save(tmp_path):
    """Saves into the test's folder; all stay unless told otherwise."""

    def run(step, validation=None, generation=1, keep=10, best=0, **manifest):
        checkpoints.save(
            tmp_path,
            step,
            values(step),
            MANIFEST | manifest,
            training.Training(
                num_train_steps=1, keep_checkpoints=keep, keep_best_checkpoints=best
            ),
            owner=publication.Owner(generation, lambda: None),
            validation=validation,
        )

    return run


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def damage(folder, name):
    path = folder / name / "tensors" / "bundle.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[1] ^= 1
    path.write_bytes(content)


def test_checkpoint_comes_back_bit_for_bit(save, tmp_path):
    save(100, validation=3.5)

    found, manifest = checkpoints.load(checkpoints.newest(tmp_path))

    assert found.keys() == values(100).keys()
    for name, value in values(100).items():
        assert found[name].tobytes() == value.tobytes()
    assert manifest["teachers"] == MANIFEST["teachers"]
    assert manifest["validation_cross_entropy"] == 3.5


def test_newest_is_by_generation_and_step_not_by_time(save, tmp_path):
    for step, generation in ((100, 1), (300, 1), (200, 2), (150, 1)):
        save(step, generation=generation)

    assert checkpoints.newest(tmp_path).version == (2, 200)


class Other:
    """A worker that is not the chief, which says what it has."""

    is_chief = False

    def __init__(self, said):
        self._said = said

    def broadcast_json(self, value):
        assert value is None
        return self._said


def test_another_worker_takes_the_chiefs_checkpoint(save, tmp_path):
    save(100)
    newest = checkpoints.newest(tmp_path)

    other = Other(list(newest.version))

    assert checkpoints.newest_of_group(other, tmp_path, None) == newest
    assert checkpoints.newest_of_group(Other(None), tmp_path, None) is None


def test_only_so_many_are_kept(save, tmp_path):
    for step in (100, 200, 300):
        save(step, keep=2)

    assert names_in(tmp_path) == ["ckpt-000000200-i1", "ckpt-000000300-i1"]


def test_best_one_is_kept_beside_the_newest(save, tmp_path):
    scores = {100: 3.0, 200: 2.0, 300: None, 400: 2.5, 500: 4.0, 600: None}

    for step, score in scores.items():
        save(step, score, keep=2, best=1)

    assert names_in(tmp_path) == [
        "ckpt-000000200-i1",
        "ckpt-000000500-i1",
        "ckpt-000000600-i1",
    ]
    assert checkpoints.newest(tmp_path).step == 600


@pytest.mark.parametrize(
    ("found", "count", "expected"),
    [
        ([], 1, []),
        ([(1, 10, 2.0), (1, 20, 1.0), (1, 30, 3.0)], 0, []),
        ([(1, 10, 2.0), (1, 20, 1.0), (1, 30, 3.0)], 2, [20, 10]),
        ([(1, 10, 1.0), (1, 20, 1.0)], 1, [10]),
        ([(1, 10, None), (1, 20, None)], 1, []),
        ([(1, 10, float("nan")), (1, 20, 9.0)], 2, [20]),
        # Step 30 was given up when generation 2 went on from step 10.
        ([(1, 10, 3.0), (1, 30, 1.0), (2, 20, 2.0)], 1, [20]),
        ([(1, 10, 3.0), (1, 30, 1.0), (2, 40, 2.0)], 1, [30]),
    ],
)
def test_best_are_those_of_the_lowest_cross_entropy(found, count, expected):
    best = checkpoints.best_of([Scored(*f) for f in found], count)

    assert [b.step for b in best] == expected


def test_nothing_saved_is_no_checkpoint(tmp_path):
    assert checkpoints.newest(tmp_path) is None
    assert checkpoints.newest(tmp_path / "not there") is None


def test_damaged_newest_falls_back_to_the_one_before(save, tmp_path):
    for step in (100, 200, 300):
        save(step)
    damage(tmp_path, "ckpt-000000300-i1")

    assert checkpoints.newest(tmp_path).step == 200


def test_step_of_a_damaged_checkpoint_is_saved_again(save, tmp_path):
    for step in (100, 200):
        save(step)
    damage(tmp_path, "ckpt-000000200-i1")

    save(200, generation=2)

    assert checkpoints.newest(tmp_path).version == (2, 200)


def test_unfinished_newest_does_not_count(save, tmp_path):
    for step in (100, 200):
        save(step)
    os.unlink(tmp_path / "ckpt-000000200-i1" / publication.COMMIT_FILE)

    assert checkpoints.newest(tmp_path).step == 100


def test_none_usable_says_why_for_each(save, tmp_path):
    for step in (100, 200):
        save(step)
        damage(tmp_path, f"ckpt-{step:09d}-i1")

    with pytest.raises(
        errors.SnapshotError,
        match=r"None of the 2 checkpoints .*ckpt-000000200.*ckpt-000000100.* Remove",
    ):
        checkpoints.newest(tmp_path)


def test_other_format_is_refused(save, tmp_path):
    save(100, format_version=1)

    with pytest.raises(errors.SnapshotError, match="has format 1; this program reads"):
        checkpoints.load(checkpoints.newest(tmp_path))


def test_checkpoints_of_an_earlier_format_are_not_taken_for_a_new_run(tmp_path):
    (tmp_path / "ckpt-000000200").mkdir()

    with pytest.raises(errors.SnapshotError, match="ckpt-000000200; this program"):
        checkpoints.newest(tmp_path)


def test_storage_that_fails_is_no_reason_to_go_back_further(tmp_path, monkeypatch):
    def fails(*_):
        raise errors.SnapshotError("no answer", reason="storage")

    settings = training.Training(num_train_steps=9)
    owner = publication.Owner(1, lambda: None)
    values = {"a": np.zeros(1, np.float32)}
    checkpoints.save(tmp_path, 5, values, {}, settings, owner=owner)
    monkeypatch.setattr(publication, "verify", fails)

    with pytest.raises(errors.GroupLostError, match="no answer"):
        checkpoints.newest(tmp_path)
