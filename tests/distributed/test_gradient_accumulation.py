"""Streams may be split over workers or over passes: the update has the same bits."""

import pytest

from tests.support import tiny_run

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def teacher(finish, data_dir, tmp_path_factory):
    """A student whose exports teach."""
    folder = tmp_path_factory.mktemp("teacher")
    finish(*tiny_run.train_arguments(data_dir, folder, students=1, TARGETS="none"))
    return folder / "students/0"


@pytest.fixture
def trained(finish, data_dir, teacher):
    """Trains a student that is taught; returns the digest of its weights."""

    def train(folder, workers, passes, num_train_steps=6):
        command = tiny_run.train_arguments(
            *(data_dir, folder),
            students=1,
            TARGETS="offline",
            OFFLINE_EXPORTS=f"('{teacher}',)",
            NUM_TRAIN_STEPS=num_train_steps,
            DROPOUT=0.3,
            MICRO_BATCHES=passes,
        )
        finish(*command, "--workers_per_student", workers)
        last = tiny_run.reports_of(folder, 0, "train")[-1]
        assert last["distillation_loss"] > 0.0
        return tiny_run.weights_of(folder, 0)

    return train


def test_two_passes_of_one_worker_are_one_of_two(trained, tmp_path):
    one_of_two = trained(tmp_path / "workers", 2, 1)
    two_of_one = trained(tmp_path / "passes", 1, 2)

    assert two_of_one == one_of_two


def test_a_run_goes_on_with_more_passes(trained, tmp_path):
    trained(tmp_path, 1, 1, num_train_steps=3)
    trained(tmp_path, 1, 2)

    assert tiny_run.step_of(tmp_path, 0) == 6
