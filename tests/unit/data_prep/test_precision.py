"""How finely a small validation text tells models apart."""

import numpy as np
import pytest

from data_prep.tokens import precision


def test_standard_error_is_that_of_a_ratio_over_sources():
    # Two sources of 10 and 30 tokens, 2 and 1 nats each: the mean is 50 / 40. What is
    # left of the sums is 20 - 12.5 and 30 - 37.5, so sqrt(2 * (7.5^2 + 7.5^2)) / 40.
    error = precision.standard_error(np.array([20.0, 30.0]), np.array([10, 30]))

    assert error == pytest.approx(15.0 / 40.0)


def test_standard_error_agrees_with_other_draws_of_the_same_sources():
    rng = np.random.default_rng(0)
    lengths = rng.integers(50, 500, 400)
    losses = lengths * rng.normal(3.0, 0.5, 400)
    draws = rng.integers(0, 400, (2_000, 400))
    means = losses[draws].sum(1) / lengths[draws].sum(1)

    error = precision.standard_error(losses, lengths)

    # The spread over 2,000 bootstrap draws is known to 1.6 %.
    assert error == pytest.approx(means.std(), rel=0.06)


def test_one_source_has_no_standard_error():
    assert precision.standard_error(np.array([20.0]), np.array([10])) is None
