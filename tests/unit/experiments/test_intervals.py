"""Statistics of few values, against tables and against draws."""

import math

import numpy as np
import pytest

from lmcodistill.experiments import intervals


@pytest.mark.parametrize(
    ("freedom", "expected"),
    # Printed tables, two-sided 5 %.
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042)]
    + [(40, 2.021), (60, 2.000), (120, 1.980)],
)
def test_quantiles_are_those_of_the_tables(freedom, expected):
    assert intervals.t_quantile(freedom) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 40])
@pytest.mark.parametrize("t", [0.0, 0.3, -2.0, 12.0])
def test_probability_beyond_a_t_is_the_integral_of_the_density(t, freedom):
    x = np.linspace(0.0, abs(t), 200_001)
    density = (1.0 + x**2 / freedom) ** (-(freedom + 1) / 2)
    gammas = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)
    density *= math.exp(gammas) / math.sqrt(freedom * math.pi)

    expected = 1.0 - 2.0 * np.trapezoid(density, x)
    assert intervals.t_probability(t, freedom) == pytest.approx(expected, abs=1e-9)


def test_interval_of_three_values_is_students():
    found = intervals.mean_interval([1.0, 2.0, 3.0])

    half = 4.302653 / math.sqrt(3)
    assert found.mean == 2.0
    assert found.high == pytest.approx(2.0 + half)
    assert found.low == pytest.approx(2.0 - half)
    assert not found.excludes_zero


def test_one_value_says_nothing_of_chance():
    found = intervals.mean_interval([-5.0])

    assert not found.excludes_zero
    assert intervals.p_value([-5.0]) == 1.0


def test_p_is_at_5_percent_where_the_interval_touches_zero():
    values = [1.0, 2.0, 4.0]
    low = intervals.mean_interval(values).low

    assert intervals.p_value([v - low for v in values]) == pytest.approx(0.05)
    assert intervals.p_value([low - v for v in values]) == pytest.approx(0.05)


def test_values_without_spread_are_certain_or_nothing():
    assert intervals.p_value([0.1, 0.1, 0.1]) == 0.0
    assert intervals.p_value([0.0, 0.0]) == 1.0


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    found = intervals.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})

    expected = {"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06}
    assert found == pytest.approx(expected)


def test_holm_keeps_false_differences_below_5_percent_among_ten_arms():
    rng = np.random.default_rng(0)

    def has_false_one():
        values = rng.normal(size=(10, 3))
        together = intervals.holm(
            {i: intervals.p_value(list(v)) for i, v in enumerate(values)}
        )
        return min(together.values()) <= 0.05

    rate = np.mean([has_false_one() for _ in range(1_000)])

    assert 0.02 < rate < 0.07  # Without correction it is 0.4.


def test_ratio_of_means_by_fieller():
    # By hand: means 4 and 8, variances 1 and 4, covariance 2 (b = 2 a exactly), so the
    # ratio is certain.
    found = intervals.ratio_interval([3.0, 4.0, 5.0], [6.0, 8.0, 10.0])

    assert found[:3] == pytest.approx((0.5, 0.5, 0.5))


def test_fiellers_interval_is_where_the_t_test_of_the_difference_turns():
    top, bottom = [0.03, 0.05, 0.04], [0.10, 0.16, 0.11]

    found = intervals.ratio_interval(top, bottom)

    for end in (found.low, found.high):
        rest = [a - end * b for a, b in zip(top, bottom, strict=True)]
        assert intervals.p_value(rest) == pytest.approx(0.05)
    assert found.low < found.mean < found.high


def test_ratio_to_what_may_be_zero_has_no_bounds():
    found = intervals.ratio_interval([1.0, 2.0, 3.0], [-1.0, 0.5, 1.0])

    assert not found.is_bounded
    assert found.to_json()["low"] is None


def test_fiellers_interval_holds_the_ratio_19_times_of_20():
    rng = np.random.default_rng(1)

    def holds():
        bottom = rng.normal(1.0, 0.05, size=3)
        found = intervals.ratio_interval(
            list(0.4 * bottom + rng.normal(0.0, 0.03, size=3)), list(bottom)
        )
        return found.low < 0.4 < found.high

    rate = np.mean([holds() for _ in range(1_000)])

    assert 0.93 < rate < 0.97


def test_ratios_are_averaged_by_their_logarithms():
    found = intervals.geometric_interval([0.5, 2.0])

    assert found.mean == pytest.approx(1.0)
    assert found.low * found.high == pytest.approx(1.0)
