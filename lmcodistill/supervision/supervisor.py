"""Keeps groups of processes alive: each is restarted as a whole when it is lost.

TensorFlow cannot take a worker back into a running cluster. So when one process of
a group dies, freezes or leaves, what is left of the group is killed and all of it
is started again after a pause; it goes on from its last checkpoint. The other
groups notice nothing. The same holds for a whole run on this machine and, under
TF_CONFIG, for the one worker that belongs here: each host starts its own again,
and the cluster comes together by itself.

All is done by looking, several times a second, in one thread. Nothing here waits
for a process, and no decision needs storage.
"""

import contextlib
import functools
import math
import pathlib
import signal
import textwrap
import time
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lmcodistill import errors
from lmcodistill.supervision import journal as journals
from lmcodistill.supervision import process_group, restarts
from lmcodistill.supervision.on_demand import OnDemand

POLL_SECONDS = 0.2
_REAP_SECONDS = 10.0
# A pause of this process itself proves nothing about the others.
_LONGEST_TICK_SECONDS = 2.0
_MAX_REASON = 400  # Letters of a worker's last words that the journal keeps.

# The file that asks for it, where there is one.
RequestFiles = Mapping[OnDemand, pathlib.Path]


class SupervisedGroup:
    """The processes of one student that run here.

    Attributes:
        student: Its index.
        is_over: Whether nothing runs and nothing will be started.
        was_stopped: Whether it is over because it was asked to stop.
        has_saved: Whether it saved then; before training there is nothing to save.
        failure: Why it failed, if it did.
        stops_all: Whether that ends the other groups too.
    """

    def __init__(
        self,
        student: int,
        start: Callable[[int], process_group.ProcessGroup],
        limits: process_group.Limits,
        journal: journals.Journal,
        request_files: RequestFiles,
    ):
        """Starts nothing yet.

        `start` goes from the number of a launch, counted from 1, to its processes;
        it raises LmcodistillError where there is no sense in it. Each of
        `request_files` asks where it appears; it is removed when it is passed on.
        What has no file here is not for these processes.
        """
        self.student = student
        self._request_files = request_files
        self._asked: set[OnDemand] = set()
        self._start, self._limits, self._journal = start, limits, journal
        self.is_over = self.was_stopped = self.has_saved = self.stops_all = False
        self.failure: errors.LmcodistillError | None = None
        self._restarts = restarts.Restarts(limits.max_restarts)
        self._first_failure: errors.LmcodistillError | None = None
        self._number, self._start_at = 0, -math.inf
        self._processes: process_group.ProcessGroup | None = None
        self._is_stopping = False
        self._quiet: set[int] = set()
        self._missing: list[str] = []

    def look(self, now: float, elapsed: float) -> None:
        """Does what is due; of `now` and `elapsed`, see `ProcessGroup.look`."""
        if self.is_over:
            return
        if self._processes is None:
            if now >= self._start_at:
                self._begin(now)
            return
        self._processes.look(now, elapsed, self._limits)
        if self._processes.step is not None:
            self._restarts.reached(self._processes.step)
        self._note_silence(self._processes)
        for loss in self._processes.lost_alone:
            self._note("replacing", worker=loss.worker, cause=loss.cause)
        if self._processes.is_over:
            self._close(self._processes, now)

    def ask(self, for_all: set[OnDemand]) -> None:
        """Passes on what all students are asked, and this one is by its files.

        What is asked between two starts is for the next one.
        """
        self._asked |= for_all & self._request_files.keys() | _take(self._request_files)
        if self._processes is None:
            return
        for request in sorted(self._asked, key=lambda request: request.value):
            self._processes.ask(request)
            self._note(request.event)
        self._asked.clear()

    def stop(self, now: float) -> None:
        """Asks all processes to save and leave; nothing is started again."""
        self._is_stopping = True
        if self._processes is not None:
            self._processes.stop(now)
        elif not self.is_over:
            self.was_stopped = True
            self._end("stopped")

    def kill(self) -> None:
        """Ends all processes at once."""
        self._is_stopping = True
        if self._processes is not None:
            self._processes.kill()

    @property
    def is_gone(self) -> bool:
        """Whether none of its processes is left."""
        return self._processes is None or self._processes.is_over

    def _begin(self, now: float) -> None:
        self._number += 1
        try:
            self._processes = self._start(self._number)
        except errors.LmcodistillError as error:
            self._fail(error)
        except OSError as error:
            words = f"could not be started ({error})"
            loss = process_group.WorkerLoss(
                None, restarts.LOST, process_group.NOT_STARTED, words
            )
            self._lose(loss, f"Student {self.student} {words}.", now)
        else:
            pids = [worker.process.pid for worker in self._processes.workers]
            self._note("started", pids=pids)

    def _note_silence(self, processes: process_group.ProcessGroup) -> None:
        """Notes who has become quiet, who is heard again, and who is missing."""
        quiet, self._quiet = self._quiet, set(processes.quiet)
        for worker in sorted(quiet ^ self._quiet):
            self._note("quiet" if worker in self._quiet else "heard", worker=worker)
        missing, self._missing = self._missing, sorted(processes.missing)
        if self._missing != missing:
            self._note("waiting", missing=self._missing)

    def _close(self, processes: process_group.ProcessGroup, now: float) -> None:
        """Decides what comes after a launch whose processes are all gone."""
        self._processes = None
        self._quiet, self._missing = set(), []
        processes.close()
        loss = processes.first_loss()
        if self._is_stopping and processes.was_saved:
            self.was_stopped = any(worker.code for worker in processes.workers)
            self.has_saved = processes.has_saved
            self._end("stopped" if self.was_stopped else "ended")
        elif loss is None:
            self._end("ended")
        else:
            self._lose(loss, f"Student {self.student}, {processes.story(loss)}", now)

    def _lose(self, loss: process_group.WorkerLoss, story: str, now: float) -> None:
        more = {}
        if loss.was_judged:
            more["reason"] = loss.words
        elif loss.code > 0:  # Its own last words.
            last_words = story.splitlines()[-1].removeprefix("lmcodistill train: ")
            more["reason"] = textwrap.shorten(
                last_words, _MAX_REASON, placeholder=" ..."
            )
        self._note("lost", worker=loss.worker, cause=loss.cause, **more)
        failure = errors.LmcodistillError(story)
        failure.exit_code = loss.code if loss.code > 0 else restarts.LOST
        if self._is_stopping or not restarts.helps(loss.code):
            self._fail(failure)
            return
        delay = self._restarts.after_failure()
        if self._restarts.failures == 1:
            self._first_failure = failure
        if delay is None:
            self._fail(self._given_up(self._first_failure or failure))
            return
        self._start_at = now + delay
        self._note("restarting", cause=loss.cause, delay=delay)

    def _given_up(self, first: errors.LmcodistillError) -> errors.LmcodistillError:
        """Returns the first of several failures in a row, as the run's failure."""
        tries = self._restarts.failures
        if tries == 1:
            return first
        failure = errors.LmcodistillError(
            f"Student {self.student} failed {tries} times in a row without getting "
            f"beyond step {self._restarts.newest_step or 0}. The first time: {first}"
        )
        failure.exit_code = restarts.LOST
        return failure

    def _fail(self, failure: errors.LmcodistillError) -> None:
        self.failure = failure
        self.stops_all = (
            restarts.concerns_all(failure.exit_code)
            or self._limits.max_restarts == 0
            or self._limits.is_needed
        )
        cause = f"exit code {failure.exit_code}"
        self._end("gave_up", cause=cause, reason=str(failure).splitlines()[0])

    def _end(self, event: str, **more: Any) -> None:
        self.is_over = True
        self._note(event, **more)

    def _note(self, event: str, **more: Any) -> None:
        self._journal.note(
            event,
            student=self.student,
            attempt=self._number,
            last_step=self._restarts.newest_step,
            **more,
        )


