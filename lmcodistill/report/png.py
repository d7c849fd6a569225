"""The charts of `charts` as PNG files, for slides and papers."""

import io
from collections.abc import Sequence

from lmcodistill.report import charts


def line_chart(
    series: Sequence[charts.Series], *, title: str, x_label: str, y_label: str
) -> bytes:
    """Returns a PNG of 1,440 x 810 pixels, on white.

    Args:
        series: The lines, in the order of the legend.
        title: Above the plot.
        x_label: With the unit.
        y_label: With the unit.
    """
    # Slow to import, and only ever needed here.
    from matplotlib.backends import backend_agg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 5.4), dpi=150, layout="constrained")
    backend_agg.FigureCanvasAgg(figure)
    axes = figure.add_subplot(title=title, xlabel=x_label, ylabel=y_label)
    for one, color in zip(series, charts.COLORS, strict=False):
        style = "--" if one.dashed else "-"
        xs, ys = zip(*one.points, strict=True) if one.points else ((), ())
        axes.plot(xs, ys, style, color=color, label=one.name, marker=".")
        if one.band:
            at, low, high = (list(column) for column in zip(*one.band, strict=True))
            axes.fill_between(at, low, high, color=color, alpha=0.16)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    content = io.BytesIO()
    # No date and no version inside: equal numbers, equal files.
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()
