"""The processes of one launch of a student, watched until all of them are gone.

Finds out that a worker was lost, and which one began it: by a signal, an exit code,
its silence, or because the group did not come together in time. Never waits, but
for the seconds in which it asks who is missing.
"""

import contextlib
import dataclasses
import math
import os
import pathlib
import signal
import subprocess
from collections.abc import Callable, Sequence

from lmcodistill.supervision import (
    lifeline,
    missing,
    process_state,
    restarts,
    tf_config,
)
from lmcodistill.supervision.on_demand import OnDemand

# How long the others may take to leave when one has failed by itself: long enough
# for each to write its own words into its log.
LEAVE_SECONDS = 10.0
_FROZEN, _START_DEADLINE, _STOP_DEADLINE = "frozen", "start deadline", "stop deadline"
NOT_STARTED = "not started"
# After which share of the time that makes it frozen people hear of a quiet worker.
_QUIET_SHARE = 1 / 3
_TAIL_LINES = 12
_TAIL_BYTES = 1 << 14


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a group may do before it counts as lost, and how often it may be.

    Attributes:
        max_restarts: Failures in a row, with no newer step reached between them,
            that are followed by a restart; 0: any failure ends the whole run.
        start_deadline_seconds: How long a group may take to come together.
        frozen_seconds: How long a worker may say nothing.
        is_needed: Whether the other students cannot go on without this one, as in
            a scheduled exchange.
    """

    max_restarts: int = 10
    start_deadline_seconds: float = 300.0
    frozen_seconds: float = 30.0
    is_needed: bool = False


@dataclasses.dataclass(frozen=True)
class WorkerLoss:
    """How a worker was lost.

    Attributes:
        worker: Its index; None where not even one could be started.
        code: Its exit code, or the one that says the same.
        cause: In a word or two: a signal's name, an exit code, `frozen`, ...
        words: For people.
    """

    worker: int | None
    code: int
    cause: str
    words: str

    @property
    def was_judged(self) -> bool:
        """Whether the supervisor declared it lost, so that `words` say more."""
        return self.cause in (_FROZEN, _START_DEADLINE, _STOP_DEADLINE, NOT_STARTED)

    @property
    def rank(self) -> int:
        """Sorts what began it before what followed from it."""
        if self.code == -signal.SIGABRT:
            return 2  # TensorFlow's farewell where the chief has just left.
        if self.code < 0 or self.was_judged:
            return 0
        ranks = {restarts.LOST: 3, restarts.STOPPED: 4, restarts.INTERRUPTED: 4}
        return ranks.get(self.code, 1)


@dataclasses.dataclass
class WorkerProcess:
    """One process.

    Attributes:
        index: Among the workers of its group; 0 is the chief.
        log: Where its standard output and error go.
        process: The process.
        pulse: What is heard of it.
        was_killed: Whether it was ended from here, not by what else befell it.
        serves: Whether it only does what the first one asks it to, and ends with it.
        start_again: Starts it anew, where the group goes on without it meanwhile.
    """

    index: int
    log: pathlib.Path
    process: subprocess.Popen
    pulse: lifeline.Pulse
    was_killed: bool = False
    serves: bool = False
    start_again: Callable[[], "WorkerProcess"] | None = None

    @property
    def code(self) -> int | None:
        """Its exit code; negative: a signal's number; None while it runs."""
        code = self.process.poll()
        if code is not None:
            self.pulse.listen(0.0)  # Its last word may say that all is well.
        return 0 if code and self.pulse.is_done else code

    @property
    def can_be_lost(self) -> bool:
        """Whether its group goes on without it until it is there again."""
        helps = self.code is None or restarts.helps(self.code)
        return self.start_again is not None and helps and not self.was_killed

    def kill(self) -> None:
        """Ends it at once, also where it is stopped."""
        if self.code is None:
            self.process.kill()
            self.was_killed = True

    def listen(self, elapsed: float) -> None:
        """Takes its signs of life of the last `elapsed` seconds."""
        self.pulse.listen(elapsed)
        if self.pulse.is_done or not (
            self.pulse.has_joined or process_state.is_stopped(self.process.pid)
        ):
            # It cannot speak while it leaves, nor while it joins, when TensorFlow
            # holds Python's lock.
            self.pulse.quiet_seconds = 0.0

    def tail(self) -> str:
        """Returns the last lines of its log."""
        try:
            with open(self.log, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                content = file.read()
        except OSError as error:
            return f"(it cannot be read: {error})"
        lines = content.decode("utf-8", "replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])


class ProcessGroup:
    """The processes that one launch of a student made.

    Attributes:
        workers: Those that run here.
        missing: Where nobody of the others answers while it waits for them, and why.
        quiet: The workers that said nothing for long, but not long enough to judge.
        lost_alone: Those lost at the last look without which the group goes on.
    """

    def __init__(self, workers: Sequence[WorkerProcess], addresses: Sequence[str]):
        """Takes processes just started, and `host:port` of the whole group's."""
        self.workers, self._addresses = list(workers), addresses
        here = {worker.index for worker in workers}
        self._others = missing.MissingWorkers(
            [x for index, x in enumerate(addresses) if index not in here]
        )
        self.missing: dict[str, str] = {}
        self.quiet: set[int] = set()
        self._starting_seconds = self._leaving_seconds = 0.0
        self._condemned: list[WorkerLoss] = []
        self.lost_alone: list[WorkerLoss] = []
        # By worker: failures since it last joined, and when it is started again.
        self._failures: dict[int, int] = {}
        self._again_at: dict[int, float] = {}
        self._kill_at = self._save_by = math.inf

    @property
    def is_over(self) -> bool:
        """Whether all processes are gone."""
        return all(worker.code is not None for worker in self.workers)

    @property
    def has_joined(self) -> bool:
        """Whether the group has come together."""
        return all(w.pulse.has_joined for w in self.workers if not w.start_again)

    @property
    def step(self) -> int | None:
        """The newest step that a worker spoke of."""
        steps = [w.pulse.step for w in self.workers if w.pulse.step is not None]
        return max(steps, default=None)

    @property
    def was_saved(self) -> bool:
        """Whether a group that was stopped left nothing undone.

        All leave when they have agreed on it, and saved; one that leaves earlier,
        because it had not joined yet, loses the others what they had not begun.
        """
        codes = {worker.code for worker in self._leaving}
        left = {restarts.STOPPED, restarts.INTERRUPTED}
        if not codes <= {0, restarts.LOST, *left} or self._condemned:
            return False
        return restarts.LOST not in codes or bool(codes & left)

    @property
    def has_saved(self) -> bool:
        """Whether a worker left with the word that it saved because it was asked to."""
        return restarts.STOPPED in {worker.code for worker in self._leaving}

    @property
    def _leaving(self) -> list[WorkerProcess]:
        """Those that decide by themselves how they leave."""
        return [w for w in self.workers if not (w.was_killed or w.serves)]

    def look(self, now: float, elapsed: float, limits: Limits) -> None:
        """Listens, judges, and kills what must not live on.

        `now` is by the monotonic clock; the last look was `elapsed` seconds ago.
        """
        self.lost_alone = []
        for place, worker in enumerate(self.workers):
            worker.listen(elapsed)
            if limits.max_restarts and worker.can_be_lost:
                self._keep_alive(place, worker, now, limits)
            elif worker.code is not None:
                self._kill_at = min(self._kill_at, now + _patience(worker.code))
            elif worker.pulse.quiet_seconds > limits.frozen_seconds:
                words = f"gave no sign of life for {limits.frozen_seconds:g} s"
                self._condemn(worker, _FROZEN, words, now)
            elif now >= self._save_by:
                words = f"did not save within {lifeline.GRACE_SECONDS:g} s"
                self._condemn(worker, _STOP_DEADLINE, words, now)
        if self.workers[0].code is not None:
            for worker in self.workers[1:]:
                if worker.serves:
                    worker.kill()
        too_long = _QUIET_SHARE * limits.frozen_seconds
        for worker in self.workers:
            if worker.code is None:  # Of one that is gone nothing is heard again.
                self.quiet.discard(worker.index)
                if worker.pulse.quiet_seconds > too_long:
                    self.quiet.add(worker.index)
        self.missing = {}
        if not self.has_joined:
            self._starting_seconds += elapsed
            self.missing = self._others.look(self._starting_seconds)
            if self._starting_seconds > limits.start_deadline_seconds:
                self._condemn_those_that_start(limits.start_deadline_seconds, now)
        if all(worker.pulse.is_done for worker in self.workers):
            self._leaving_seconds += elapsed
        if now >= self._kill_at or self._leaving_seconds > lifeline.GRACE_SECONDS:
            self.kill()

    def _keep_alive(
        self, place: int, worker: WorkerProcess, now: float, limits: Limits
    ) -> None:
        """Starts a worker again that was lost alone; ends it first where it froze."""
        index = worker.index
        if worker.code is None:
            if worker.pulse.has_joined:
                self._failures[index] = 0
            if worker.pulse.quiet_seconds > limits.frozen_seconds:
                worker.process.kill()
        elif index not in self._again_at:
            self._failures[index] = self._failures.get(index, 0) + 1
            self._again_at[index] = now + restarts.delay_after(self._failures[index])
            self.lost_alone.append(_loss_of(worker))
        elif now >= self._again_at[index] and not self._is_ending:
            assert worker.start_again is not None
            del self._again_at[index]
            # One that cannot be started counts as lost once more.
            with contextlib.suppress(OSError):
                self.workers[place] = worker.start_again()
                self.workers[place].serves = worker.serves
                worker.pulse.close()

    @property
    def _is_ending(self) -> bool:
        """Whether nothing is started any more."""
        is_stopped = self._kill_at < math.inf or self._save_by < math.inf
        return is_stopped or self.workers[0].code is not None

    def _condemn(
        self, worker: WorkerProcess, cause: str, words: str, now: float
    ) -> None:
        if any(loss.worker == worker.index for loss in self._condemned):
            return
        self._condemned.append(WorkerLoss(worker.index, restarts.LOST, cause, words))
        self._kill_at = now

    def _condemn_those_that_start(self, limit: float, now: float) -> None:
        if self._condemned:
            return
        silent = tf_config.unanswered(self._addresses)
        reasons = ", ".join(f"{address} ({why})" for address, why in silent.items())
        hint = (
            f"no answer from {reasons}. Start the missing workers, or correct their "
            "addresses in TF_CONFIG; a firewall between the hosts does the same"
            if silent
            else "yet there is an answer from all their addresses. Perhaps a worker of "
            "another run listens there, or their TF_CONFIGs differ"
        )
        for worker in self.workers:
            if not worker.pulse.has_joined:
                words = f"had not joined its group after {limit:g} s: {hint}"
                self._condemn(worker, _START_DEADLINE, words, now)

    def stop(self, now: float) -> None:
        """Asks all processes to save and leave."""
        for worker in self.workers:
            worker.listen(0.0)
        if not self.has_joined:
            # While they join, TensorFlow swallows the signal. Nothing is trained
            # before all have joined, so there is nothing to save.
            self.kill()
            return
        for worker in self.workers:
            if worker.code is None:
                worker.process.terminate()
        self._save_by = now + lifeline.GRACE_SECONDS

    def ask(self, request: OnDemand) -> None:
        """Asks one worker, the chief if it is here; it takes the others along."""
        self.workers[0].pulse.ask(request)

    def kill(self) -> None:
        """Ends all processes at once."""
        for worker in self.workers:
            worker.kill()

    def first_loss(self) -> WorkerLoss | None:
        """Returns how the group was lost, when it is over; None where it was not."""
        losses = [*self._condemned]
        condemned = {loss.worker for loss in losses}
        losses += [
            _loss_of(worker)
            for worker in self.workers
            if worker.code and not worker.was_killed and worker.index not in condemned
            if worker.index not in self._again_at
        ]
        return min(losses, key=lambda loss: loss.rank, default=None)

    def story(self, loss: WorkerLoss) -> str:
        """Returns for people how a worker was lost, with what it said last."""
        worker = next(w for w in self.workers if w.index == loss.worker)
        return (
            f"worker {worker.index} {loss.words}. Its log {worker.log} ends:\n"
            f"{worker.tail()}"
        )

    def close(self) -> None:
        """Lets go what belonged to the processes."""
        for worker in self.workers:
            worker.pulse.close()


def _patience(code: int) -> float:
    """Returns how long the others may stay when one ended with `code`."""
    if code == 0:
        return math.inf
    if code in (restarts.STOPPED, restarts.INTERRUPTED):
        return lifeline.GRACE_SECONDS  # All agreed to leave; the chief still saves.
    return 0.0 if restarts.helps(code) else LEAVE_SECONDS


def _loss_of(worker: WorkerProcess) -> WorkerLoss:
    code = worker.code or 0
    if code < 0:
        name = _signal_name(-code)
        return WorkerLoss(worker.index, code, name, f"was ended by {name}")
    return WorkerLoss(
        worker.index, code, f"exit code {code}", f"ended with exit code {code}"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # One of the real-time signals.
        return f"signal {number}"
