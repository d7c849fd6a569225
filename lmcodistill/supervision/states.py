"""What a student does, judged from the signs that its run's folder holds.

Pure: no files, no clock. Whoever supervises a student says in its journal what became
of it; the workers say in their heartbeats what they do; and the chief's lease says
whether somebody is still there to say anything.
"""

import dataclasses
import enum
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lmcodistill import errors
from lmcodistill.storage.progress_file import Phase

# After which silence a student counts as frozen, and as lost.
FROZEN_SECONDS = 10.0
LOST_SECONDS = 90.0
# While TensorFlow is imported and while a group comes together, no thread of a worker
# can say anything; how long that may take is the supervisor's to judge.
_START_SECONDS = 1800.0

_OF_LIFE = ("started", "lost", "restarting", "gave_up", "ended", "stopped")
_EARLY = (Phase.CHECKING, Phase.IMPORTING, Phase.JOINING)
_BEFORE_TRAINING = (*_EARLY, Phase.BUILDING, Phase.RESTORING)

Event = Mapping[str, Any]


class StudentState(enum.StrEnum):
    """What a student does, in the words that people and programs read."""

    NOT_STARTED = "not started"
    STARTING = "starting"
    WAITING = "waiting"
    RUNNING = "running"
    FROZEN = "frozen"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"
    LOST = "lost"
    DONE = "done"

    @property
    def is_over(self) -> bool:
        """Whether nothing goes on by itself any more."""
        return self in _OVER

    @property
    def exit_code(self) -> int:
        """The exit code of `train` that says the same; 0 where it goes on, or is done.

        A failure has one of its own.
        """
        return _EXIT_CODES.get(self, 0)


_OVER = (
    StudentState.STOPPED,
    StudentState.DIVERGED,
    StudentState.FAILED,
    StudentState.LOST,
    StudentState.DONE,
)
_EXIT_CODES = {
    StudentState.FROZEN: errors.GroupLostError.exit_code,
    StudentState.LOST: errors.GroupLostError.exit_code,
    StudentState.STOPPED: errors.StoppedError.exit_code,
    StudentState.DIVERGED: errors.DivergedError.exit_code,
    StudentState.FAILED: errors.LmcodistillError.exit_code,
}


@dataclasses.dataclass(frozen=True)
class LeaseOwner:
    """What the newest lease says of the process that took it.

    Attributes:
        pid: Its number.
        beat: The lease's generation, and how often it was renewed.
        is_alive: Whether it lives; None where that cannot be seen from here.
        released: Whether it gave the student up in good order.
    """

    pid: int
    beat: tuple[int, int]
    is_alive: bool | None
    released: bool


