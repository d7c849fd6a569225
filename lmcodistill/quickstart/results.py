"""What the quick start found: the table, the verdict and the page.

Pure functions of what the commands printed and reported. No claim stands here
that is not computed: the sentences follow from the numbers, either way.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from lmcodistill.report import charts, pages

# Nats per token below which two results are called equal.
THRESHOLD = 0.02

HEAD = ("model", "steps", "nats/token", "ppl/token", "bits/byte")


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a stage took, process starts included.

    Attributes:
        wall_seconds: By the clock.
        cpu_seconds: Of all its processes.
    """

    wall_seconds: float
    cpu_seconds: float


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        two: What `evaluate` says of student 0, student 1 and their ensemble.
        plain: What it says of the plain student.
        two_cost: Of training the two students that teach each other.
        plain_cost: Of training the plain one.
        two_reports: The `metrics.jsonl` of student 0 and of student 1.
        plain_reports: That of the plain student.
    """

    two: Sequence[Mapping[str, Any]]
    plain: Mapping[str, Any]
    two_cost: Cost
    plain_cost: Cost
    two_reports: Sequence[Sequence[Mapping[str, Any]]]
    plain_reports: Sequence[Mapping[str, Any]]


def rows(outcome: Measured) -> list[tuple[str, ...]]:
    """Returns the table, under `HEAD`."""
    student_0, student_1, ensemble = outcome.two
    return [
        _row("codistilled student 0", student_0),
        _row("codistilled student 1", student_1),
        _row("ensemble of the two", ensemble),
        _row("plain student", outcome.plain),
    ]


def _row(name: str, result: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        f"{max(result['steps']):,}",
        f"{result['cross_entropy']:.4f}",
        f"{result['perplexity_per_token']:,.1f}",
        f"{result['bits_per_byte']:.4f}",
    )


def verdict(outcome: Measured) -> list[str]:
    """Returns what the numbers say, one sentence each."""
    student, ensemble = outcome.two[0]["cross_entropy"], outcome.two[2]["cross_entropy"]
    return [
        _comparison(
            "Student 0, taught by student 1,",
            student,
            "the plain student with the same first weights, text, order and steps",
            outcome.plain["cross_entropy"],
        ),
        _comparison("The ensemble of the two", ensemble, "student 0 alone", student),
        _steps(outcome),
        _costs(outcome),
    ]


def _comparison(name: str, value: float, against: str, reference: float) -> str:
    difference = value - reference
    if abs(difference) < THRESHOLD:
        return (
            f"No difference: {name} ends {difference:+.4f} nats per token from "
            f"{against}, and less than {THRESHOLD} counts as none."
        )
    word = "Better" if difference < 0 else "Worse"
    side = "below" if difference < 0 else "above"
    return f"{word}: {name} ends {abs(difference):.4f} nats per token {side} {against}."


def _steps(outcome: Measured) -> str:
    """Says at which step student 0 was as good as the plain one in the end."""
    reference = validation(outcome.plain_reports)
    if not reference:
        return "Validation was not reported while training."
    last_step, target = reference[-1]
    reached = [s for s, value in validation(outcome.two_reports[0]) if value <= target]
    if not reached:
        return (
            f"Student 0 never came down to what the plain student had at step "
            f"{last_step:,.0f} ({target:.4f} nats per token of validation)."
        )
    return (
        f"Student 0 was at step {reached[0]:,.0f} where the plain student was at step "
        f"{last_step:,.0f} ({target:.4f} nats per token of validation)."
    )


def _costs(outcome: Measured) -> str:
    two, plain = outcome.two_cost, outcome.plain_cost
    ratio = two.cpu_seconds / max(plain.cpu_seconds, 1e-9)
    return (
        f"The pair took {two.wall_seconds:.0f} s of this machine and "
        f"{two.cpu_seconds:.0f} CPU seconds, the plain student "
        f"{plain.wall_seconds:.0f} s and {plain.cpu_seconds:.0f}: {ratio:.1f} times "
        "the work, for two students and a teacher in every step after burn-in."
    )


def validation(reports: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Returns pairs of step and validation cross entropy."""
    return [
        (r["step"], r["cross_entropy"]) for r in reports if r["kind"] == "validation"
    ]


def by_seconds(reports: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Returns pairs of training seconds and validation cross entropy."""
    seconds, pairs = 0.0, []
    for report in reports:
        if report["kind"] == "train":
            seconds += report["seconds"]
        elif report["kind"] == "validation":
            pairs.append((seconds, report["cross_entropy"]))
    return pairs


def aligned(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Returns a table for the terminal; all but one column to the right."""
    lines = [tuple(head), *map(tuple, body)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < 1 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def page(
    outcome: Measured,
    sample: str,
    corpus: Mapping[str, Any],
    stages: Sequence[tuple[str, str, Cost]],
    machine: str,
) -> str:
    """Returns the HTML page.

    Args:
        outcome: What was measured.
        sample: Text by student 0.
        corpus: `prep`'s report.
        stages: Name, command and cost of everything that ran.
        machine: Where.
    """
    first, *rest = verdict(outcome)
    splits = corpus["splits"]
    return pages.page(
        "Two students that teach each other, and one that learns alone",
        [
            pages.paragraph(first, "lead"),
            *map(pages.paragraph, rest),
            pages.table(HEAD, rows(outcome), "Held-out text"),
            pages.paragraph(
                "Cross entropy over the held-out documents. All three read one text, "
                "student 1 in another order. Dropout is what is best for each: 0.3 for "
                "the plain one, 0.1 beside a peer.",
                "quiet",
            ),
            pages.heading("Curves"),
            _chart(outcome, validation, "Validation, by step", "step"),
            _chart(
                outcome,
                by_seconds,
                "The same by time: the pair shares the machine that the plain student "
                "has to itself",
                "seconds of training, process start excluded",
            ),
            _chart(outcome, _training, "Training text, by step", "step"),
            pages.heading("A sample"),
            pages.paragraph("By student 0; the prompt is its beginning.", "quiet"),
            pages.preformatted(sample),
            pages.heading("The text"),
            pages.table(
                ("split", "documents", "tokens", "words", "bytes"),
                [
                    (name, *(f"{s[n]:,}" for n in _COUNTED))
                    for name, s in splits.items()
                ],
                "What each split holds",
            ),
            pages.heading("What ran"),
            pages.table(
                ("stage", "seconds", "CPU seconds"),
                [
                    (name, f"{cost.wall_seconds:.1f}", f"{cost.cpu_seconds:.1f}")
                    for name, _, cost in stages
                ],
                "What each stage took",
            ),
            pages.preformatted("\n\n".join(command for _, command, _ in stages)),
            pages.paragraph(machine, "quiet"),
        ],
    )


_COUNTED = ("documents", "tokens", "words", "bytes")


def _training(reports: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    return [(r["step"], r["cross_entropy"]) for r in reports if r["kind"] == "train"]


def _chart(outcome: Measured, points: Any, title: str, x_label: str) -> str:
    return charts.line_chart(
        [
            charts.Series("codistilled student 0", points(outcome.two_reports[0])),
            charts.Series("codistilled student 1", points(outcome.two_reports[1])),
            charts.Series("plain student", points(outcome.plain_reports), dashed=True),
        ],
        title=title,
        x_label=x_label,
        y_label="nats per token",
    )
