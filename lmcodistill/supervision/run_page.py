"""The page about one run: what its folder tells, drawn. Pure: no files, no clock."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmcodistill import errors
from lmcodistill.report import charts, pages, units
from lmcodistill.supervision import status, status_view

# Of a line; more are more than a drawing shows, and than a page should carry.
_MAX_POINTS = 200
_MAX_COLUMNS = 12
# Of a journal, what tells of more than a start that went well.
_TOLD = ("quiet", "lost", "replacing", "restarting", "gave_up", "stopped")

Reports = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class RunHistory:
    """What is known of a run.

    Attributes:
        name: For the title.
        students: Where each stands.
        reports: Of each student, its `metrics.jsonl`.
        events: What supervisors noted of all students, by time.
        command: Goes on with it; None where none was noted.
        config_text: Its whole configuration.
        samples: Of each student that was asked for some, texts.
        made: When and with what the page was made.
    """

    name: str
    students: Sequence[status.StudentStatus]
    reports: Mapping[int, Reports]
    events: Reports
    command: str | None
    config_text: str
    samples: Mapping[int, Sequence[str]]
    made: str

    def of_kind(self, student: int, kind: str) -> Reports:
        """Returns a student's reports of one kind."""
        return [r for r in self.reports[student] if r["kind"] == kind]


def render(run: RunHistory) -> str:
    """Returns the page."""
    parts = [
        pages.paragraph(status_view.total(run.students), "lead"),
        *(
            pages.paragraph(f"Student {s.student}: {status_view.cause(s)}.", "warn")
            for s in run.students
            if s.last_cause and s.exit_code
        ),
        _standing(run),
        pages.heading("Curves"),
        *_curves(run, "validation", "cross_entropy", "Validation", "nats per token"),
        *_curves(run, "train", "cross_entropy", "Training text", "nats per token"),
        *_curves(run, "train", "tokens_per_second", "Speed", "tokens per second"),
        *_peers(run),
        *_restarts(run),
        *_samples(run),
        pages.heading("To go on"),
        pages.preformatted(run.command or "The command that began it was not noted."),
        pages.heading("Configuration"),
        pages.details("The whole gin file", pages.preformatted(run.config_text)),
        pages.paragraph(run.made, "quiet"),
    ]
    return pages.page(f"Run {run.name}", parts)


def _standing(run: RunHistory) -> str:
    """Returns a table of where each student stands."""
    rows = []
    for student in run.students:
        scores = run.of_kind(student.student, "validation")
        best = min(scores, key=lambda r: r["cross_entropy"] or 1e9, default=None)
        total = student.num_train_steps
        rows.append(
            (
                f"student {student.student}",
                status_view.doing(student),
                f"{student.step:,}" + (f" / {total:,}" if total else ""),
                units.number(student.validation_cross_entropy, ".4f"),
                units.of_perplexity(student.validation_cross_entropy),
                units.number(student.validation_bits_per_byte, ".4f"),
                "-" if best is None else f"{best['step']:,}",
                units.number(student.cross_entropy, ".4f"),
                str(student.restarts),
            )
        )
    head = (
        *("student", "state", "step", "validation, nats/token", "perplexity"),
        *("bits/byte", "best at step", "training, nats/token", "restarts"),
    )
    return pages.table(head, rows, "Where each student stands")


def _curves(
    run: RunHistory, kind: str, key: str, title: str, y_label: str
) -> Iterable[str]:
    """Yields charts of one value of the reports, with a line for each student."""
    lines = [
        charts.Series(f"student {index}", _points(run.of_kind(index, kind), key))
        for index in run.reports
    ]
    yield from _charts(lines, title, y_label)


def _charts(lines: Sequence[charts.Series], title: str, y_label: str) -> Iterable[str]:
    # Also lines without a point: a student has one colour in all charts.
    for first in range(0, len(lines), charts.MAX_SERIES):
        part = lines[first : first + charts.MAX_SERIES]
        if not any(line.points for line in part):
            continue
        yield charts.line_chart(part, title=title, x_label="step", y_label=y_label)


