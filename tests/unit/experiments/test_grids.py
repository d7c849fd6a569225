"""Grids of settings, and fair shares of their points."""

import collections

import pytest

from lmcodistill import errors
from lmcodistill.experiments import arms, grids

KNOWN = arms.standard(arms.Base(global_batch_size=32, num_train_steps=600))
TWO = grids.parse("LEARNING_RATE=4e-3, 8e-3,16e-3 ; DROPOUT=0,0.2", "tune")


def test_a_grid_is_every_value_with_every_other_as_written():
    assert TWO.size == 6
    assert TWO.points()[0] == (("LEARNING_RATE", "4e-3"), ("DROPOUT", "0"))
    assert len(set(TWO.points())) == 6


def test_no_knob_is_one_point_without_settings():
    assert grids.parse("", "tune").points() == [()]


def test_an_arms_own_values_replace_the_common_ones():
    name, own = grids.parse_own("codistilled:W=1,2;DROPOUT=0.4", KNOWN)

    grid = TWO + own

    assert name == "codistilled"
    assert dict(grid.knobs)["DROPOUT"] == ("0.4",)
    assert grid.size == 3 * 1 * 2


@pytest.mark.parametrize(
    "text",
    ["LEARNING_RATE", "=1", "A=", "A=1,,2", "A=1;A=2", "A B=1", "NUM_TRAIN_STEPS=1,2"]
    + ["Training.seed=1"],
)
def test_what_is_no_grid_is_refused(text):
    with pytest.raises(errors.UsageError, match="--tune="):
        grids.parse(text, "tune")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A=1,2", "expected ARM:KNOB"),
        ("nobody:A=1", "expected ARM:KNOB"),
        ("codistilled:", "expected ARM:KNOB"),
        ("ensemble:A=1", "scores the run of independent"),
    ],
)
def test_what_is_no_arms_grid_is_refused(text, reason):
    with pytest.raises(errors.UsageError, match=reason):
        grids.parse_own(text, KNOWN)


def test_what_makes_an_arm_cannot_be_tuned():
    grid = grids.parse("GLOBAL_BATCH_SIZE=16,32", "tune")

    grids.check(KNOWN["baseline"], grid)
    with pytest.raises(errors.UsageError, match="double_batch, which sets it itself"):
        grids.check(KNOWN["double_batch"], grid)


@pytest.mark.parametrize("seed", range(20))
def test_points_are_drawn_evenly(seed):
    grid = TWO + grids.parse("W=0.5,1,2", "tune")

    points = grids.drawn(grid.points(), 6, seed)

    assert len(set(points)) == 6
    times = collections.Counter(setting for point in points for setting in point)
    for name, values in grid.knobs:
        of_values = [times[name, value] for value in values]
        assert min(of_values) >= 1
        assert max(of_values) - min(of_values) <= 2


def test_points_are_drawn_by_the_seed_and_all_where_there_are_no_more():
    points = TWO.points()

    assert grids.drawn(points, 3) == grids.drawn(points, 3)
    assert len({tuple(grids.drawn(points, 3, seed)) for seed in range(20)}) > 1
    assert grids.drawn(points, 6) == grids.drawn(points, 99) == points


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((("LEARNING_RATE", "8e-3"), ("DROPOUT", "0")), []),
        ((("LEARNING_RATE", "16e-3"), ("DROPOUT", "0")), ["LEARNING_RATE (highest)"]),
        (
            (("LEARNING_RATE", "4e-3"), ("DROPOUT", "0.2")),
            ["LEARNING_RATE (lowest)", "DROPOUT (highest)"],
        ),
    ],
)
def test_the_ends_of_numbers_are_edges_but_not_what_is_off(point, expected):
    assert TWO.edges(point) == expected


@pytest.mark.parametrize("text", ["OPTIMIZER='adam','sgd'", "DROPOUT=0.3", "W=1,'x'"])
def test_words_and_single_values_have_no_edge(text):
    grid = grids.parse(text, "tune")

    assert [grid.edges(point) for point in grid.points()] == [[]] * grid.size
