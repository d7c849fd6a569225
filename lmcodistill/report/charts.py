"""Line charts and histograms as inline SVG, on light and dark paper; lines as PNG.

Colours are CSS classes, so that one drawing serves both; `style` defines them and
`pages.page` carries it. Every point tells its values when pointed at, and below each
chart its numbers are folded away as a table, for those who cannot see or point.
"""

import html
import io
import math
from collections.abc import Sequence
from typing import NamedTuple

from lmcodistill.report import pages, style

MAX_SERIES = len(style.COLORS)

WIDTH, _HEIGHT = 720, 360
_LEFT, RIGHT, TOP, BOTTOM = 68, 16, 14, 50
# Histograms: the space between columns, and how many show their label.
_GAP, _LABELS = 2.0, 12


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
        return empty(title, "No point was reported.")
    plot = _Plot(finite)
    lines = [part for i, one in enumerate(finite) for part in plot.line(i, one)]
    drawing = Drawing(title, x_label, y_label, _HEIGHT)
    return drawing.figure(
        [*plot.axes(x_label, y_label), *lines],
        _legend(finite),
        _numbers(finite, x_label),
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
    looks = zip(series, style.COLORS, style.DASHES, strict=False)
    for one, color, own_dashes in looks:
        xs, ys = zip(*one.points, strict=True) if one.points else ((), ())
        dashes = style.REFERENCE_DASHES if one.dashed else own_dashes
        [line] = axes.plot(xs, ys, color=color, label=one.name, marker=".")
        if dashes:
            line.set_linestyle((0, dashes))
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
        return empty(title, "There is nothing to count.")
    marks = [mark for mark in ticks(0, highest) if mark == round(mark)]
    # Counts are wider than losses, and need less height.
    left, height = _LEFT + 8, _HEIGHT - 60
    bottom, right = height - BOTTOM - 2, WIDTH - RIGHT
    unit = (bottom - TOP) / marks[-1]
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
            odd = " class='odd'" if i // every % 3 else ""
            drawn.append(
                f"<text{odd} x='{x + step / 2:.1f}' y='{bottom + 18}' "
                f"text-anchor='middle'>{html.escape(column.label)}</text>"
            )
    parts = _frame(left, TOP, bottom, y_marks, drawn, (x_label, y_label))
    rows = [(column.label, f"{column.height:,}") for column in columns]
    table = pages.table((x_label, y_label), rows, title)
    return Drawing(title, x_label, y_label, height).figure(parts, "", table)


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


class Drawing(NamedTuple):
    """What a chart is called, and how high it is."""

    title: str
    x_label: str
    y_label: str
    height: float

    def figure(self, parts: Sequence[str], legend: str, numbers: str) -> str:
        """Returns parts of a drawing with title and legend above, numbers below."""
        axes = ", by ".join(filter(None, (self.y_label, self.x_label)))
        # Title, legend and drawing stay together on paper; the numbers need not.
        return (
            f"<figure><figcaption>{html.escape(self.title)}"
            f"<span class='axes'>{html.escape(axes)}</span></figcaption>{legend}"
            f"<svg class='chart' viewBox='0 0 {WIDTH} {self.height}' role='img' "
            f"aria-label='{html.escape(f'{self.title}: {axes}', quote=True)}'>"
            f"{''.join(parts)}</svg></figure>"
            f"{pages.details('The numbers of this chart', numbers)}"
        )


def empty(title: str, text: str) -> str:
    """Returns a figure that says why there is nothing to draw."""
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
    right = WIDTH - RIGHT
    grid = [
        f"<line class='grid' x1='{left}' x2='{right}' y1='{y:.1f}' y2='{y:.1f}'/>"
        f"<text x='{left - 8}' y='{y + 4:.1f}' text-anchor='end'>{number}</text>"
        for y, number in marks
    ]
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    x_label, y_label = map(html.escape, labels)
    names = (
        f"<text class='name' x='{middle_x:.1f}' y='{bottom + 40}' "
        f"text-anchor='middle'>{x_label}</text>"
        f"<text class='name' transform='translate(10 {middle_y:.1f}) rotate(-90)' "
        f"text-anchor='middle'>{y_label}</text>"
    )
    return [*grid, *drawn, names]


class _Plot:
    """From values to positions."""

    def __init__(self, series: Sequence[Series]) -> None:
        xs, ys = zip(*(p for one in series for p in one.points), strict=True)
        ys += tuple(y for one in series for _, *ends in one.band for y in ends)
        self._x_ticks = ticks(min(xs), max(xs), 8)
        self._y_ticks = ticks(min(ys), max(ys))
        self._top, self._bottom = TOP, _HEIGHT - BOTTOM

    def x(self, value: float) -> float:
        return between(value, self._x_ticks, _LEFT, WIDTH - RIGHT)

    def y(self, value: float) -> float:
        return between(value, self._y_ticks, self._bottom, self._top)

    def axes(self, x_label: str, y_label: str) -> list[str]:
        marks = [(self.y(v), tick_label(v, self._y_ticks)) for v in self._y_ticks]
        drawn = []
        for index, value in enumerate(self._x_ticks):
            odd = " class='odd'" if index % 2 else ""
            x, label = self.x(value), tick_label(value, self._x_ticks)
            drawn.append(
                f"<line class='grid' x1='{x:.1f}' x2='{x:.1f}' "
                f"y1='{self._bottom:.1f}' y2='{self._bottom + 5:.1f}'/>"
                f"<text{odd} x='{x:.1f}' y='{self._bottom + 22:.1f}' "
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


def _legend(series: Sequence[Series]) -> str:
    """Returns the names of the lines, each beside a piece of its line."""
    items = [
        f"<li><svg class='chart' viewBox='0 0 30 10' aria-hidden='true'>"
        f"<polyline class='{_look(index, one)}' points='0,5 30,5'/></svg>"
        f"{html.escape(one.name)}</li>"
        for index, one in enumerate(series)
    ]
    return f"<ul class='legend'>{''.join(items)}</ul>"


def _numbers(series: Sequence[Series], x_label: str) -> str:
    """Returns a table with a row for each x, and a column for each line."""
    columns = [dict(one.points) for one in series]
    rows = [
        [f"{x:,.6g}", *(f"{c[x]:.4f}" if x in c else "-" for c in columns)]
        for x in sorted({x for column in columns for x in column})
    ]
    return pages.table([x_label, *(one.name for one in series)], rows)


def _look(index: int, one: Series) -> str:
    return f"s{index} line{' dashed' if one.dashed else ''}"


def between(value: float, marks: Sequence[float], start: float, end: float) -> float:
    """Returns where a value lies between two ends, the outer marks being at them."""
    return start + (end - start) * (value - marks[0]) / (marks[-1] - marks[0])


def tick_label(value: float, marks: Sequence[float]) -> str:
    """Returns a tick's label, with as many decimals as the marks need."""
    decimals = next(
        (d for d in range(9) if all(round(m, d) == round(m, 9) for m in marks)), 9
    )
    return f"{value:,.{decimals}f}"
