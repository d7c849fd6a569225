"""Bars: counts with their share."""

from lmcodistill.report import pages


def test_bar_is_as_long_as_its_share():
    shown = pages.bars({"kept": 3, "dropped": 1}, total=4)

    assert "<rect width='195.0'" in shown  # 3/4 of 260 pixels.
    assert "75.0%" in shown and "25.0%" in shown


def test_bars_of_nothing_are_empty():
    assert "<rect width='0.0'" in pages.bars({"kept": 0}, total=0)


def test_bars_escape_their_names():
    assert "<b>" not in pages.bars({"<b>": 1}, total=1)