@dataclasses.dataclass(frozen=True)
class Signs:
    """What can be read of one student.

    Attributes:
        journals: What each of its supervisors noted of it.
        heartbeats: What its workers said last, the chief's first.
        result: How its chief ended, this time or an earlier one.
        owner: Who took its lease last.
        stopped: Processes that a signal has stopped, where that can be seen.
        quiet_seconds: Since the workers' last sign of life; None before the first.
        noted_seconds: Since a supervisor noted something last.
    """

    journals: Sequence[Sequence[Event]] = ()
    heartbeats: Sequence[Event] = ()
    result: Event | None = None
    owner: LeaseOwner | None = None
    stopped: Collection[int] = ()
    quiet_seconds: float | None = None
    noted_seconds: float | None = None

    @property
    def pids(self) -> set[int]:
        """The processes of the latest start."""
        return {
            pid
            for events in self.journals
            for event in _since_start(events)[:1]
            for pid in event.get("pids", ())
        }

    @property
    def of_this_start(self) -> list[Event]:
        """The heartbeats of the latest start."""
        pids = self.pids
        return [beat for beat in self.heartbeats if beat.get("pid") in pids]


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What a student does.

    Attributes:
        state: In a word.
        phase: What its chief does, in words; None where nothing runs.
        waiting_for: What it waits for; None where it does not.
        exit_code: See `StudentState.exit_code`.
    """

    state: StudentState
    phase: str | None = None
    waiting_for: str | None = None
    exit_code: int = 0


def judge(signs: Signs) -> Judgement:
    """Returns what a student does."""
    newest = _newest(signs.journals, _OF_LIFE)
    if newest is None:
        state = StudentState.LOST if signs.heartbeats else StudentState.NOT_STARTED
        return _plain(_ended_by(signs.result) or state)
    match newest["event"]:
        case "ended":
            return _plain(StudentState.DONE)
        case "stopped":
            return _plain(StudentState.STOPPED)
        case "gave_up":
            return _given_up(newest)
        case "started":
            return _of_processes(signs)
    # It would have been started again by now.
    is_late = (signs.noted_seconds or 0.0) > LOST_SECONDS
    return _plain(StudentState.LOST if is_late else StudentState.RESTARTING)


def last_cause(journals: Sequence[Sequence[Event]]) -> dict[str, Any] | None:
    """Returns why a student was lost or given up the last time, if it ever was.

    It has `time`, `cause`, `reason`, `worker` and `last_step`, as its supervisor
    noted them.
    """
    last = _newest(journals, ("lost", "gave_up"))
    if last is None:
        return None
    # Where it was given up, the loss before has a worker's own words.
    loss = _newest(journals, ("lost",)) or last
    if loss.get("cause") == last.get("cause"):
        last = loss
    names = ("time", "cause", "reason", "worker", "last_step")
    return {name: last.get(name) for name in names}


def _newest(
    journals: Sequence[Sequence[Event]], kinds: Collection[str]
) -> Event | None:
    """Returns the newest event of some kinds, if there is one."""
    # Of one supervisor's, the later one also where both bear the same time.
    events = [e for x in journals for e in reversed(x) if e["event"] in kinds]
    return max(events, key=lambda event: event["time"], default=None)


def _plain(state: StudentState) -> Judgement:
    return Judgement(state, exit_code=state.exit_code)


def _ended_by(result: Event | None) -> StudentState | None:
    outcomes = {"done": StudentState.DONE, "stopped": StudentState.STOPPED}
    return outcomes.get(result.get("outcome", "")) if result else None


def _given_up(event: Event) -> Judgement:
    match = re.search(r"exit code (\d+)", event.get("cause") or "")
    code = int(match[1]) if match else StudentState.FAILED.exit_code
    is_diverged = code == StudentState.DIVERGED.exit_code
    return Judgement(
        StudentState.DIVERGED if is_diverged else StudentState.FAILED, exit_code=code
    )


def _of_processes(signs: Signs) -> Judgement:
    """Judges a student of whose processes no end was noted."""
    pids, quiet = signs.pids, signs.quiet_seconds or 0.0
    owner = signs.owner if signs.owner and signs.owner.pid in pids else None
    if owner and owner.is_alive is False:
        # Its supervisor will say why in a moment, unless that is gone as well.
        is_own = signs.result and signs.result.get("pid") in pids
        ended = _ended_by(signs.result) if owner.released and is_own else None
        return _plain(ended or StudentState.LOST)
    beats = signs.of_this_start
    chief = beats[0] if beats else {}
    phase = chief.get("phase") or (Phase.TRAINING if beats else None)
    code = StudentState.FROZEN.exit_code
    if pids & set(signs.stopped) or any(map(_is_quiet, signs.journals)):
        return Judgement(StudentState.FROZEN, phase, exit_code=code)
    has_joined = beats and phase not in _EARLY and _has_restored(chief, phase)
    if quiet > (FROZEN_SECONDS if has_joined else _START_SECONDS):
        is_here = owner is not None and owner.is_alive
        state = (
            StudentState.FROZEN
            if is_here or quiet <= LOST_SECONDS
            else StudentState.LOST
        )
        return Judgement(state, phase, exit_code=state.exit_code)
    return _at_work(phase, chief, [x for j in signs.journals for x in _missing(j)])


def _at_work(phase: str | None, chief: Event, missing: Sequence[str]) -> Judgement:
    if phase == Phase.JOINING and missing:
        return Judgement(StudentState.WAITING, phase, ", ".join(missing))
    if phase == Phase.WAITING:
        return Judgement(StudentState.WAITING, phase, chief.get("waiting_for"))
    is_first = phase == Phase.TRACING and not chief.get("steps_per_second")
    is_starting = phase is None or phase in _BEFORE_TRAINING or is_first
    return Judgement(
        StudentState.STARTING if is_starting else StudentState.RUNNING, phase
    )


def _has_restored(chief: Event, phase: str | None) -> bool:
    """Returns whether a worker is past the waits that come before its group."""
    return phase != Phase.WAITING or chief.get("restored_step") is not None


def _since_start(events: Sequence[Event]) -> Sequence[Event]:
    """Returns the events from the latest start on; none where there was none."""
    starts = [i for i, event in enumerate(events) if event["event"] == "started"]
    return events[starts[-1] :] if starts else []


def _is_quiet(events: Sequence[Event]) -> bool:
    """Returns whether a supervisor waits for a sign of life of a worker."""
    quiet: set[int] = set()
    for event in _since_start(events):
        if event["event"] == "quiet":
            quiet.add(event["worker"])
        elif event["event"] == "heard":
            quiet.discard(event["worker"])
        elif event["event"] == "lost":
            quiet.clear()
    return bool(quiet)


def _missing(events: Sequence[Event]) -> list[str]:
    """Returns the addresses where a supervisor waits for somebody to answer."""
    waits = [e["missing"] for e in _since_start(events) if e["event"] == "waiting"]
    return waits[-1] if waits else []
