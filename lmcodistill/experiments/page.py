"""The report of a comparison: one page that opens anywhere, plots and tables."""

import csv
import importlib.metadata
import io
import pathlib
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import lmcodistill
from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import arms_table, recommendation, results, tried, verdicts
from lmcodistill.experiments import curves as curves_lib
from lmcodistill.report import charts, interval_chart, pages
from lmcodistill.storage import files

_AXES = (
    ("step", "updates"),
    ("tokens", "tokens read by the student"),
    (
        "seconds",
        "seconds of training by the clock, without starts, validation, tracing",
    ),
    ("device_seconds", "seconds of training times the processes of the run"),
)
_Y_LABEL = "validation, nats per token"
_QUALITY = (
    "Cross entropy of the last export over the held-out text; mean of {} seed(s). Of "
    "several students that train together, student 0 is shown: it begins with the "
    "baseline's weights and reads the baseline's text. Differences from {} are taken "
    "seed by seed; the interval is Student's, at 95 %; p is that of a paired t test, "
    "corrected for {} arm(s) by Holm's method. Better or worse: p is at most 0.05. No "
    "difference that matters: the whole interval is within {} nats. Not shown: "
    "neither. The last column is the share of an ensemble's gain that the single model "
    "keeps, with Fieller's interval."
)
_COST = (
    "What it took to be as good as {} ever was in the same seed, and how many seeds "
    "were; means and 95 % intervals over seeds. How many times fewer is taken at the "
    "worse of the two arms' bests, which both reached. Curves are smoothed over a "
    "tenth of the reports and read between reports. Where teachers were trained "
    "before, what they took counts. Under a learning rate that decays until the end, "
    "fewer steps do not mean that one may stop there."
)
_CURVES = (
    "Curves leave out the first quarter, in which all arms fall alike; curves.csv has "
    "it. The dashed line is {}."
)


class ComparisonReport(NamedTuple):
    """What a comparison found.

    Attributes:
        arm_results: The reference first.
        sentences: A conclusion on each of the others.
        recommended: The best single models, by the names of their gin files.
        tuned: What was tried of each arm; empty where nothing was.
        tuning_notes: What to know about that.
        commands: Of all runs, for people to run again.
        config_text: The user's whole configuration.
    """

    arm_results: Sequence[results.ArmResult]
    sentences: Sequence[str]
    recommended: Mapping[str, recommendation.Choice]
    tuned: Sequence[tried.Tuned]
    tuning_notes: Sequence[str]
    commands: Sequence[str]
    config_text: str

    @property
    def advice(self) -> list[str]:
        """What is recommended, in sentences."""
        return [
            f"The best single model {choice.question}: {choice.reason} See {name}."
            for name, choice in self.recommended.items()
        ]

    @property
    def all_sentences(self) -> list[str]:
        return [*self.tuning_notes, *self.sentences, *self.advice]

    def to_json(self) -> dict[str, Any]:
        reference, *_ = self.arm_results
        return {
            "reference": reference.arm.name,
            "arms": [
                {**result.to_json(), "verdict": verdicts.finding(result).value}
                for result in self.arm_results
            ],
            "verdicts": self.sentences,
            "recommended": {
                name: {
                    "arm": choice.arm.name,
                    "cross_entropy": choice.cross_entropy,
                    "difference": choice.difference and choice.difference.to_json(),
                    "p_holm": choice.p_holm,
                    "stop_at_step": choice.stop_at_step,
                    "budget_device_seconds": choice.budget,
                }
                for name, choice in self.recommended.items()
            },
            "tuning": [tuned.to_json() for tuned in self.tuned],
            "tuning_notes": self.tuning_notes,
            "commands": self.commands,
        }


def write(folder: pathlib.Path, report: ComparisonReport) -> None:
    """Writes `report.html`, `curves.csv`, `arms.csv` and a PNG of every chart."""
    arm_results = report.arm_results
    drawn = list(_charts(arm_results))
    quality = [verdicts.quality_row(result) for result in arm_results]
    cost = [verdicts.cost_row(result) for result in arm_results]
    reference, *_ = arm_results
    trials = [
        (result.arm.name, seed, trial)
        for result in arm_results
        for seed, trial in enumerate(result.trials)
    ]
    parts = [
        *_opening(report),
        pages.table(verdicts.QUALITY, quality, "Quality on the held-out text"),
        pages.paragraph(
            _QUALITY.format(
                len(reference.trials),
                reference.arm.name,
                reference.num_compared,
                verdicts.NEGLIGIBLE,
            ),
            "quiet",
        ),
        pages.heading("What it took"),
        pages.table(verdicts.COST, cost, "What each arm took to be as good"),
        pages.paragraph(_COST.format(reference.arm.name), "quiet"),
        *_tuning(report),
        pages.heading("Curves"),
        pages.paragraph(_CURVES.format(reference.arm.name), "quiet"),
        *(charts.line_chart(series, **labels) for _, series, labels in drawn),
        *_runs(arm_results),
        pages.heading("Again"),
        pages.details(
            "The commands of all runs",
            pages.preformatted("\n\n".join(report.commands)),
        ),
        pages.details(
            "The whole gin file before each arm's own settings",
            pages.preformatted(report.config_text),
        ),
        pages.paragraph(_versions(), "quiet"),
    ]
    title = f"Ways to train, compared with: {reference.arm.description}"
    points = [(name, seed, *p) for name, seed, trial in trials for p in trial.points]
    head = ("arm", "seed", *curves_lib.Point._fields)
    files.write_text(folder / "report.html", pages.page(title, parts))
    rows = [arms_table.row(result) for result in arm_results]
    table = [tuple(rows[0]), *(tuple(row.values()) for row in rows)]
    files.write_text(folder / "arms.csv", _csv(table))
    files.write_text(folder / "curves.csv", _csv([head, *points]))
    for name, series, labels in drawn:
        files.write_bytes(folder / f"{name}.png", charts.line_png(series, **labels))


