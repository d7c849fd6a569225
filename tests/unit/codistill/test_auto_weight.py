"""The automatic weight: arithmetic of a share, and of a student that falls behind."""

import math

import numpy as np
import pytest

from lmcodistill.codistill import auto_weight


def measurement(student, teacher, truth):
    """Returns what labels, in just the truth's proportions, say of [N, V] each."""
    difference = teacher - student
    return auto_weight.Measurement(
        confirmed=float(((truth - student) * difference).sum()),
        disagreement=float((difference**2).sum()),
        student_nats=0.0,
        teacher_nats=0.0,
        tokens=float(len(truth)),
    )


def measured(student, teacher, truth):
    """Returns the weight for probabilities of many positions: [N, V] each."""
    found = auto_weight.AutoWeight(memory=0.0)
    found.observe(measurement(student, teacher, truth))
    return found.next(1.0)


def around(truth, size, seed):
    """Returns the truth with errors of its own; rows sum to what they did."""
    errors = np.random.default_rng(seed).normal(size=truth.shape) * size
    return truth + errors - errors.mean(1, keepdims=True)


TRUTH = np.full((20_000, 5), 0.2)


def test_two_equal_models_of_independent_errors_get_the_papers_weight():
    weight = measured(around(TRUTH, 0.05, 1), around(TRUTH, 0.05, 2), TRUTH)

    assert weight == pytest.approx(1.0, abs=0.05)


def test_two_equal_models_that_share_errors_get_it_too():
    # The student's error (a + b) and the teacher's (a + c): b and c of one size.
    shared = around(TRUTH, 0.05, 1) - TRUTH
    student = around(TRUTH, 0.02, 2) + shared
    teacher = around(TRUTH, 0.02, 3) + shared

    assert measured(student, teacher, TRUTH) == pytest.approx(1.0, abs=0.1)


def test_share_is_a_half_and_what_the_brier_scores_differ_by():
    rng = np.random.default_rng(0)
    student, teacher = (rng.dirichlet(np.ones(4), 50) for _ in range(2))
    labels = np.eye(4)[rng.integers(0, 4, 50)]
    found = auto_weight.AutoWeight(memory=0.0)
    found.observe(measurement(student, teacher, labels))

    brier = [((labels - x) ** 2).sum() for x in (student, teacher)]
    disagreement = ((teacher - student) ** 2).sum()
    expected = 0.5 + (brier[0] - brier[1]) / (2 * disagreement)

    assert found.share == pytest.approx(expected, rel=1e-12)


def test_a_teacher_that_only_adds_errors_gets_no_weight():
    student = around(TRUTH, 0.05, 1)

    weight = measured(student, around(student, 0.05, 2), TRUTH)

    assert weight == pytest.approx(0.0, abs=0.05)


def test_a_weaker_teacher_gets_less():
    # Errors twice as large: a fifth of the way towards it, 0.2 / 0.8.
    weight = measured(around(TRUTH, 0.05, 1), around(TRUTH, 0.1, 2), TRUTH)

    assert weight == pytest.approx(0.25, abs=0.03)


def test_a_teacher_that_knows_the_truth_gets_all_that_is_allowed():
    assert measured(around(TRUTH, 0.05, 1), TRUTH, TRUTH) == 1.0


def test_nothing_measured_is_no_weight():
    assert auto_weight.AutoWeight(memory=0.9).next(1.0) == 0.0


def test_the_limit_holds():
    assert measured_in_turn(limit=0.3, shares=[0.5], leads=[0.0]) == [0.3]


def test_older_measurements_fade():
    found = auto_weight.AutoWeight(memory=0.5)
    found.observe(auto_weight.Measurement(1.0, 1.0, 30.0, 20.0, 10))
    found.observe(auto_weight.Measurement(0.0, 1.0, 10.0, 20.0, 10))

    assert (found.confirmed, found.disagreement) == (0.5, 1.5)
    # (0.5 * 10 - 10) nats in 15 tokens.
    assert found.lead == pytest.approx(-1 / 3)
    assert found.share == pytest.approx(1 / 3)


def measured_in_turn(shares, leads, limit=1.0, memory=0.0):
    """Returns the weights after measurements of given shares and teachers' leads."""
    found, weights = auto_weight.AutoWeight(memory), []
    for share, lead in zip(shares, leads, strict=True):
        found.observe(
            auto_weight.Measurement(share, 1.0, 10 * (3.0 + lead), 10 * 3.0, 10)
        )
        weights.append(found.next(limit))
    return weights


def test_a_student_that_falls_behind_gets_no_rising_weight():
    # Ahead at a share of 1/5; then the labels confirm its teacher more and more.
    weights = measured_in_turn(shares=[0.2, 0.5, 0.9], leads=[-0.1, 0.1, 0.5])

    assert weights == pytest.approx([0.25, 0.25, 0.25])


def test_it_may_fall_while_the_student_is_behind():
    weights = measured_in_turn(shares=[0.4, 0.2], leads=[-0.1, 0.1])

    assert weights == pytest.approx([2 / 3, 0.25])


def test_it_rises_again_once_the_student_has_caught_up():
    weights = measured_in_turn(shares=[0.2, 0.5, 0.5], leads=[-0.1, 0.1, 0.0])

    assert weights == pytest.approx([0.25, 0.25, 1.0])


def test_a_student_that_catches_up_with_better_teachers_learns_all_it_may():
    weights = measured_in_turn(shares=[0.5, 0.5, 0.75], leads=[2.0, 1.0, 0.5], limit=9)

    # Nothing was taught before the first: it is not behind because of that.
    assert weights == pytest.approx([1.0, 1.0, 3.0])


def test_but_not_where_it_loses_ground_to_them():
    weights = measured_in_turn(shares=[0.5, 0.5, 0.75], leads=[2.0, 1.0, 1.1], limit=9)

    assert weights == pytest.approx([1.0, 1.0, 1.0])


def test_a_limit_that_grows_raises_nothing_while_the_student_falls_behind():
    found = auto_weight.AutoWeight(memory=0.0)
    found.observe(auto_weight.Measurement(0.5, 1.0, 29.0, 30.0, 10))
    before = found.next(0.1)
    found.observe(auto_weight.Measurement(0.5, 1.0, 31.0, 30.0, 10))

    assert (before, found.next(0.2)) == (0.1, 0.1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_told(bad):
    good = auto_weight.Measurement(1.0, 1.0, 1.0, 1.0, 10)

    assert good.is_finite
    assert not good._replace(teacher_nats=bad).is_finite
