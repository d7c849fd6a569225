"""Students as a terminal shows them: a table, or one block each where it is narrow.

Nothing is cut at any width: what is too long for a line goes on in the next.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import rich.console
import rich.progress_bar
import rich.table
import rich.text

from lmcodistill.report import units
from lmcodistill.storage.progress_file import Phase
from lmcodistill.supervision import states, status

# From this width on, all of a student fits in a row.
TABLE_COLUMNS = 100
_BAR_COLUMNS = 10
_GAP = "   "
_STYLES = {
    states.StudentState.RUNNING: "green",
    states.StudentState.DONE: "bold green",
    states.StudentState.STOPPED: "yellow",
    states.StudentState.RESTARTING: "yellow",
    states.StudentState.FROZEN: "bold yellow",
    states.StudentState.DIVERGED: "bold red",
    states.StudentState.FAILED: "bold red",
    states.StudentState.LOST: "bold red",
}


def view(
    students: Sequence[status.StudentStatus], columns: int
) -> rich.console.RenderableType:
    """Returns the students for a terminal so many columns wide."""
    shown: list[rich.console.RenderableType]
    if columns >= TABLE_COLUMNS:
        shown, notes = [_table(students)], []
        for student in students:
            words = _state(student)  # For which the table has no room.
            more = [words] if words != student.state else []
            lines = [*more, *_notes(student)]
            notes += [f"student {student.student}: {line}" for line in lines]
    else:
        shown, notes = [_block(s, columns) for s in students], []
    notes.append(total(students))
    return rich.console.Group(*shown, *map(rich.text.Text, notes))


def line(student: status.StudentStatus) -> str:
    """Returns one student in one line, for a log."""
    items = [doing(student), *_numbers(student)]
    return f"student {student.student}: {', '.join(items)}"


def doing(student: status.StudentStatus) -> str:
    """Returns what a student does, in words."""
    at_work = (states.StudentState.STARTING, states.StudentState.RUNNING)
    is_usual = student.phase in (None, Phase.TRAINING)
    if student.state in at_work and not is_usual:
        return f"{student.state}: {student.phase}"
    return _state(student)


def _state(student: status.StudentStatus) -> str:
    """Returns the state of a student, with what it waits for, or for how long."""
    if student.state is states.StudentState.WAITING and student.waiting_for:
        return f"waiting for {student.waiting_for}"
    is_silent = student.state in (states.StudentState.FROZEN, states.StudentState.LOST)
    if is_silent and student.last_sign_seconds is not None:
        quiet = _span(student.last_sign_seconds)
        return f"{student.state} (no sign of life for {quiet})"
    return student.state


def total(students: Sequence[status.StudentStatus]) -> str:
    """Returns how many students do what, and their tokens per second together."""
    counts: dict[str, int] = {}
    for student in students:
        counts[student.state] = counts.get(student.state, 0) + 1
    parts = [f"{count} {state}" for state, count in counts.items()]
    running = [s for s in students if s.state is states.StudentState.RUNNING]
    # Before its first report nobody knows a student's.
    paces = [s.tokens_per_second for s in running if s.tokens_per_second is not None]
    if paces:
        parts.append(f"{sum(paces):,.0f} tokens/s in total")
    return f"Students: {', '.join(parts)}."


def _step(student: status.StudentStatus) -> str:
    if student.num_train_steps is None:
        return str(student.step)
    return f"{student.step}/{student.num_train_steps}"


def _bar(
    student: status.StudentStatus, width: int | None
) -> rich.progress_bar.ProgressBar:
    total_steps = student.num_train_steps or 1
    return rich.progress_bar.ProgressBar(total_steps, student.step, width)


def _table(students: Sequence[status.StudentStatus]) -> rich.table.Table:
    table = rich.table.Table(padding=(0, 1), pad_edge=False, box=None)
    for heading, is_number in (
        *(("student", True), ("state", False), ("", False), ("step", True)),
        *(("tokens/s", True), ("cross\nentropy", True), ("validation", True)),
        *(("teacher\n(staleness)", False), ("ETA", True)),
    ):
        table.add_column(
            heading,
            justify="right" if is_number else "left",
            no_wrap=is_number,
            overflow="fold",
        )
    for student in students:
        ces = student.cross_entropy, student.validation_cross_entropy
        table.add_row(
            str(student.student),
            rich.text.Text(student.state, _STYLES.get(student.state, "")),
            _bar(student, _BAR_COLUMNS),
            _step(student),
            units.number(student.tokens_per_second, ",.0f"),
            *("-" if x is None else _with_perplexity(x) for x in ces),
            "\n".join(_teachers(student)) or "-",
            units.duration(student.eta_seconds),
        )
    return table


def _block(student: status.StudentStatus, columns: int) -> rich.console.RenderableType:
    """Returns a student's name, state and bar, and below them its numbers."""
    head = rich.text.Text(f"student {student.student}{_GAP}")
    head.append(_state(student), _STYLES.get(student.state, ""))
    if student.state is states.StudentState.NOT_STARTED:
        return rich.console.Group(head, "")
    step = _step(student)
    bar = rich.table.Table.grid(padding=(0, 1, 0, 0))
    bar.add_row("", _bar(student, max(4, columns - len(step) - 6)), step)
    lines = [*_flowed(_numbers(student)[1:], columns - 2), *_notes(student)]
    wrapped = [part for x in lines for part in textwrap.wrap(x, columns - 2)]
    body = textwrap.indent("".join(f"{part}\n" for part in wrapped), "  ")
    return rich.console.Group(head, bar, rich.text.Text(body))


