"""When something with a period is due."""

import pytest

from lmcodistill.training.hooks.every import Every


@pytest.mark.parametrize(
    ("period", "last", "expected"),
    [
        (4, 13, [4, 8, 12, 13]),  # The last whatever the period; never the first.
        (4, 12, [4, 8, 12]),
        (50, 3, [3]),
        (1, 3, [1, 2, 3]),
        (0, 13, []),
    ],
)
def test_steps_that_are_due(period, last, expected):
    every = Every(period, last)

    assert [step for step in range(last + 1) if every.is_due(step)] == expected
