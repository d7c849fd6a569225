"""Histograms: columns as high as what they stand for."""

import xml.etree.ElementTree

from lmcodistill.report import charts


def parsed(chart):
    return xml.etree.ElementTree.fromstring(f"<div>{chart}</div>")


def draw(*heights):
    return charts.column_chart(
        [charts.Column(f"from {i}", h, f"{h} of <{i}>") for i, h in enumerate(heights)],
        title="Lengths",
        x_label="bytes",
        y_label="documents",
    )


def test_columns_stand_side_by_side_as_high_as_their_counts():
    root = parsed(draw(10, 0, 5))
    bars = list(root.iter("rect"))

    heights = [float(bar.get("height")) for bar in bars]
    lefts = [float(bar.get("x")) for bar in bars]
    # The plot is 234 high and its uppermost mark is 10.
    assert heights == [234.0, 0.0, 117.0]
    assert lefts == sorted(lefts)


def test_columns_tell_what_they_are_when_pointed_at_and_escape_it():
    root = parsed(draw(1, 2))

    assert [tip.text for tip in root.iter("title")] == ["1 of <0>", "2 of <1>"]


def test_axes_have_names_and_marks():
    root = parsed(draw(3, 4))

    texts = {element.text for element in root.iter("text")}
    assert {"bytes", "documents", "0", "4", "from 0", "from 1"} <= texts


def test_many_columns_share_few_labels():
    root = parsed(draw(*range(1, 41)))

    labels = [e.text for e in root.iter("text") if (e.text or "").startswith("from")]
    assert labels == [f"from {i}" for i in range(0, 40, 4)]


def test_nothing_to_count_is_said():
    assert "There is nothing to count" in draw() and "<svg" not in draw(0, 0)


def test_counts_have_whole_marks_and_a_table():
    root = parsed(draw(1, 1))

    assert {"0", "1"} <= {e.text for e in root.iter("text")}
    assert "0.5" not in {e.text for e in root.iter("text")}
    cells = [["".join(c.itertext()) for c in row] for row in root.iter("tr")]
    assert cells == [["bytes", "documents"], ["from 0", "1"], ["from 1", "1"]]
