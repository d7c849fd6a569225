"""What `compare` refuses before its first run: whatever `train` would."""

import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.experiments import arms, preflight, runs
from tests.support import small_data

KNOBS = (
    *("NUM_TRAIN_STEPS=4", "GLOBAL_BATCH_SIZE=2", "WINDOW=5"),
    *("PUBLISH_EVERY_STEPS=1", "RELOAD_EVERY_STEPS=1"),
)


@pytest.fixture
def check(tmp_path):
    """Checks a run of an arm, over data with a guide or without one."""

    def run(name, *knobs, guide=False):
        tokens = np.tile(np.arange(2, 12), 40)
        parts = [[tokens]] * 2
        data = small_data.write(
            tmp_path / "data", parts, [tokens], guide=[tokens] if guide else []
        )
        settings = runs.ComparisonSettings(
            tmp_path / "out", data, (), (*KNOBS, *knobs), 1, streams=2, window=5
        )
        known = arms.standard(arms.Base(global_batch_size=2, num_train_steps=4))
        arm = known[name] if "=" not in name else arms.variant(name, known)
        return preflight.config_of(settings, runs.ArmRun(settings, arm, 0))

    return run


def test_a_measured_weight_needs_a_guide(check):
    with pytest.raises(errors.UsageError, match="guide"):
        check("measured=codistilled WEIGHT_SCHEDULE=auto")


def test_a_measured_weight_with_a_guide_is_taken(check):
    check("two_phase", "WEIGHT_SCHEDULE=auto", guide=True)


def test_peers_of_a_measured_weight_need_text_that_is_read_twice(check):
    with pytest.raises(errors.UsageError, match="from step 39 on"):
        check("codistilled", "WEIGHT_SCHEDULE=auto", guide=True)


def test_peers_of_a_measured_weight_are_taken_where_it_is(check):
    check("codistilled", "WEIGHT_SCHEDULE=auto", "NUM_TRAIN_STEPS=40", guide=True)


def test_a_run_without_a_single_lesson_is_refused(check):
    with pytest.raises(errors.UsageError, match="no update would have a teacher"):
        check("codistilled", "BURN_IN_STEPS=4")


@pytest.mark.parametrize("arm", ["baseline", "two_phase", "chain", "codistilled"])
def test_arms_whose_teachers_are_yet_to_be_made_are_taken(check, arm):
    check(arm)


def test_a_measured_weight_where_nobody_teaches_is_refused(check):
    with pytest.raises(errors.UsageError, match="has none"):
        check("uniform_smoothing", "WEIGHT_SCHEDULE=auto", guide=True)


def test_a_batch_that_the_text_is_too_short_for_is_refused(check):
    with pytest.raises(errors.DataError, match="a batch of 4000 streams"):
        check("big=baseline GLOBAL_BATCH_SIZE=4000")
