"""Words and tables of a comparison."""

import dataclasses

import pytest

from lmcodistill.experiments import intervals, verdicts


@pytest.mark.parametrize(
    ("value", "spread", "words"),
    [
        (3.9, 0.001, "better than the baseline"),
        (4.1, 0.001, "worse than the baseline"),
        (3.9, 0.2, "no difference from the baseline that these seeds can show"),
        (3.999, 0.0, "no difference from the baseline that matters"),
        # The interval is within 0.005 and has zero inside.
        (4.0, 0.001, "no difference from the baseline that matters"),
        # A mean below 0.005, but not the interval: 0.001 to 0.007.
        (4.004, 0.00121, "worse than the baseline"),
    ],
)
def test_conclusion_follows_from_the_interval(compared, around, value, spread, words):
    found = compared(baseline=around(4.0), codistilled=around(value, spread))

    assert words in verdicts.conclusion(found["codistilled"])


def test_a_difference_that_does_not_stay_among_several_is_not_shown(compared, around):
    trials = {"baseline": around(4.0), "codistilled": around(3.9, 0.035)}
    alone = compared(**trials)["codistilled"]

    among_three = compared(
        **trials, two_phase=around(4.0, 0.1), double_batch=around(4.0, 0.1)
    )["codistilled"]

    assert verdicts.finding(alone) is verdicts.Finding.BETTER
    assert among_three.difference == alone.difference
    assert verdicts.finding(among_three) is verdicts.Finding.NOT_SHOWN
    assert "one of 3 arms may do so by chance" in verdicts.conclusion(among_three)


def test_conclusion_of_one_seed_asks_for_more(compared, trial):
    found = compared(baseline=[trial(4.0)], codistilled=[trial(3.0)])

    assert "give more --seeds" in verdicts.conclusion(found["codistilled"])


def test_conclusion_says_how_soon_and_how_much_of_the_ensemble(compared, around):
    found = compared(
        baseline=around(4.0),
        ensemble=around(3.8),
        codistilled=around(3.9, 0.001, first=3.95),
    )["codistilled"]

    said = verdicts.conclusion(found)

    assert "as good as the baseline's best after 10 steps, 2.00 times fewer" in said
    assert "it keeps 0.50 of what the ensemble gains" in said


def test_conclusion_counts_seeds_that_never_came_down(compared, around, trial):
    codistilled = [
        dataclasses.replace(trial(5.0, last), cross_entropy=3.9)
        for last in (3.9, 4.1, 4.2)
    ]

    found = compared(baseline=around(4.0), codistilled=codistilled)["codistilled"]

    assert "1 of 3 seeds came down to the baseline's best" in verdicts.conclusion(found)


def test_the_reference_is_called_by_its_name(compared, around):
    found = compared(double_batch=around(4.0), codistilled=around(3.9, 0.001))

    assert "better than double_batch" in verdicts.conclusion(found["codistilled"])


def test_fewer_and_more_steps_are_told_apart():
    fewer = intervals.Interval(2.0, 1.6, 2.5, 3)
    more = intervals.Interval(0.5, 0.4, 0.625, 3)

    assert verdicts._times(fewer) == "2.00 times fewer (1.60 to 2.50)"
    assert verdicts._times(more) == "2.00 times more (1.60 to 2.50)"


def test_every_row_of_the_tables_has_every_column(compared, around, trial):
    no_curve = [dataclasses.replace(t, points=[]) for t in around(3.8)]
    several = compared(baseline=around(4.0), codistilled=around(3.9), ensemble=no_curve)
    one = compared(baseline=[trial(4.0)], codistilled=[trial(3.0)])
    found = [*several.values(), *one.values()]

    assert {len(verdicts.quality_row(r)) for r in found} == {len(verdicts.QUALITY)}
    assert {len(verdicts.cost_row(r)) for r in found} == {len(verdicts.COST)}
    assert {len(verdicts.brief_row(r)) for r in found} == {len(verdicts.BRIEF)}
    assert not any("inf" in cell for r in found for cell in verdicts.cost_row(r))
