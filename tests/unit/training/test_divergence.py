"""The guard: when to go on, when to go back, when to give up."""

import logging
import math

import pytest

from lmcodistill import errors
from lmcodistill.settings import training
from lmcodistill.training import divergence, step
from lmcodistill.training.divergence import Verdict

GO_ON, DROP, BACK = Verdict.GO_ON, Verdict.DROP_TEACHERS, Verdict.ROLL_BACK
NAN, INF = math.nan, math.inf


def totals(label=1.0, soft=0.0, theirs=0.0, norm=1.0):
    """Returns what an update reports."""
    is_finite = math.isfinite(label + soft + theirs + norm)
    zeros = dict.fromkeys(step.Totals._fields, 0.0)
    return step.Totals(
        **zeros
        | {
            "label_loss": label,
            "soft_loss": soft,
            "teacher_label_loss": theirs,
            "gradient_norm": norm,
            "skipped": 0.0 if is_finite else 1.0,
        }
    )


GOOD, BAD = totals(), totals(NAN, norm=NAN)


def a_guard(rollbacks=0, **changes):
    settings = {"max_skipped_updates": 3, "max_rollbacks": 2, **changes}
    return divergence.Guard(training.Training(num_train_steps=1, **settings), rollbacks)


def verdicts(guard, updates):
    return [guard.look(at, update) for at, update in enumerate(updates, start=1)]


def test_good_updates_go_on():
    assert verdicts(a_guard(), [GOOD] * 5) == [GO_ON] * 5


def test_so_many_in_a_row_are_skipped_and_one_more_rolls_back():
    assert verdicts(a_guard(), [GOOD] + [BAD] * 4) == [GO_ON] * 4 + [BACK]


def test_one_good_update_forgives_those_before():
    guard = a_guard()

    assert verdicts(guard, ([BAD] * 3 + [GOOD]) * 5) == [GO_ON] * 20
    assert guard.skipped_in_a_row == 0


def test_count_tells_that_the_state_is_no_good_one():
    guard = a_guard()
    verdicts(guard, [GOOD, BAD, BAD])

    assert guard.skipped_in_a_row == 2


def test_none_allowed_rolls_back_at_the_first():
    assert verdicts(a_guard(max_skipped_updates=0), [GOOD, BAD]) == [GO_ON, BACK]


@pytest.mark.parametrize("norm", [NAN, INF])
def test_gradient_alone_counts(norm):
    guard = a_guard(max_skipped_updates=0)

    assert guard.look(1, totals(norm=norm)) is BACK


@pytest.mark.parametrize(("soft", "theirs"), [(NAN, NAN), (INF, 1.0), (1.0, INF)])
def test_teachers_are_dropped_when_theirs_alone_is_not_finite(soft, theirs):
    update = totals(2.0, soft, theirs, norm=NAN)

    assert a_guard().look(1, update) is DROP


def test_teachers_are_not_blamed_for_the_students_own():
    assert a_guard().look(1, totals(NAN, NAN, NAN, NAN)) is GO_ON


def test_teachers_that_come_back_bad_end_in_a_rollback():
    update = totals(2.0, NAN, NAN, NAN)

    assert verdicts(a_guard(), [update] * 4) == [DROP] * 3 + [BACK]


def test_rollbacks_used_up_end_the_run_with_what_was_found_and_what_to_do():
    guard = a_guard(rollbacks=2)
    verdicts(guard, [BAD] * 3)

    with pytest.raises(errors.DivergedError) as caught:
        guard.look(7, totals(NAN, norm=INF))

    assert caught.value.exit_code == 5
    assert str(caught.value) == (
        "Training diverged at step 7: 4 updates in a row were not finite: the loss on "
        "the labels was nan, on the soft targets 0, the gradient norm inf. It went "
        "back to a checkpoint 2 times, and Training.max_rollbacks is 2. Nothing that "
        "is not finite was saved. Lower LEARNING_RATE, or clip gradients harder "
        "with Optimizer.clip_norm (0.0 never clips), and start the same command again "
        "with --accept_changed_config: it goes on from the last checkpoint, or from "
        "the beginning where there is none."
    )


def test_nothing_to_go_back_to_is_said():
    guard = a_guard(max_skipped_updates=0)
    guard.look(1, BAD)

    error = guard.gave_up("There is no checkpoint to go back to")

    assert "at step 1: 1 updates in a row" in str(error)
    assert "There is no checkpoint to go back to. Nothing" in str(error)


def test_cause_of_a_rollback_is_logged(caplog):
    guard = a_guard(rollbacks=1)
    with caplog.at_level(logging.WARNING, logger="lmcodistill"):
        guard.roll_back(9, "weight embedding is not finite")

    assert caplog.messages == [
        "step=9 event=rolling_back rollback=2 learning_rate_factor=0.25 "
        "cause=weight embedding is not finite"
    ]


@pytest.mark.parametrize(
    ("cross_entropy", "lost"), [(5.0, False), (13.0, False), (14.0, True), (NAN, True)]
)
def test_twice_the_entropy_of_a_guess_is_lost(cross_entropy, lost):
    # log 1000 is 6.9.
    assert divergence.is_lost(cross_entropy, 1000) is lost
