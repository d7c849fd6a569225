"""Bars: counts with their share."""

from lmcodistill.report import pages


def test_bar_is_as_long_as_its_share():
    shown = pages.bars({"kept": 3, "dropped": 1}, total=4)

    assert "<rect width='75.00%'" in shown and "<rect width='25.00%'" in shown
    assert ">75.0%<" in shown and ">25.0%<" in shown


def test_bars_of_nothing_are_empty():
    assert "<rect width='0.00%'" in pages.bars({"kept": 0}, total=0)


def test_bars_escape_their_names():
    assert "<b>" not in pages.bars({"<b>": 1}, total=1)


def test_meters_show_numbers_and_a_bar_and_escape_them():
    shown = pages.meters(["<stage>", "seconds"], [(["<read>", "1.5"], 0.5)])

    assert "&lt;stage&gt;" in shown and "&lt;read&gt;" in shown
    assert ">1.5<" in shown and "<rect width='50.00%'" in shown
