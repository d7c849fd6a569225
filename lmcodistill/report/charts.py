"""Line charts and histograms as inline SVG, on light and dark paper; lines as PNG.

Colours are CSS classes, so that one drawing serves both; `STYLE` defines them
and `pages.page` carries it. Every point tells its values when pointed at.
"""

import html
import io
import math
from collections.abc import Sequence
from typing import NamedTuple

COLORS = ("#2563a8", "#c4501b", "#1f7a4d", "#7d4bb5", "#80660f", "#b3245e")
_DARK = ("#6ea8e8", "#f0925c", "#5fc08f", "#b894e6", "#d1b350", "#ee7fa8")
MAX_SERIES = len(COLORS)

_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 50
# Histograms: the space between columns, and how many show their label.
_GAP, _LABELS = 2.0, 12
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
.chart .column {{ fill: var(--bar); }}"""


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
    if not any(one.points for one in finite):
        return _empty(title, "No point was reported.")
    legend, top = _legend(finite)
    plot = _Plot(finite, top)
    lines = [part for i, one in enumerate(finite) for part in plot.line(i, one)]
    return _figure(
        title, _HEIGHT + top, [*legend, *plot.axes(x_label, y_label), *lines]
    )


def line_png(
    series: Sequence[Series], *, title: str, x_label: str, y_label: str
) -> bytes:
    """Returns what `line_chart` shows as a PNG of 1,440 x 810 pixels, on white."""
    # Slow to import, and only ever needed here.
    from matplotlib.backends import backend_agg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 5.4), dpi=150, layout="constrained")
    backend_agg.FigureCanvasAgg(figure)
    axes = figure.add_subplot(title=title, xlabel=x_label, ylabel=y_label)
    for one, color in zip(series, COLORS, strict=False):
        style = "--" if one.dashed else "-"
        xs, ys = zip(*one.points, strict=True) if one.points else ((), ())
        axes.plot(xs, ys, style, color=color, label=one.name, marker=".")
        if one.band:
            band_xs, low, high = map(list, zip(*one.band, strict=True))
            axes.fill_between(band_xs, low, high, color=color, alpha=0.16)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    content = io.BytesIO()
    # No date and no version inside: equal numbers, equal files.
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def column_chart(
    columns: Sequence[Column], *, title: str, x_label: str, y_label: str
) -> str:
    """Returns a histogram; title and labels are those of `line_chart`."""
    highest = max((column.height for column in columns), default=0)
    if not highest:
        return _empty(title, "There is nothing to count.")
    marks = ticks(0, highest)
    # Counts are wider than losses, and need less height.
    left, height = _LEFT + 8, _HEIGHT - 60
    bottom, right = height - _BOTTOM - 2, _WIDTH - _RIGHT
    unit = (bottom - _TOP) / marks[-1]
    y_marks = [(bottom - unit * mark, f"{mark:,.10g}") for mark in marks]
    drawn = []
    step = (right - left) / len(columns)
    every = -(-len(columns) // _LABELS)
    for i, column in enumerate(columns):
        size, x = unit * column.height, left + i * step
        drawn.append(
            f"<rect class='column' x='{x + _GAP / 2:.1f}' y='{bottom - size:.1f}' "
            f"width='{max(1.0, step - _GAP):.1f}' height='{size:.1f}'>"
            f"<title>{html.escape(column.tip)}</title></rect>"
        )
        if i % every == 0:
            drawn.append(
                f"<text x='{x + step / 2:.1f}' y='{bottom + 18}' text-anchor='middle'>"
                f"{html.escape(column.label)}</text>"
            )
    parts = _frame(left, _TOP, bottom, y_marks, drawn, (x_label, y_label))
    return _figure(title, height, parts)


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


def _figure(title: str, height: float, parts: Sequence[str]) -> str:
    """Returns parts of a drawing under their title."""
    return (
        f"<figure><figcaption>{html.escape(title)}</figcaption>"
        f"<svg class='chart' viewBox='0 0 {_WIDTH} {height}' role='img' "
        f"aria-label='{html.escape(title, quote=True)}'>{''.join(parts)}</svg></figure>"
    )


def _empty(title: str, text: str) -> str:
    return (
        f"<figure><figcaption>{html.escape(title)}</figcaption><p>{text}</p></figure>"
    )


def _frame(
    left: int,
    top: float,
    bottom: float,
    marks: Sequence[tuple[float, str]],
    drawn: Sequence[str],
    labels: tuple[str, str],
) -> list[str]:
    """Returns lines at the marks of y, what is drawn, and the names of both axes."""
    right = _WIDTH - _RIGHT
    grid = [
        f"<line class='grid' x1='{left}' x2='{right}' y1='{y:.1f}' y2='{y:.1f}'/>"
        f"<text x='{left - 8}' y='{y + 4:.1f}' text-anchor='end'>{number}</text>"
        for y, number in marks
    ]
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    x_label, y_label = map(html.escape, labels)
    names = (
        f"<text x='{middle_x:.1f}' y='{bottom + 40}' "
        f"text-anchor='middle'>{x_label}</text>"
        f"<text transform='translate(14 {middle_y:.1f}) rotate(-90)' "
        f"text-anchor='middle'>{y_label}</text>"
    )
    return [*grid, *drawn, names]


class _Plot:
    """From values to positions."""

    def __init__(self, series: Sequence[Series], top: float) -> None:
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
        marks = [(self.y(v), _number(v, self._y_ticks)) for v in self._y_ticks]
        drawn = []
        for value in self._x_ticks:
            x, label = self.x(value), _number(value, self._x_ticks)
            drawn.append(
                f"<line class='grid' x1='{x:.1f}' x2='{x:.1f}' "
                f"y1='{self._bottom:.1f}' y2='{self._bottom + 5:.1f}'/>"
                f"<text x='{x:.1f}' y='{self._bottom + 19:.1f}' "
                f"text-anchor='middle'>{label}</text>"
            )
        labels = (x_label, y_label)
        return _frame(_LEFT, self._top, self._bottom, marks, drawn, labels)

    def line(self, index: int, one: Series) -> list[str]:
        edge = [(x, low) for x, low, _ in one.band]
        edge += [(x, high) for x, _, high in reversed(one.band)]
        parts = [
            f"<polyline class='{_look(index, one)}' points='{self._path(one.points)}'/>"
        ]
        if edge:
            parts.insert(
                0, f"<polygon class='band s{index}' points='{self._path(edge)}'/>"
            )
        for x, y in one.points:
            tip = f"{one.name}: {y:.4f} at {x:,.6g}"
            parts.append(
                f"<circle class='s{index}' cx='{self.x(x):.1f}' cy='{self.y(y):.1f}' "
                f"r='2.6'><title>{html.escape(tip)}</title></circle>"
            )
        return parts

    def _path(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)


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
