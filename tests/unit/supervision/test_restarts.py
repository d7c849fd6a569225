"""When a group is started again, after how long, and when no more."""

import pytest

from lmcodistill import errors
from lmcodistill.supervision import restarts


@pytest.mark.parametrize("code", [-9, -15, -11, 75, 143, 130])
def test_a_lost_or_stopped_worker_is_a_reason_to_start_again(code):
    assert restarts.helps(code)
    assert not restarts.concerns_all(code)


@pytest.mark.parametrize("error", [errors.UsageError, errors.DataError])
def test_what_is_wrong_for_one_student_is_wrong_for_all(error):
    assert restarts.concerns_all(error.exit_code)
    assert not restarts.helps(error.exit_code)


@pytest.mark.parametrize("code", [1, 4, 5, 42])
def test_any_other_failure_concerns_one_student(code):
    assert not restarts.concerns_all(code)
    assert not restarts.helps(code)


def test_pauses_double_up_to_a_minute():
    counted = restarts.Restarts(max_restarts=10)

    pauses = [counted.after_failure() for _ in range(10)]

    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_it_gives_up_after_the_last_allowed_restart():
    counted = restarts.Restarts(max_restarts=2)

    pauses = [counted.after_failure() for _ in range(3)]

    assert pauses == [0.5, 1.0, None]


def test_zero_restarts_give_up_at_once():
    assert restarts.Restarts(max_restarts=0).after_failure() is None


def test_a_newer_step_than_ever_forgives_all_failures():
    counted = restarts.Restarts(max_restarts=3)
    counted.reached(100)
    for _ in range(3):
        counted.after_failure()

    counted.reached(101)

    assert counted.after_failure() == 0.5


def test_coming_back_to_where_it_was_forgives_nothing():
    counted = restarts.Restarts(max_restarts=10)
    for step in (100, 117):
        counted.reached(step)
    counted.after_failure()

    for step in (100, 108, 117):
        counted.reached(step)

    assert counted.after_failure() == 1.0


def test_where_a_run_begins_is_no_progress():
    counted = restarts.Restarts(max_restarts=10)
    counted.after_failure()

    counted.reached(5_000)

    assert counted.after_failure() == 1.0
    assert counted.newest_step == 5_000
