"""How the students of a run are doing, read from its folder alone.

The live display, `lmcodistill status` and `lmcodistill report` show the same.
"""

import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Iterable
from typing import Any

from lmcodistill import errors
from lmcodistill.report import units
from lmcodistill.storage import files, layout, places, progress_file, publication
from lmcodistill.supervision import journal, lease, process_state, states

# Two looks so far apart see another beat of a lease that is kept: what seems to be
# frozen by the clock of another machine is looked at again.
_SECOND_LOOK_SECONDS = 1.25 * lease.BEAT_SECONDS
# A silence that no difference between two clocks explains.
_LONG_SECONDS = 3600.0


@dataclasses.dataclass(frozen=True)
class StudentStatus:
    """One student.

    Attributes:
        student: Its index.
        state: What it does.
        phase: What its chief does just now, in words.
        waiting_for: What it waits for, in the state `waiting`.
        last_sign_seconds: Since its last sign of life; None before the first.
        last_cause: Why it was lost or given up the last time: `states.last_cause`.
        exit_code: What `train` would end with in this state; 0 where it goes on.
        step: Latest step it reported.
        restored_step: The step that its latest start went on from; 0: it began.
        num_train_steps: Where it will end; None before its first heartbeat.
        cross_entropy: Nats per token over the last report's steps.
        perplexity: Of it, per token.
        validation_cross_entropy: Latest, nats per token.
        validation_perplexity: Of it, per token.
        validation_bits_per_byte: Of it; None where that is not known.
        tokens_per_second: Over the last report's steps; None before the first report
            of this start.
        eta_seconds: Until the last step, at the pace since it started.
        teachers: The last report's `teachers`: peer, step, staleness in steps.
        newest_export: Step of its newest export.
        newest_checkpoint: Step of its newest checkpoint.
        asked_checkpoint: Step of the newest one that somebody asked this start for.
        asked_export: The same of exports.
        restarts: How often its processes were started again after a loss.
        processes: Of the latest start, each with its `worker`, `phase`,
            `waiting_for` and `devices`.
    """

    student: int
    state: states.StudentState
    phase: str | None
    waiting_for: str | None
    last_sign_seconds: float | None
    last_cause: dict[str, Any] | None
    exit_code: int
    step: int
    restored_step: int | None
    num_train_steps: int | None
    cross_entropy: float | None
    perplexity: float | None
    validation_cross_entropy: float | None
    validation_perplexity: float | None
    validation_bits_per_byte: float | None
    tokens_per_second: float | None
    eta_seconds: float | None
    teachers: list[dict[str, Any]]
    newest_export: int | None
    newest_checkpoint: int | None
    asked_checkpoint: int | None
    asked_export: int | None
    restarts: int
    processes: list[dict[str, Any]]


def read(
    run_dir: pathlib.Path, shared_dir: places.Place | None = None
) -> list[StudentStatus]:
    """Returns the status of every student of a run that has begun.

    Takes some seconds where a student seems to be frozen.
    """
    run = layout.RunLayout(run_dir, shared_dir)
    signs = {index: _signs(run, index) for index in _students(run)}
    doubtful = [index for index, one in signs.items() if _is_doubtful(one)]
    if doubtful:
        time.sleep(_SECOND_LOOK_SECONDS)
    for index in doubtful:
        again = _signs(run, index)
        if again.owner and signs[index].owner != again.owner:
            again = dataclasses.replace(again, quiet_seconds=0.0)
        signs[index] = again
    return [_status(run, index, one) for index, one in signs.items()]


def read_begun(
    run_dir: pathlib.Path, shared_dir: places.Place | None = None
) -> list[StudentStatus]:
    """Returns what `read` does, of a folder that somebody named as a run's.

    Raises:
        UsageError: there are no students.
    """
    students = read(run_dir, shared_dir)
    if not students:
        raise errors.UsageError(
            f"{run_dir} holds no students; a run's folder has one below students/. "
            "Give the --run_dir of `lmcodistill train`."
        )
    return students


def is_over(students: list[StudentStatus]) -> bool:
    """Returns whether nothing of a run goes on by itself any more."""
    started = [s for s in students if s.state is not states.StudentState.NOT_STARTED]
    return bool(started) and all(s.state.is_over for s in started)


def exit_code(students: list[StudentStatus]) -> int:
    """Returns the code of the student that needs somebody most; 0 if none does."""
    # The rarer the state, the more it says: a failure of one stops the others.
    worst = (
        states.StudentState.STOPPED,
        states.StudentState.FROZEN,
        states.StudentState.LOST,
    )
    codes = [s.exit_code for s in students if s.exit_code and s.state not in worst]
    for state in reversed(worst):
        codes += [s.exit_code for s in students if s.state is state]
    return codes[0] if codes else 0


def _students(run: layout.RunLayout) -> list[int]:
    """Returns the students that have a folder, and those that must be somewhere."""
    begun = run.students()
    beats = [progress_file.read(run.student(i).progress) or {} for i in begun]
    count = max((int(beat.get("students", 0)) for beat in beats), default=0)
    return sorted({*begun, *range(count)})