def _points(reports: Reports, key: str) -> list[tuple[float, float]]:
    points = [(r["step"], r[key]) for r in reports if r.get(key) is not None]
    return _thinned(points)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns some of the points, the last one among them."""
    every = -(-len(points) // _MAX_POINTS) or 1
    return list(points[::-1][::every][::-1])


def _peers(run: RunHistory) -> list[str]:
    """Returns what students had of each other; nothing where they had no teachers."""
    ages: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for index in run.reports:
        for report in run.of_kind(index, "train"):
            for teacher in report.get("teachers", ()):
                point = (report["step"], teacher["staleness_steps"])
                ages.setdefault((index, teacher["peer"]), []).append(point)
    if not ages:
        return [
            pages.heading("Peers"),
            pages.paragraph("No report has a teacher yet."),
        ]
    lines = [
        charts.Series(f"student {student} from {peer}", _thinned(points))
        for (student, peer), points in ages.items()
    ]
    return [
        pages.heading("Peers"),
        *_charts(lines, "Staleness of the teachers over time", "steps behind"),
        _histogram([round(age) for points in ages.values() for _, age in points]),
        *_curves(
            run, "train", "agreement", "Agreement with the teachers", "share of tokens"
        ),
        *_curves(
            run, "train", "distillation_loss", "Distillation loss", "nats per token"
        ),
        *_refused(run),
    ]


def _histogram(ages: Sequence[int]) -> str:
    """Returns how often teachers were how stale, one count per report and teacher."""
    low, high = min(ages), max(ages)
    wide = charts.ticks(low, high, _MAX_COLUMNS)
    width = max(1, round(wide[1] - wide[0])) if high > low else 1
    first = low // width * width
    columns = []
    for start in range(first, high + 1, width):
        end = start + width - 1
        count = sum(start <= age <= end for age in ages)
        label = f"{start:,}" if width == 1 else f"{start:,} to {end:,}"
        tip = f"{count:,} reports of a teacher {label} steps behind"
        columns.append(charts.Column(f"{start:,}", count, tip))
    step = "" if width == 1 else f"; a column is {width:,} steps wide"
    return charts.column_chart(
        columns,
        title="How stale teachers were",
        x_label=f"steps behind{step}",
        y_label="reports",
    )


def _refused(run: RunHistory) -> list[str]:
    """Returns a table of exports that were refused; nothing where none was."""
    rows = []
    for index in run.reports:
        reports = run.of_kind(index, "train")
        refused = reports[-1].get("refused_exports", {}) if reports else {}
        rows += [(f"student {index}", why, f"{n:,}") for why, n in refused.items()]
    if not rows:
        return []
    head = ("student", "reason", "exports")
    return [pages.table(head, rows, "Exports of peers that were refused")]


def _restarts(run: RunHistory) -> list[str]:
    """Returns what befell the processes."""
    rows = [
        (
            str(event["time"])[:19].replace("T", " "),
            f"student {event['student']}",
            "-" if event.get("worker") is None else str(event["worker"]),
            str(event["event"]).replace("_", " "),
            "-" if event.get("last_step") is None else f"{event['last_step']:,}",
            "; ".join(str(event[n]) for n in ("cause", "reason") if event.get(n)),
        )
        for event in run.events
        if event["event"] in _TOLD
    ]
    heading = pages.heading("Losses and restarts")
    if not rows:
        return [heading, pages.paragraph("No process was lost.")]
    head = ("time (UTC)", "student", "worker", "event", "step", "cause")
    return [heading, pages.table(head, rows, "What befell the processes")]


def _samples(run: RunHistory) -> list[str]:
    return [
        part
        for index, texts in run.samples.items()
        for part in (
            pages.heading(f"What student {index} writes"),
            *(pages.preformatted(errors.printable(t, "\n\t")) for t in texts),
        )
    ]
