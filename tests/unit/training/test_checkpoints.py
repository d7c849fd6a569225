"""Checkpoints: the newest whole one counts."""

import os

import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.storage import publication
from lmcodistill.training import checkpoints

MANIFEST = {"student": 0, "teachers": [{"peer": 1, "step": 50}]}


def values(step):
    return {
        "model/embedding": np.full([3, 2], step, np.float32),
        "state/layer_0/h": np.array([[np.pi, step]], np.float64),
    }


def save(folder, step, keep=10):
    checkpoints.save(folder, step, values(step), MANIFEST, keep)


def damage(folder, step):
    path = folder / f"ckpt-{step:09d}" / "tensors" / "bundle.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[1] ^= 1
    path.write_bytes(content)


def test_checkpoint_comes_back_bit_for_bit(tmp_path):
    save(tmp_path, 100)

    found, manifest = checkpoints.load(tmp_path, 100)

    assert found.keys() == values(100).keys()
    for name, value in values(100).items():
        assert found[name].tobytes() == value.tobytes()
    assert manifest["teachers"] == MANIFEST["teachers"]


def test_newest_is_by_step_not_by_time(tmp_path):
    for step in (100, 300, 200):
        save(tmp_path, step)

    assert checkpoints.newest_step(tmp_path) == 300


def test_only_so_many_are_kept(tmp_path):
    for step in (100, 200, 300):
        save(tmp_path, step, keep=2)

    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "ckpt-000000200",
        "ckpt-000000300",
    ]


def test_nothing_saved_is_no_step(tmp_path):
    assert checkpoints.newest_step(tmp_path) is None
    assert checkpoints.newest_step(tmp_path / "not there") is None


def test_damaged_newest_falls_back_to_the_one_before(tmp_path):
    for step in (100, 200, 300):
        save(tmp_path, step)
    damage(tmp_path, 300)

    assert checkpoints.newest_step(tmp_path) == 200


def test_step_of_a_damaged_checkpoint_is_saved_again(tmp_path):
    for step in (100, 200):
        save(tmp_path, step)
    damage(tmp_path, 200)

    save(tmp_path, 200)

    assert checkpoints.newest_step(tmp_path) == 200


def test_unfinished_newest_does_not_count(tmp_path):
    for step in (100, 200):
        save(tmp_path, step)
    os.unlink(tmp_path / "ckpt-000000200" / publication.MARKER)

    assert checkpoints.newest_step(tmp_path) == 100


def test_none_usable_says_why_for_each(tmp_path):
    for step in (100, 200):
        save(tmp_path, step)
        damage(tmp_path, step)

    with pytest.raises(
        errors.SnapshotError,
        match=r"None of the 2 checkpoints .*ckpt-000000200.*ckpt-000000100.* Remove",
    ):
        checkpoints.newest_step(tmp_path)


def test_other_format_is_refused(tmp_path):
    checkpoints.save(tmp_path, 100, values(100), {"format_version": 2}, keep=1)

    with pytest.raises(errors.SnapshotError, match="has format 2; this program reads"):
        checkpoints.load(tmp_path, 100)
