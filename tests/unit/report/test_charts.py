import re
import xml.etree.ElementTree

import pytest

from lmcodistill.report import charts

LINE = charts.Series("one", [(0.0, 4.0), (100.0, 2.0)])


def draw(*series):
    return charts.line_chart(
        series, title="Losses", x_label="step", y_label="nats per token"
    )


def texts(figure):
    root = xml.etree.ElementTree.fromstring(figure)
    return [element.text for element in root.iter("text")]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 10.0, [0, 2, 4, 6, 8, 10]),
        (4.1, 5.9, [4.0, 4.5, 5.0, 5.5, 6.0]),
        (0.0, 0.3, [0.0, 0.1, 0.2, 0.3]),
        (5.0, 5.0, [4.4, 4.6, 4.8, 5.0, 5.2, 5.4, 5.6]),
        (0.0, 0.0, [-1.0, -0.5, 0.0, 0.5, 1.0]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low, high, expected):
    found = charts.ticks(low, high)

    assert found[0] <= low
    assert found[-1] >= high
    assert len(found) <= 8
    steps = {round(b - a, 9) for a, b in zip(found, found[1:], strict=False)}
    assert len(steps) == 1
    if (low, high) in [(0.0, 10.0), (4.1, 5.9), (0.0, 0.0)]:
        assert found == expected


def test_chart_is_well_formed_and_names_its_axes_and_lines():
    found = texts(draw(LINE, charts.Series("two", [(0.0, 3.0)], dashed=True)))

    assert {"step", "nats per token", "one", "two", "0", "100"} <= set(found)


def test_points_stand_where_their_values_are():
    root = xml.etree.ElementTree.fromstring(draw(LINE))
    first, last = root.iter("circle")

    # The plot spans x from 64 to 704 in a drawing 720 wide; y grows downwards.
    assert (float(first.get("cx")), float(last.get("cx"))) == (64.0, 704.0)
    assert float(first.get("cy")) < float(last.get("cy"))


def test_values_that_are_not_finite_are_left_out():
    root = xml.etree.ElementTree.fromstring(
        draw(charts.Series("one", [(0.0, 1.0), (1.0, float("nan")), (2.0, 3.0)]))
    )

    assert len(list(root.iter("circle"))) == 2


def test_chart_without_a_point_says_so():
    assert "No point was reported." in draw(charts.Series("one", []))


def test_names_are_escaped():
    figure = draw(charts.Series("<script>alert(1)</script>", [(0.0, 1.0)]))

    assert "<script" not in figure
    assert "<script>alert(1)</script>" in texts(figure)


def test_every_line_has_a_colour_on_both_papers():
    for index in range(charts.MAX_SERIES):
        assert len(re.findall(rf"\.chart \.s{index} {{", charts.STYLE)) == 2
    with pytest.raises(ValueError, match="7 lines"):
        draw(*[LINE] * (charts.MAX_SERIES + 1))


def test_only_points_and_bands_are_filled():
    filled = re.findall(r"(\S+) { fill: #", charts.STYLE)

    assert filled
    assert all(s.startswith(("circle.", ".band.")) for s in filled)


def test_long_legend_goes_on_in_a_second_line():
    names = [f"a line with a rather long name, number {i}" for i in range(3)]
    root = xml.etree.ElementTree.fromstring(
        draw(*[charts.Series(name, [(0.0, 1.0)]) for name in names])
    )

    heights = {t.get("y") for t in root.iter("text") if t.text in names}
    assert len(heights) > 1