def _signs(run: layout.RunLayout, index: int) -> states.Signs:
    student = run.student(index)
    heartbeats = []
    for path in student.all_progress():
        if beat := progress_file.read(path):
            worker = path.stem.removeprefix("progress").removeprefix("-worker-")
            heartbeats.append({**beat, "worker": int(worker or 0)})
    journals = journal.of_student(run, index)
    holder, ages = _holder(student)
    signs = states.Signs(
        journals,
        heartbeats,
        progress_file.read(student.result(0)),
        _owner(holder) if holder else None,
    )
    ages += _ages([*student.all_progress(), *student.logs()])
    noted = _ages([run.supervisor, *student.supervisors()])
    stopped = []
    if holder and holder.is_here and holder.pid in signs.pids:
        stopped = [pid for pid in signs.pids if process_state.is_stopped(pid)]
    return dataclasses.replace(
        signs,
        stopped=stopped,
        quiet_seconds=min(ages, default=None),
        noted_seconds=min(noted, default=None),
    )


def _holder(student: layout.StudentLayout) -> tuple[lease.Holder | None, list[float]]:
    """Returns who took the student last, and how long ago that was confirmed."""
    with contextlib.suppress(OSError, errors.LmcodistillError):
        path, holder = lease.newest_file(student.leases), lease.newest(student.leases)
        if path is not None:
            return holder, _ages([path]) if places.is_local(path) else []
    return None, []


def _owner(holder: lease.Holder) -> states.LeaseOwner:
    beat = holder.generation, holder.beat
    return states.LeaseOwner(holder.pid, beat, holder.is_alive(), holder.released)


def _ages(paths: Iterable[pathlib.Path]) -> list[float]:
    """Returns how long ago files were written, those that are there."""
    ages = []
    for path in paths:
        with contextlib.suppress(OSError):
            ages.append(max(0.0, time.time() - os.stat(path).st_mtime))
    return ages


def _is_doubtful(signs: states.Signs) -> bool:
    """Returns whether a second look may find something else."""
    state = states.judge(signs).state
    if state not in (states.StudentState.FROZEN, states.StudentState.LOST):
        return False
    return not signs.stopped and (signs.quiet_seconds or 0.0) < _LONG_SECONDS


def _status(run: layout.RunLayout, index: int, signs: states.Signs) -> StudentStatus:
    student = run.student(index)
    lines = files.read_json_lines(student.metrics)
    nothing: dict[str, Any] = {}
    last = next((r for r in reversed(lines) if r["kind"] == "train"), nothing)
    score = next((r for r in reversed(lines) if r["kind"] == "validation"), nothing)
    judged = states.judge(signs)
    beat = signs.heartbeats[0] if signs.heartbeats else {}
    total, restored = beat.get("num_train_steps"), beat.get("restored_step")
    step = max(beat.get("step", 0), last.get("step", 0))
    pace = beat.get("steps_per_second") or 0.0
    eta = (total - step) / pace if total and pace else None
    if judged.state is not states.StudentState.RUNNING:
        eta = 0.0 if judged.state is states.StudentState.DONE else None
    # Of an earlier start, it says nothing about this one.
    is_current = last.get("step", 0) > (restored or 0)
    named = ("worker", "phase", "waiting_for", "devices")
    return StudentStatus(
        student=index,
        state=judged.state,
        phase=judged.phase,
        waiting_for=judged.waiting_for,
        last_sign_seconds=signs.quiet_seconds and round(signs.quiet_seconds, 1),
        last_cause=states.last_cause(signs.journals),
        exit_code=judged.exit_code,
        step=step,
        restored_step=restored,
        num_train_steps=total,
        cross_entropy=last.get("cross_entropy"),
        perplexity=_perplexity(last),
        validation_cross_entropy=score.get("cross_entropy"),
        validation_perplexity=_perplexity(score),
        validation_bits_per_byte=score.get("bits_per_byte"),
        tokens_per_second=last.get("tokens_per_second") if is_current else None,
        eta_seconds=eta,
        teachers=last.get("teachers", []),
        newest_export=newest_step(student.exports, layout.EXPORT),
        newest_checkpoint=newest_step(student.checkpoints, layout.CHECKPOINT),
        asked_checkpoint=beat.get("asked_checkpoint"),
        asked_export=beat.get("asked_export"),
        restarts=journal.restarts(run, index),
        processes=[{n: x.get(n) for n in named} for x in signs.of_this_start],
    )


def _perplexity(report: dict[str, Any]) -> float | None:
    value = report.get("cross_entropy")
    return None if value is None else units.perplexity(value)


def newest_step(folder: places.Place, prefix: str) -> int | None:
    """Returns the step of the newest export or checkpoint of a folder, if any."""
    snapshots = publication.committed(folder, prefix)
    return snapshots[-1].step if snapshots else None
