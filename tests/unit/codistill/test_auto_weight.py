"""The automatic weight: arithmetic of a share."""

import numpy as np
import pytest

from lmcodistill.codistill import auto_weight


def measured(student, teacher, truth):
    """Returns the weight for probabilities of many positions: [N, V] each.

    Labels are drawn from the truth, exactly in its proportions.
    """
    difference = teacher - student
    found = auto_weight.AutoWeight(memory=0.0)
    found.observe(
        float(((truth - student) * difference).sum()), float((difference**2).sum())
    )
    return found.at_most(1.0)


def around(truth, size, seed):
    """Returns the truth with errors of its own; rows sum to what they did."""
    errors = np.random.default_rng(seed).normal(size=truth.shape) * size
    return truth + errors - errors.mean(1, keepdims=True)


TRUTH = np.full((20_000, 5), 0.2)


def test_two_equal_models_of_independent_errors_get_the_papers_weight():
    weight = measured(around(TRUTH, 0.05, 1), around(TRUTH, 0.05, 2), TRUTH)

    assert weight == pytest.approx(1.0, abs=0.05)


def test_a_teacher_that_only_adds_errors_gets_no_weight():
    student = around(TRUTH, 0.05, 1)

    weight = measured(student, around(student, 0.05, 2), TRUTH)

    assert weight == pytest.approx(0.0, abs=0.05)


def test_a_weaker_teacher_gets_less():
    # Errors twice as large: a fifth of the way towards it, 0.2 / 0.8.
    weight = measured(around(TRUTH, 0.05, 1), around(TRUTH, 0.1, 2), TRUTH)

    assert weight == pytest.approx(0.25, abs=0.03)


def test_a_student_that_knows_the_text_by_heart_is_left_alone():
    truth = np.eye(5)[np.arange(100) % 5]

    assert measured(truth, np.full_like(truth, 0.2), truth) == 0.0


def test_a_teacher_that_knows_the_truth_gets_all_that_is_allowed():
    assert measured(around(TRUTH, 0.05, 1), TRUTH, TRUTH) == 1.0


def test_nothing_measured_is_no_weight():
    assert auto_weight.AutoWeight(memory=0.9).at_most(1.0) == 0.0


def test_the_limit_holds():
    found = auto_weight.AutoWeight(memory=0.0)
    found.observe(0.5, 1.0)

    assert found.at_most(0.3) == 0.3


def test_older_measurements_fade():
    found = auto_weight.AutoWeight(memory=0.5)
    found.observe(1.0, 1.0)
    found.observe(0.0, 1.0)

    assert found.confirmed == 0.5
    assert found.disagreement == 1.5
