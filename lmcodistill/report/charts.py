"""Line charts as inline SVG, with axes and a legend, on light and dark paper.

Colours are CSS classes, so that one drawing serves both; `STYLE` defines them
and `pages.page` carries it. Every point tells its values when pointed at.
"""

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

COLORS = ("#2563a8", "#c4501b", "#1f7a4d", "#7d4bb5", "#80660f", "#b3245e")
_DARK = ("#6ea8e8", "#f0925c", "#5fc08f", "#b894e6", "#d1b350", "#ee7fa8")
MAX_SERIES = len(COLORS)

_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 50
_LEGEND_LINE, _LEGEND_SWATCH, _LETTER = 22, 34, 7.2


def _rules(colors: Sequence[str]) -> str:
    return "\n".join(
        f".chart .s{i} {{ stroke: {color}; }} "
        f".chart circle.s{i}, .chart .band.s{i} {{ fill: {color}; }}"
        for i, color in enumerate(colors)
    )


STYLE = f"""
.chart {{ width: 100%; height: auto; font: 12px system-ui, sans-serif; }}
.chart text {{ fill: var(--ink); }}
.chart .grid {{ stroke: var(--line); stroke-width: 1; }}
.chart .line {{ fill: none; stroke-width: 2; stroke-linejoin: round; }}
.chart .dashed {{ stroke-dasharray: 7 4; }}
.chart .band {{ stroke: none; opacity: .16; }}
{_rules(COLORS)}
@media (prefers-color-scheme: dark) {{
{_rules(_DARK)}
}}
"""


class Series(NamedTuple):
    """One line of a chart.

    Attributes:
        name: In the legend.
        points: Pairs of x and y; those that are not finite are left out.
        dashed: Whether the line is dashed, to be told apart without colour.
        band: Triples of x, lowest and highest y, shown as a tinted area.
    """

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False
    band: Sequence[tuple[float, float, float]] = ()


