"""Streams may be split over workers or over passes: the update has the same bits."""

import pytest

from tests.support import tiny_run

pytestmark = pytest.mark.distributed


def trained(finish, data_dir, folder, workers, passes, num_train_steps=6):
    """Returns the digest of a student's weights, which a peer has taught."""
    changes = {
        "NUM_TRAIN_STEPS": num_train_steps,
        "DROPOUT": 0.3,
        "MICRO_BATCHES": passes,
    }
    command = tiny_run.train_arguments(data_dir, folder, **changes)
    finish(*command, "--workers_per_student", workers)
    return tiny_run.weights_of(folder, 0)


def test_two_passes_of_one_worker_are_one_of_two(finish, data_dir, tmp_path):
    one_of_two = trained(finish, data_dir, tmp_path / "workers", 2, 1)
    two_of_one = trained(finish, data_dir, tmp_path / "passes", 1, 2)

    assert two_of_one == one_of_two


def test_a_run_goes_on_with_more_passes(finish, data_dir, tmp_path):
    trained(finish, data_dir, tmp_path, 1, 1, num_train_steps=3)
    trained(finish, data_dir, tmp_path, 1, 2)

    assert tiny_run.step_of(tmp_path, 0) == 6
