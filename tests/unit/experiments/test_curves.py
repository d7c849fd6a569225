"""Curves: from reports, smoothed, and read between reports."""

import pytest

from lmcodistill.experiments import curves


def points(*values, period=10):
    """Returns a curve with a report every `period` steps; a step is 2 s."""
    steps = [period * i for i in range(1, len(values) + 1)]
    return [
        curves.Point(s, 100 * s, 2.0 * s, 4.0 * s, v)
        for s, v in zip(steps, values, strict=True)
    ]


def test_a_straight_stretch_stays_where_it_was_when_it_is_smoothed():
    straight = points(5.0, 4.0, 3.0, 2.0, 1.0)

    found = curves.smoothed(straight, 3)

    assert [(p.step, p.cross_entropy) for p in found] == [
        (20, 4.0),
        (30, 3.0),
        (40, 2.0),
    ]
    assert found[0].device_seconds == 80.0


@pytest.mark.parametrize(("width", "count"), [(0, 2), (1, 2), (2, 1), (9, 1)])
def test_a_short_curve_is_smoothed_as_far_as_it_goes(width, count):
    assert len(curves.smoothed(points(2.0, 1.0), width)) == count
    assert curves.smoothed([], width) == []


def test_a_curve_is_straight_between_two_reports():
    found = curves.first_at(points(5.0, 4.0, 3.0), 3.25)

    assert found == curves.Point(27.5, 2_750, 55.0, 110.0, 3.25)


def test_the_first_passage_counts_and_a_first_report_that_is_low_enough():
    curve = points(5.0, 3.0, 4.0, 2.0)

    assert curves.first_at(curve, 3.0).step == 20
    assert curves.first_at(curve, 6.0).step == 10
    with pytest.raises(ValueError, match="stays above"):
        curves.first_at(curve, 1.9)
    assert curves.best(points(3.0, 2.0, 2.0)).step == 20


def reports_of(*values, seconds=2.0):
    """Returns reports every 10 steps with these validation cross entropies."""
    found = []
    for i, value in enumerate(values, 1):
        found.append({"kind": "train", "step": 10 * i, "seconds": seconds})
        found.append({"kind": "validation", "step": 10 * i, "cross_entropy": value})
    return found


def test_curve_adds_up_seconds_and_counts_every_process():
    found = curves.curve(reports_of(5.0, 4.0), tokens_per_step=100, processes=4)

    assert found[-1] == curves.Point(20, 2_000, 4.0, 16.0, 4.0)


def test_time_between_two_reports_of_training_is_shared_out():
    found = [
        {"kind": "train", "step": 40, "seconds": 8.0},
        {"kind": "validation", "step": 10, "cross_entropy": 5.0},
    ]

    (point,) = curves.curve(found, tokens_per_step=1, processes=1)

    assert point.seconds == 2.0


def test_band_is_lowest_and_highest_of_the_seeds():
    by_seed = [points(5.0, 4.0), points(6.0, 3.0)]

    assert curves.band(by_seed, "step") == [
        (10, 5.5, 5.0, 6.0),
        (20, 3.5, 3.0, 4.0),
    ]


def test_curves_are_drawn_from_where_arms_differ_by_hundredths():
    rows = curves.band([points(*range(8, 0, -1))], "step")

    drawn = curves.without_first_quarter(rows)

    assert [row[0] for row in drawn] == [30, 40, 50, 60, 70, 80]
    assert curves.without_first_quarter(rows[:1]) == rows[:1]