def line_chart(
    series: Sequence[Series], *, title: str, x_label: str, y_label: str
) -> str:
    """Returns a figure with at most `MAX_SERIES` lines.

    Args:
        series: The lines, in the order of the legend.
        title: Above the figure.
        x_label: With the unit.
        y_label: With the unit.
    """
    if len(series) > MAX_SERIES:
        raise ValueError(f"{len(series)} lines in a chart of at most {MAX_SERIES}.")
    finite = [
        one._replace(
            points=[p for p in one.points if all(map(math.isfinite, p))],
            band=[p for p in one.band if all(map(math.isfinite, p))],
        )
        for one in series
    ]
    caption = f"<figcaption>{html.escape(title)}</figcaption>"
    if not any(one.points for one in finite):
        return f"<figure>{caption}<p>No point was reported.</p></figure>"
    legend, top = _legend(finite)
    plot = _Plot(finite, top)
    drawn = [
        f"<svg class='chart' viewBox='0 0 {_WIDTH} {_HEIGHT + top}' role='img' "
        f"aria-label='{html.escape(title, quote=True)}'>",
        *legend,
        *plot.axes(x_label, y_label),
        *(part for i, one in enumerate(finite) for part in plot.line(i, one)),
        "</svg>",
    ]
    return f"<figure>{caption}{''.join(drawn)}</figure>"


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Returns round numbers, evenly spaced, the outer two around all values.

    Args:
        low: Smallest value.
        high: Largest value.
        about: How many are wanted.
    """
    if high <= low:
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / max(about - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1.0, 2.0, 2.5, 5.0, 10.0) if power * m >= rough)
    # A hair's breadth, or 0.3 / 0.1 would need a tick of its own.
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


class _Plot:
    """From values to positions."""

    def __init__(self, series: Sequence[Series], top: float):
        xs, ys = zip(*(p for one in series for p in one.points), strict=True)
        ys += tuple(y for one in series for _, *ends in one.band for y in ends)
        self._x_ticks = ticks(min(xs), max(xs), 8)
        self._y_ticks = ticks(min(ys), max(ys))
        self._top, self._bottom = top + _TOP, top + _HEIGHT - _BOTTOM

    def x(self, value: float) -> float:
        return _between(value, self._x_ticks, _LEFT, _WIDTH - _RIGHT)

    def y(self, value: float) -> float:
        return _between(value, self._y_ticks, self._bottom, self._top)

    def axes(self, x_label: str, y_label: str) -> list[str]:
        parts = []
        for value in self._y_ticks:
            y, label = self.y(value), _number(value, self._y_ticks)
            parts.append(
                f"<line class='grid' x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' "
                f"y1='{y:.1f}' y2='{y:.1f}'/>"
                f"<text x='{_LEFT - 8}' y='{y + 4:.1f}' text-anchor='end'>"
                f"{label}</text>"
            )
        for value in self._x_ticks:
            x, label = self.x(value), _number(value, self._x_ticks)
            parts.append(
                f"<line class='grid' x1='{x:.1f}' x2='{x:.1f}' "
                f"y1='{self._bottom:.1f}' y2='{self._bottom + 5:.1f}'/>"
                f"<text x='{x:.1f}' y='{self._bottom + 19:.1f}' "
                f"text-anchor='middle'>{label}</text>"
            )
        middle_x = (_LEFT + _WIDTH - _RIGHT) / 2
        middle_y = (self._top + self._bottom) / 2
        parts.append(
            f"<text x='{middle_x:.1f}' y='{self._bottom + 40:.1f}' "
            f"text-anchor='middle'>{html.escape(x_label)}</text>"
            f"<text transform='translate(14 {middle_y:.1f}) rotate(-90)' "
            f"text-anchor='middle'>{html.escape(y_label)}</text>"
        )
        return parts

    def line(self, index: int, one: Series) -> list[str]:
        places = [(self.x(x), self.y(y)) for x, y in one.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts = [f"<polyline class='{_look(index, one)}' points='{path}'/>"]
        if one.band:
            edge = [(x, low) for x, low, _ in one.band]
            edge += [(x, high) for x, _, high in reversed(one.band)]
            area = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in edge)
            parts.insert(0, f"<polygon class='band s{index}' points='{area}'/>")
        for (x, y), (at, value) in zip(places, one.points, strict=True):
            tip = f"{one.name}: {value:.4f} at {at:,.6g}"
            parts.append(
                f"<circle class='s{index}' cx='{x:.1f}' cy='{y:.1f}' r='2.6'>"
                f"<title>{html.escape(tip)}</title></circle>"
            )
        return parts


def _legend(series: Sequence[Series]) -> tuple[list[str], float]:
    """Returns the legend's parts, and its height."""
    parts, x, y = [], float(_LEFT), float(_LEGEND_LINE)
    for index, one in enumerate(series):
        width = _LEGEND_SWATCH + _LETTER * len(one.name) + 18
        if x > _LEFT and x + width > _WIDTH:
            x, y = float(_LEFT), y + _LEGEND_LINE
        parts.append(
            f"<polyline class='{_look(index, one)}' "
            f"points='{x:.1f},{y - 9:.1f} {x + 26:.1f},{y - 9:.1f}'/>"
            f"<text x='{x + _LEGEND_SWATCH:.1f}' y='{y - 5:.1f}'>"
            f"{html.escape(one.name)}</text>"
        )
        x += width
    return parts, y


def _look(index: int, one: Series) -> str:
    return f"s{index} line{' dashed' if one.dashed else ''}"


def _between(value: float, marks: Sequence[float], start: float, end: float) -> float:
    return start + (end - start) * (value - marks[0]) / (marks[-1] - marks[0])


def _number(value: float, marks: Sequence[float]) -> str:
    """Returns a tick's label, with as many decimals as the marks need."""
    decimals = next(
        (d for d in range(9) if all(round(m, d) == round(m, 9) for m in marks)), 9
    )
    return f"{value:,.{decimals}f}"
