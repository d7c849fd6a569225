import re
import xml.etree.ElementTree

import pytest

from lmcodistill.report import charts, style

LINE = charts.Series("one", [(0.0, 4.0), (100.0, 2.0)])


def draw(*series):
    return charts.line_chart(
        series, title="Losses", x_label="step", y_label="nats per token"
    )


def parsed(chart):
    """Returns a chart, that is a figure and its numbers, as elements."""
    return xml.etree.ElementTree.fromstring(f"<div>{chart}</div>")


def texts(chart):
    """Returns what stands in the drawing and in its legend."""
    root = parsed(chart)
    names = ["".join(item.itertext()) for item in root.iter("li")]
    return [element.text for element in root.iter("text")] + names


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
    root = parsed(draw(LINE))
    first, last = root.iter("circle")

    # The plot spans x from 68 to 704 in a drawing 720 wide; y grows downwards.
    assert (float(first.get("cx")), float(last.get("cx"))) == (68.0, 704.0)
    assert float(first.get("cy")) < float(last.get("cy"))


def test_values_that_are_not_finite_are_left_out():
    root = parsed(
        draw(charts.Series("one", [(0.0, 1.0), (1.0, float("nan")), (2.0, 3.0)]))
    )

    assert len(list(root.iter("circle"))) == 2


def test_chart_without_a_point_says_so():
    assert "No point was reported." in draw(charts.Series("one", []))


def test_names_are_escaped():
    figure = draw(charts.Series("<script>alert(1)</script>", [(0.0, 1.0)]))

    assert "<script" not in figure
    assert "<script>alert(1)</script>" in texts(figure)


def test_every_line_has_a_colour_on_the_screen_by_night_and_in_print():
    for index in range(charts.MAX_SERIES):
        assert len(re.findall(rf"\.chart \.s{index} {{", style.CHART)) == 3
    with pytest.raises(ValueError, match="7 lines"):
        draw(*[LINE] * (charts.MAX_SERIES + 1))


def test_only_points_and_bands_are_filled():
    filled = re.findall(r"(\S+) { fill: #", style.CHART)

    assert filled
    assert all(s.startswith(("circle.", ".band.")) for s in filled)


def test_lines_differ_without_colour():
    dashes = re.findall(r"\.line\.s(\d) { stroke-dasharray: ([\d ]+); }", style.CHART)

    assert len(dict(dashes).keys()) == charts.MAX_SERIES - 1  # One has none.
    assert len(set(dict(dashes).values())) == charts.MAX_SERIES - 1


def test_numbers_of_a_chart_stand_in_a_table_below_it():
    chart = draw(LINE, charts.Series("<two>", [(50.0, 3.0), (100.0, 1.5)]))
    [table] = parsed(chart).iter("table")

    rows = [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]
    assert rows == [
        ["step", "one", "<two>"],
        ["0", "4.0000", "-"],
        ["50", "-", "3.0000"],
        ["100", "2.0000", "1.5000"],
    ]
    assert "<details>" in chart


def test_a_drawing_says_what_it_shows():
    [figure] = parsed(draw(LINE)).iter("figure")
    drawing = next(x for x in figure.iter("svg") if x.get("role") == "img")

    assert drawing.get("aria-label") == "Losses: nats per token, by step"
    assert (
        "".join(figure.find("figcaption").itertext()) == "Lossesnats per token, by step"
    )