def _opening(report: ComparisonReport) -> list[str]:
    """Returns what to read first: what came of codistillation, then of the others."""
    _, *others = report.arm_results
    said = sorted(
        zip(others, report.sentences, strict=True),
        key=lambda pair: pair[0].arm.name != arms_lib.CODISTILLED,
    )
    return [
        *(
            pages.paragraph(sentence, "" if i else "lead")
            for i, (_, sentence) in enumerate(said)
        ),
        *map(pages.paragraph, report.advice),
        _differences(report.arm_results),
    ]


def _differences(arm_results: Sequence[results.ArmResult]) -> str:
    """Returns each arm's difference from the reference, drawn with its interval."""
    reference, *others = arm_results
    return interval_chart.interval_chart(
        [
            interval_chart.IntervalRow(
                f"{result.arm.name}: {verdicts.quality_row(result)[5]}",
                *result.difference[:3],
            )
            for result in others
        ],
        title=f"Difference from {reference.arm.name}, with 95 % intervals",
        x_label="nats per token; less is better",
        negligible=verdicts.NEGLIGIBLE,
    )


def _tuning(report: ComparisonReport) -> list[str]:
    """Returns what was tried of each arm."""
    if not report.tuned:
        return []
    return [
        pages.heading("Tuning"),
        *map(pages.paragraph, report.tuning_notes),
        pages.table(tried.HEAD, tried.rows(report.tuned), "What was tried of each arm"),
    ]


def _runs(arm_results: Sequence[results.ArmResult]) -> list[str]:
    """Returns what the arms are, and what each run of theirs came to."""
    return [
        pages.heading("The arms"),
        pages.table(
            ("arm", "what", "settings"),
            [
                (arm.name, arm.description, tried.settings(arm.bindings))
                for arm in (result.arm for result in arm_results)
            ],
            "What each arm is",
        ),
        pages.heading("Every run"),
        pages.table(
            ("arm", "seed", "nats/token", "seconds", "CPU seconds"),
            [
                (
                    result.arm.name,
                    str(seed),
                    f"{trial.cross_entropy:.4f}",
                    f"{trial.wall_seconds:,.0f}",
                    f"{trial.cpu_seconds:,.0f}",
                )
                for result in arm_results
                for seed, trial in enumerate(result.trials)
            ],
            "The last score of each run, and what it took",
        ),
    ]


def _charts(
    arm_results: Sequence[results.ArmResult],
) -> Iterable[tuple[str, list[charts.Series], dict[str, str]]]:
    """Yields name, lines and labels of every chart; the reference is in each."""
    curves = {
        result.arm.name: [trial.points for trial in result.trials]
        for result in arm_results
        if not result.arm.is_ensemble
    }
    dashed = [
        r.arm.name for r in arm_results if r.is_reference and r.arm.name in curves
    ]
    others = [name for name in curves if name not in dashed]
    size = charts.MAX_SERIES - 1
    groups = [others[i : i + size] for i in range(0, len(others), size)] or [[]]
    for field, label in _AXES:
        for number, group in enumerate(groups):
            series = [
                _series(name, curves[name], field, name in dashed)
                for name in (*dashed, *group)
            ]
            labels = {
                "title": f"Validation by {label.split(',')[0]}",
                "x_label": label,
                "y_label": _Y_LABEL,
            }
            yield f"{field}-{number}", series, labels


def _series(
    name: str,
    curves: Sequence[Sequence[curves_lib.Point]],
    field: str,
    is_dashed: bool,
) -> charts.Series:
    rows = curves_lib.without_first_quarter(curves_lib.band(curves, field))
    return charts.Series(
        name,
        [(row[0], row[1]) for row in rows],
        dashed=is_dashed,
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
