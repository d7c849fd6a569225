"""Differences with their intervals, one below the other, as inline SVG."""

import html
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lmcodistill.report import charts, pages

_ROW, _INDENT = 48, 8  # In the units of a drawing.


class IntervalRow(NamedTuple):
    """A value with its interval.

    Attributes:
        name: Above it.
        mean: The value.
        low: Lower end of the interval; not finite where there is none.
        high: Upper end.
    """

    name: str
    mean: float
    low: float
    high: float


def interval_chart(
    estimates: Sequence[IntervalRow], *, title: str, x_label: str, negligible: float
) -> str:
    """Returns a figure of differences with their intervals, one below the other.

    Args:
        estimates: From the top down.
        title: Above the figure.
        x_label: With the unit.
        negligible: Differences nearer to zero matter to no one; they are shaded.
    """
    if not estimates:
        return charts.empty(title, "There is nothing to compare.")
    values = [x for e in estimates for x in e[1:] if math.isfinite(x)]
    marks = charts.ticks(min(*values, -2 * negligible), max(*values, 2 * negligible), 8)
    bottom = charts.TOP + _ROW * len(estimates)
    left, right = _INDENT, charts.WIDTH - charts.RIGHT

    def x(value: float) -> float:
        return charts.between(value, marks, left, right)

    parts = [
        f"<rect class='zone' x='{x(-negligible):.1f}' y='{charts.TOP}' "
        f"width='{x(negligible) - x(-negligible):.1f}' height='{bottom - charts.TOP}'/>"
    ]
    for index, mark in enumerate(marks):
        look = "zero" if mark == 0.0 else "grid"
        odd = " class='odd'" if index % 2 else ""
        parts.append(
            f"<line class='{look}' x1='{x(mark):.1f}' x2='{x(mark):.1f}' "
            f"y1='{charts.TOP}' y2='{bottom}'/>"
            f"<text{odd} x='{x(mark):.1f}' y='{bottom + 19}' text-anchor='middle'>"
            f"{charts.tick_label(mark, marks)}</text>"
        )
    for index, one in enumerate(estimates):
        parts += _estimate(one, charts.TOP + _ROW * index, x)
    middle = (left + right) / 2
    parts.append(
        f"<text class='name' x='{middle:.1f}' y='{bottom + 40}' "
        f"text-anchor='middle'>{html.escape(x_label)}</text>"
    )
    rows = [(e.name, *(_signed(value) for value in e[1:])) for e in estimates]
    table = pages.table(("name", "difference", "from", "to"), rows, title)
    drawing = charts.Drawing(title, "", x_label, bottom + charts.BOTTOM)
    return drawing.figure(parts, "", table)


def _estimate(one: IntervalRow, top: float, x: Callable[[float], float]) -> list[str]:
    """Returns a name, and below it the interval as a line with its value on it."""
    middle = top + _ROW - 14
    ends = "no interval"
    parts = [f"<text x='0' y='{top + 22:.1f}'>{html.escape(one.name)}</text>"]
    if math.isfinite(one.low) and math.isfinite(one.high):
        ends = f"{_signed(one.low)} to {_signed(one.high)}"
        parts.append(
            f"<line class='s0 whisker' x1='{x(one.low):.1f}' x2='{x(one.high):.1f}' "
            f"y1='{middle:.1f}' y2='{middle:.1f}'/>"
        )
    tip = html.escape(f"{one.name}: {_signed(one.mean)}, {ends}")
    parts.append(
        f"<circle class='s0' cx='{x(one.mean):.1f}' cy='{middle:.1f}' r='5'>"
        f"<title>{tip}</title></circle>"
    )
    return parts


def _signed(value: float) -> str:
    return f"{value:+.4f}" if math.isfinite(value) else "-"
