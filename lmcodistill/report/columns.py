"""Histograms as inline SVG: one column for each range of values.

They look as the line charts do, whose style serves both.
"""

import html
from collections.abc import Sequence
from typing import NamedTuple

from lmcodistill.report import charts

_WIDTH, _HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 16, 14, 52
_GAP = 2.0
_LABELS = 12
STYLE = ".chart .column { fill: var(--bar); }"


class Column(NamedTuple):
    """One column.

    Attributes:
        label: Below it; of many columns only every second or third shows its own.
        height: How many it stands for.
        tip: What it tells when pointed at.
    """

    label: str
    height: int
    tip: str


def column_chart(
    columns: Sequence[Column], *, title: str, x_label: str, y_label: str
) -> str:
    """Returns a figure.

    Args:
        columns: From left to right.
        title: Above the figure.
        x_label: With the unit.
        y_label: With the unit.
    """
    caption = f"<figcaption>{html.escape(title)}</figcaption>"
    highest = max((column.height for column in columns), default=0)
    if not highest:
        return f"<figure>{caption}<p>There is nothing to count.</p></figure>"
    marks = charts.ticks(0, highest)
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    drawn = []
    for mark in marks:
        y = bottom - (bottom - _TOP) * mark / marks[-1]
        drawn.append(
            f"<line class='grid' x1='{_LEFT}' x2='{right}' y1='{y:.1f}' y2='{y:.1f}'/>"
            f"<text x='{_LEFT - 8}' y='{y + 4:.1f}' text-anchor='end'>{mark:,.10g}"
            "</text>"
        )
    step = (right - _LEFT) / len(columns)
    every = -(-len(columns) // _LABELS)
    for i, column in enumerate(columns):
        height = (bottom - _TOP) * column.height / marks[-1]
        x = _LEFT + i * step
        drawn.append(
            f"<rect class='column' x='{x + _GAP / 2:.1f}' y='{bottom - height:.1f}' "
            f"width='{max(1.0, step - _GAP):.1f}' height='{height:.1f}'>"
            f"<title>{html.escape(column.tip)}</title></rect>"
        )
        if i % every == 0:
            drawn.append(
                f"<text x='{x + step / 2:.1f}' y='{bottom + 18}' text-anchor='middle'>"
                f"{html.escape(column.label)}</text>"
            )
    drawn.append(
        f"<text x='{(_LEFT + right) / 2:.1f}' y='{bottom + 40}' text-anchor='middle'>"
        f"{html.escape(x_label)}</text>"
        f"<text transform='translate(14 {(_TOP + bottom) / 2:.1f}) rotate(-90)' "
        f"text-anchor='middle'>{html.escape(y_label)}</text>"
    )
    return (
        f"<figure>{caption}<svg class='chart' viewBox='0 0 {_WIDTH} {_HEIGHT}' "
        f"role='img' aria-label='{html.escape(title, quote=True)}'>"
        f"{''.join(drawn)}</svg></figure>"
    )