def _numbers(student: status.StudentStatus) -> list[str]:
    """Returns what is known of a student in numbers, each with its name."""
    items = [f"step {_step(student)}"]
    if student.tokens_per_second is not None:
        items.append(f"{student.tokens_per_second:,.0f} tokens/s")
    for name, value in (
        ("cross entropy", student.cross_entropy),
        ("validation", student.validation_cross_entropy),
    ):
        if value is not None:
            shown = units.of_perplexity(value)
            items.append(f"{name} {value:.4f} (perplexity {shown})")
    if student.teachers:
        items.append(f"teacher (staleness) {', '.join(_teachers(student))}")
    if student.eta_seconds:
        items.append(f"ETA {units.duration(student.eta_seconds)}")
    return items


def _with_perplexity(cross_entropy: float) -> str:
    return f"{cross_entropy:.4f}\nppl {units.of_perplexity(cross_entropy)}"


def _teachers(student: status.StudentStatus) -> list[str]:
    return [f"{t['peer']} ({t['staleness_steps']})" for t in student.teachers]


def _notes(student: status.StudentStatus) -> list[str]:
    """Returns what people need besides the numbers, in sentences."""
    notes = []
    if not student.state.is_over:
        notes += [_process(x, len(student.processes)) for x in student.processes]
        if student.last_sign_seconds is not None:
            sign = f"last sign of life {_span(student.last_sign_seconds)} ago"
            notes[-1:] = [f"{notes[-1]}; {sign}" if notes else sign]
    if student.restored_step and not student.state.is_over:
        notes.append(f"went on from step {student.restored_step}")
    if student.asked_checkpoint is not None:
        notes.append(f"saved at step {student.asked_checkpoint}, as asked")
    if student.asked_export is not None:
        notes.append(f"published at step {student.asked_export}, as asked")
    if student.restarts:
        times = "once" if student.restarts == 1 else f"{student.restarts} times"
        notes.append(f"started again {times} after a loss")
    if student.last_cause and student.state is not states.StudentState.DONE:
        notes.append(cause(student))
    return notes


def _process(process: Mapping[str, Any], count: int) -> str:
    """Returns what one of `count` processes does, and on which devices."""
    waits = process["waiting_for"]
    what = f"waiting for {waits}" if waits else process["phase"] or "starting"
    where = f" on {', '.join(process['devices'])}" if process["devices"] else ""
    who = f"worker {process['worker']} " if count > 1 else ""
    return f"{who}{what}{where}"


def cause(student: status.StudentStatus) -> str:
    """Returns why a student was lost last, if it was."""
    if student.last_cause is None:
        return "it was never lost"
    worker, last_step, reason, found = (
        student.last_cause[n] for n in ("worker", "last_step", "reason", "cause")
    )
    whose = "" if worker is None else f" (worker {worker})"
    # A worker that ended by itself has said at which step.
    where = "" if reason or last_step is None else f" at step {last_step}"
    return f"last loss: {found}{whose}{where}" + (f": {reason}" if reason else "")


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else units.duration(seconds)


def _flowed(items: Iterable[str], columns: int) -> list[str]:
    """Returns the items in lines; none is broken unless it alone is too long."""
    lines: list[str] = []
    for item in items:
        longer = f"{lines[-1]}{_GAP}{item}" if lines else item
        if lines and len(longer) <= columns:
            lines[-1] = longer
        else:
            lines.append(item)
    return lines
