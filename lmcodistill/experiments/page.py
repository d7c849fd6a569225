"""The report of a comparison: one page that opens anywhere, plots and tables."""

import csv
import importlib.metadata
import io
import pathlib
import platform
from collections.abc import Iterable, Sequence

import lmcodistill
from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import curves as curves_lib
from lmcodistill.experiments import results
from lmcodistill.report import charts, pages
from lmcodistill.storage import files

_AXES = (
    ("step", "updates"),
    ("tokens", "tokens read by the student"),
    (
        "seconds",
        "seconds of training by the clock, without starts, validation, tracing",
    ),
    ("device_seconds", "the same, times the processes of the run"),
)
_Y_LABEL = "validation, nats per token"
_EXPLANATION = (
    "Cross entropy of the last export over all held-out text; mean of {} "
    "seed(s). Of several students that train together, student 0 is shown: it "
    "begins with the baseline's weights and reads the baseline's text. "
    "Differences are taken seed by seed; the interval is Student's, at 95 %. "
    "Steps are those to the baseline's best, and how many times fewer that is. "
    "Where teachers were trained before, their steps and CPU seconds count. "
    "Curves leave out the first quarter, in which all arms fall alike; curves.csv "
    "has it."
)


def write(
    folder: pathlib.Path,
    arm_results: Sequence[results.ArmResult],
    commands: Sequence[str],
    sentences: Sequence[str],
    config_text: str,
) -> None:
    """Writes `report.html`, `curves.csv`, `arms.csv` and a PNG of every chart.

    Args:
        folder: Of the comparison.
        arm_results: The baseline first.
        commands: Of all runs, for people to run again.
        sentences: The conclusions.
        config_text: The user's whole configuration.
    """
    drawn = list(_charts(arm_results))
    rows = [result.row for result in arm_results]
    trials = [
        (result.arm.name, seed, trial)
        for result in arm_results
        for seed, trial in enumerate(result.trials)
    ]
    parts = [
        *(pages.paragraph(s, "" if i else "lead") for i, s in enumerate(sentences)),
        pages.table(results.HEAD, rows),
        pages.paragraph(_EXPLANATION.format(len(arm_results[0].trials)), "quiet"),
        pages.heading("Curves"),
        *(charts.line_chart(series, **labels) for _, series, labels in drawn),
        pages.heading("The arms"),
        pages.table(
            ("arm", "what", "settings"),
            [
                (
                    arm.name,
                    arm.description,
                    " ".join(f"{k}={v}" for k, v in arm.bindings),
                )
                for arm, *_ in arm_results
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
                for name, seed, trial in trials
            ],
        ),
        pages.heading("Again"),
        pages.preformatted("\n\n".join(commands)),
        pages.preformatted(config_text),
        pages.paragraph(_versions(), "quiet"),
    ]
    title = "Ways to train, compared with one group on the labels alone"
    points = [(name, seed, *p) for name, seed, trial in trials for p in trial.points]
    head = ("arm", "seed", *curves_lib.Point._fields)
    files.write_text(folder / "report.html", pages.page(title, parts))
    files.write_text(folder / "arms.csv", _csv([results.HEAD, *rows]))
    files.write_text(folder / "curves.csv", _csv([head, *points]))
    for name, series, labels in drawn:
        files.write_bytes(folder / f"{name}.png", charts.line_png(series, **labels))


def _charts(
    arm_results: Sequence[results.ArmResult],
) -> Iterable[tuple[str, list[charts.Series], dict[str, str]]]:
    """Yields name, lines and labels of every chart."""
    curves = {
        result.arm.name: [trial.points for trial in result.trials]
        for result in arm_results
        if not result.arm.is_ensemble
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
    name: str, curves: Sequence[Sequence[curves_lib.Point]], field: str
) -> charts.Series:
    rows = curves_lib.without_first_quarter(curves_lib.band(curves, field))
    return charts.Series(
        name,
        [(row[0], row[1]) for row in rows],
        dashed=name == arms_lib.BASELINE,
        band=[(row[0], row[2], row[3]) for row in rows] if len(curves) > 1 else (),
    )


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _versions() -> str:
    names = ("tensorflow", "numpy", "sentencepiece")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return (
        f"lmcodistill {lmcodistill.__version__}, {versions}, "
        f"Python {platform.python_version()}, {platform.machine()}."
    )
