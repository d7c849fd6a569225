"""Which trials go on, and what it costs."""

import math

import pytest

from lmcodistill import errors
from lmcodistill.experiments import halving


@pytest.mark.parametrize(
    ("steps", "expected"), [(800, [400, 800]), (9, [5, 9]), (2, [1, 2])]
)
def test_rungs_are_half_and_all_of_the_steps(steps, expected):
    assert halving.rungs(steps) == expected


def test_a_run_of_one_step_has_no_rungs():
    with pytest.raises(errors.UsageError, match="Give more steps"):
        halving.rungs(1)


@pytest.mark.parametrize(
    ("trials", "runs"),
    # 9 to half of the steps, 5 to the end.
    [(1, 1.0), (2, 1.5), (4, 3.0), (6, 4.5), (9, 9 / 2 + 5 / 2)],
)
def test_half_of_the_trials_go_on_at_each_rung(trials, runs):
    assert halving.work(trials, halving.rungs(400)) == runs * 400


def test_survivors_are_the_better_half_rounded_up_in_their_order():
    scores = {"a": 4.0, "b": 3.0, "c": 5.0, "d": 3.5, "e": 2.0}

    assert halving.survivors(scores) == ["b", "d", "e"]


def test_what_diverged_never_goes_on():
    inf = math.inf

    assert halving.survivors({"a": inf, "b": 3.0, "c": inf, "d": inf}) == ["b"]
    assert halving.survivors({"a": inf, "b": inf}) == []


def reports(**by_step):
    found = [{"kind": "train", "step": 40, "cross_entropy": 0.0}]
    for step, value in by_step.items():
        step = int(step.removeprefix("s"))
        found.append({"kind": "validation", "step": step, "cross_entropy": value})
    return found


def test_score_is_the_mean_of_the_last_tenth_of_the_steps():
    found = reports(s36=5.0, s38=4.0, s40=3.0, s42=2.0)

    assert halving.score(found, 40) == 3.5
    assert halving.score(found, 38) == 4.5


def test_a_score_that_is_not_finite_or_not_there_is_infinite():
    assert halving.score(reports(s38=4.0, s40=None), 40) == math.inf
    assert halving.score(reports(s20=4.0), 40) == math.inf
