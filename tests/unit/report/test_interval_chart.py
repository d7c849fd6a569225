"""Differences with their intervals."""

import math
import xml.etree.ElementTree

import pytest

from lmcodistill.report import interval_chart


def draw(*estimates):
    chart = interval_chart.interval_chart(
        [interval_chart.IntervalRow(*e) for e in estimates],
        title="Differences",
        x_label="nats",
        negligible=0.005,
    )
    return xml.etree.ElementTree.fromstring(f"<div>{chart}</div>")


def attributes(root, look):
    return [x.attrib for x in root.iter() if look in x.get("class", "").split()]


def test_value_lies_within_its_interval_and_on_its_side_of_zero():
    root = draw(("<better>", -0.1, -0.12, -0.08), ("unclear", 0.0, -0.05, 0.05))

    (zero,) = attributes(root, "zero")
    better, unclear = (
        tuple(float(x[n]) for n in ("x1", "x2")) for x in attributes(root, "whisker")
    )
    points = [float(x.get("cx")) for x in root.iter("circle")]
    assert better[0] < points[0] < better[1] < float(zero["x1"])
    assert points[1] == pytest.approx(float(zero["x1"]), abs=0.1)
    assert unclear[0] < points[1] < unclear[1]
    assert "<better>" in {x.text for x in root.iter("text")}


def test_what_matters_to_no_one_is_shaded_around_zero():
    root = draw(("an arm", -0.02, -0.03, -0.01))

    (zone,), (zero,) = attributes(root, "zone"), attributes(root, "zero")
    middle = float(zone["x"]) + float(zone["width"]) / 2
    assert middle == pytest.approx(float(zero["x1"]), abs=0.1)


def test_one_seed_has_a_value_and_no_interval():
    root = draw(("an arm", -0.02, -math.inf, math.inf))

    assert attributes(root, "whisker") == []
    assert len(list(root.iter("circle"))) == 1
    cells = ["".join(c.itertext()) for c in list(root.iter("tr"))[1]]
    assert cells == ["an arm", "-0.0200", "-", "-"]


def test_nothing_to_compare_is_said():
    assert "nothing to compare" in "".join(draw().itertext())
