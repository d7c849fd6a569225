"""How the students of a run are doing, read from its folder alone.

The live display and `lmcodistill status` show the same.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from lmcodistill.storage import files, layout, places, progress_file, publication
from lmcodistill.supervision import journal


@dataclasses.dataclass(frozen=True)
class StudentStatus:
    """One student.

    Attributes:
        student: Its index.
        step: Latest step it reported.
        num_train_steps: Where it will end; None before its first heartbeat.
        cross_entropy: Nats per token over the last report's steps.
        validation_cross_entropy: Latest, nats per token.
        tokens_per_second: Over the last report's steps.
        eta_seconds: Until the last step, at the pace since it started.
        teachers: The last report's `teachers`: peer, step, staleness in steps.
        newest_export: Step of its newest export.
        newest_checkpoint: Step of its newest checkpoint.
        restarts: How often its processes were started again after a loss.
    """

    student: int
    step: int
    num_train_steps: int | None
    cross_entropy: float | None
    validation_cross_entropy: float | None
    tokens_per_second: float | None
    eta_seconds: float | None
    teachers: list[dict[str, Any]]
    newest_export: int | None
    newest_checkpoint: int | None
    restarts: int


def read(
    run_dir: pathlib.Path, shared_dir: places.Place | None = None
) -> list[StudentStatus]:
    """Returns the status of every student of a run that has a folder."""
    run = layout.RunLayout(run_dir, shared_dir)
    return [_read_one(run, index) for index in run.students()]


def _read_one(run: layout.RunLayout, index: int) -> StudentStatus:
    student = run.student(index)
    lines = files.read_json_lines(student.metrics)
    train = [r for r in lines if r["kind"] == "train"]
    validation = [r for r in lines if r["kind"] == "validation"]
    last = train[-1] if train else {}
    progress = progress_file.read(student.progress) or {}
    total = progress.get("num_train_steps")
    step = max(progress.get("step", 0), last.get("step", 0))
    pace = progress.get("steps_per_second") or 0.0
    return StudentStatus(
        student=index,
        step=step,
        num_train_steps=total,
        cross_entropy=last.get("cross_entropy"),
        validation_cross_entropy=(
            validation[-1]["cross_entropy"] if validation else None
        ),
        tokens_per_second=last.get("tokens_per_second"),
        eta_seconds=(total - step) / pace if total and pace else None,
        teachers=last.get("teachers", []),
        newest_export=_newest(student.exports, layout.EXPORT),
        newest_checkpoint=_newest(student.checkpoints, layout.CHECKPOINT),
        restarts=journal.restarts(run, index),
    )


def _newest(folder: places.Place, prefix: str) -> int | None:
    snapshots = publication.committed(folder, prefix)
    return snapshots[-1].step if snapshots else None


def cells(
    students: Sequence[StudentStatus],
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Returns headings, and one row of cells per student."""
    columns = {
        "student": [str(s.student) for s in students],
        "step": [
            f"{s.step}/{s.num_train_steps}" if s.num_train_steps else str(s.step)
            for s in students
        ],
        "tokens/s": [_number(s.tokens_per_second, ",.0f") for s in students],
        "cross entropy": [_number(s.cross_entropy, ".4f") for s in students],
        "validation": [_number(s.validation_cross_entropy, ".4f") for s in students],
        "teachers (staleness)": [_teachers(s) for s in students],
        "ETA": [_duration(s.eta_seconds) for s in students],
    }
    return tuple(columns), list(zip(*columns.values(), strict=True))


def _teachers(status: StudentStatus) -> str:
    teachers = [f"{t['peer']} ({t['staleness_steps']})" for t in status.teachers]
    return ", ".join(teachers) or "-"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
