"""The report of a comparison: one page that opens anywhere, plots and tables."""

import csv
import importlib.metadata
import io
import pathlib
import platform
from collections.abc import Iterable, Sequence

import lmcodistill
from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import findings as findings_lib
from lmcodistill.experiments import measures
from lmcodistill.report import charts, pages, png
from lmcodistill.storage import files

_AXES = (
    ("step", "updates"),
    ("tokens", "tokens read by the student"),
    ("seconds", "seconds of training by the clock, process starts excluded"),
    ("device_seconds", "the same, times the processes of the run"),
)
_Y_LABEL = "validation, nats per token"


def write(
    folder: pathlib.Path,
    found: findings_lib.Findings,
    sentences: Sequence[str],
    config_text: str,
) -> None:
    """Writes `report.html`, `curves.csv`, `arms.csv` and a PNG of every chart.

    Args:
        folder: Of the comparison.
        found: What is reported.
        sentences: The verdicts.
        config_text: The user's whole configuration.
    """
    drawn = list(_charts(found))
    parts = [
        *(
            pages.paragraph(s, "lead" if i == 0 else "")
            for i, s in enumerate(sentences)
        ),
        pages.table(findings_lib.HEAD, found.rows),
        pages.paragraph(_reading(found), "quiet"),
        pages.heading("Curves"),
        *(charts.line_chart(series, **labels) for _, series, labels in drawn),
        pages.heading("The arms"),
        pages.table(
            ("arm", "what", "settings"),
            [
                (
                    line.arm.name,
                    line.arm.what,
                    " ".join(f"{k}={v}" for k, v in line.arm.bindings),
                )
                for line in found.lines
            ],
        ),
        pages.heading("Every run"),
        pages.table(
            ("arm", "seed", "nats/token", "seconds", "CPU seconds"),
            [
                (
                    name,
                    str(seed),
                    f"{trial.cross_entropy:.4f}",
                    f"{trial.wall_seconds:,.0f}",
                    f"{trial.cpu_seconds:,.0f}",
                )
                for name, trials in found.trials.items()
                for seed, trial in enumerate(trials)
            ],
        ),
        pages.heading("Again"),
        pages.preformatted("\n\n".join(found.commands)),
        pages.preformatted(config_text),
        pages.paragraph(_versions(), "quiet"),
    ]
    title = "Ways to train, compared with one group on the labels alone"
    files.write_text(folder / "report.html", pages.page(title, parts))
    files.write_text(folder / "arms.csv", _csv([findings_lib.HEAD, *found.rows]))
    files.write_text(folder / "curves.csv", _csv(_curve_rows(found)))
    for name, series, labels in drawn:
        files.write_bytes(folder / f"{name}.png", png.line_chart(series, **labels))


def _reading(found: findings_lib.Findings) -> str:
    seeds = len(found.trials[arms_lib.BASELINE])
    return (
        f"Cross entropy of the last export over all held-out text; mean of {seeds} "
        "seed(s). Of several students that train together, student 0 is shown: it "
        "begins with the baseline's weights and reads the baseline's text. "
        "Differences are taken seed by seed; the interval is Student's, at 95 %. "
        "Steps are those to the baseline's best, and how many times fewer that is. "
        "Where teachers were trained before, their steps and CPU seconds count. "
        "Curves leave out the first quarter, in which all arms fall alike; curves.csv "
        "has it."
    )


def _charts(
    found: findings_lib.Findings,
) -> Iterable[tuple[str, list[charts.Series], dict[str, str]]]:
    """Yields name, lines and labels of every chart."""
    curves = {
        line.arm.name: [t.points for t in found.trials[line.arm.name]]
        for line in found.lines
        if not line.arm.is_ensemble
    }
    others = [name for name in curves if name != arms_lib.BASELINE]
    size = charts.MAX_SERIES - 1
    groups = [others[i : i + size] for i in range(0, len(others), size)] or [[]]
    for field, label in _AXES:
        for number, group in enumerate(groups):
            series = [
                _series(name, curves[name], field)
                for name in (arms_lib.BASELINE, *group)
            ]
            labels = {
                "title": f"Validation by {label.split(',')[0]}",
                "x_label": label,
                "y_label": _Y_LABEL,
            }
            yield f"{field}-{number}", series, labels


def _series(
    name: str, curves: Sequence[Sequence[measures.Point]], field: str
) -> charts.Series:
    rows = measures.after_the_fall(measures.band(curves, field))
    return charts.Series(
        name,
        [(row[0], row[1]) for row in rows],
        dashed=name == arms_lib.BASELINE,
        band=[(row[0], row[2], row[3]) for row in rows] if len(curves) > 1 else (),
    )


def _curve_rows(found: findings_lib.Findings) -> Iterable[Sequence[object]]:
    yield ("arm", "seed", *measures.Point._fields)
    for name, trials in found.trials.items():
        for seed, trial in enumerate(trials):
            for point in trial.points:
                yield (name, seed, *point)


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _versions() -> str:
    names = ("tensorflow", "numpy", "sentencepiece")
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return (
        f"lmcodistill {lmcodistill.__version__}, {found}, "
        f"Python {platform.python_version()}, {platform.machine()}."
    )