class Supervisor:
    """Runs groups to their end."""

    def __init__(
        self,
        groups: Sequence[SupervisedGroup],
        request_files: RequestFiles = types.MappingProxyType({}),
    ):
        """Starts nothing yet; each of `request_files` asks all groups."""
        self._groups, self._request_files = groups, request_files
        self._asked: list[int] = []
        self._requests: set[OnDemand] = set()

    def run(self) -> None:
        """Runs until every group has ended, failed or stopped.

        SIGINT or SIGTERM once: all save and stop. Twice: all stop now. The signal of
        a request: it is passed on to all, and they go on.

        Raises:
            LmcodistillError: the first failure, with the worker's own words.
            StoppedError: no failure, but somebody asked to stop.
        """
        handlers = {signal.SIGINT: self._ask, signal.SIGTERM: self._ask}
        for request in OnDemand:
            handlers[request.signal] = functools.partial(self._note_request, request)
        previous = {number: signal.signal(number, x) for number, x in handlers.items()}
        try:
            failures = self._watch()
        finally:
            self._kill_all()
            for number, handler in previous.items():
                signal.signal(number, handler)
        if failures:
            raise failures[0]
        stopped = [group for group in self._groups if group.was_stopped]
        if stopped:
            raise self._stopped(stopped)

    def _stopped(self, groups: Sequence[SupervisedGroup]) -> errors.StoppedError:
        """Returns what to say of groups that were asked to stop, and stopped."""
        if len(self._asked) > 1:
            return errors.StoppedError(
                "Stopped at once, without saving; the same command goes on from the "
                "last checkpoint, or from the beginning where there is none."
            )
        unsaved = [group.student for group in groups if not group.has_saved]
        if not unsaved:
            return errors.StoppedError(
                "Stopped on request after saving; the same command goes on from here."
            )
        error = errors.StoppedError(
            "Stopped on request before there was anything new to save of "
            f"{' and '.join(f'student {student}' for student in unsaved)}; the same "
            "command goes on from the last checkpoint, or from the beginning where "
            "there is none."
        )
        # A scheduler that stops a job starts it again by its code, saved or not.
        if len(unsaved) == len(groups) and self._asked == [signal.SIGINT]:
            error.exit_code = restarts.INTERRUPTED
        return error

    def _ask(self, number: int, _: object) -> None:
        # Only noted: a process may be on its way to being started just now.
        self._asked.append(number)

    def _note_request(self, request: OnDemand, *_: object) -> None:
        self._requests.add(request)

    def _watch(self) -> list[errors.LmcodistillError]:
        """Looks until all is over; returns the failures, the first one first."""
        failures: list[errors.LmcodistillError] = []
        is_stopping, before = False, time.monotonic()
        while not all(group.is_over for group in self._groups):
            now = time.monotonic()
            elapsed, before = min(now - before, _LONGEST_TICK_SECONDS), now
            requests, self._requests = self._requests, set()
            requests |= _take(self._request_files)
            for group in self._groups:
                if group.is_over:
                    continue
                group.look(now, elapsed)
                group.ask(requests)
                if group.failure is not None:
                    failures.append(group.failure)
            fatal = any(group.stops_all for group in self._groups)
            if (self._asked or fatal) and not is_stopping:
                is_stopping = True
                for group in self._groups:
                    group.stop(now)
            if len(self._asked) > 1:
                for group in self._groups:
                    group.kill()
            time.sleep(POLL_SECONDS)
        return failures

    def _kill_all(self) -> None:
        """Leaves no process behind; waits until the system has let them go."""
        give_up = time.monotonic() + _REAP_SECONDS
        for group in self._groups:
            group.kill()
        while not all(group.is_gone for group in self._groups):
            if time.monotonic() > give_up:
                return
            time.sleep(POLL_SECONDS / 10)


def _take(request_files: RequestFiles) -> set[OnDemand]:
    """Returns what the files that are there ask for; they are gone then."""
    asked = set()
    for request, path in request_files.items():
        with contextlib.suppress(OSError):  # Mostly because there is none.
            path.unlink()
            asked.add(request)
    return asked
