"""The line between a supervisor and each of its workers, and both of its ends.

A worker's standard input is one end of a pair of sockets. Every second the worker
writes a line into it: `-` until it has joined its group, `+` from then on, the step
that it is at as soon as it has one, and last of all `.` when its work is done.
The other way go requests, each by its sign; that the line ends there means that the
supervisor is gone. A supervisor may itself be at the end of such a line, that of a
program which trains many runs.
"""

import contextlib
import os
import select
import signal
import socket
import threading

from lmcodistill.supervision.on_demand import OnDemand

# Says that standard input is a lifeline.
VARIABLE = "LMCODISTILL_SUPERVISED"
BEAT_SECONDS = 1.0
# How long a worker may take to save when it was asked to stop.
GRACE_SECONDS = 60.0

_STARTING, _JOINED, _DONE = b"-", b"+", b"."
_MAX_LINE = 32


class Pulse:
    """The supervisor's end: what it hears of one worker.

    Attributes:
        has_joined: Whether the worker's group has come together.
        step: The step that it is at; None until it said so.
        is_done: Whether its work is done; how it leaves is all the same then.
        quiet_seconds: How long it has said nothing.
    """

    def __init__(self, end: socket.socket):
        end.setblocking(False)
        self._end, self._rest = end, b""
        self.has_joined = False
        self.step: int | None = None
        self.is_done = False
        self.quiet_seconds = 0.0

    def listen(self, elapsed: float) -> None:
        """Takes what the worker has written in the last `elapsed` seconds."""
        self.quiet_seconds += elapsed
        try:
            content = self._end.recv(1 << 16)
        except OSError:  # Nothing yet, or the worker is gone.
            return
        if not content:
            return
        self.quiet_seconds = 0.0
        *lines, self._rest = (self._rest + content).split(b"\n")
        self._rest = self._rest[-_MAX_LINE:]
        for line in lines:
            if line == _JOINED:
                self.has_joined = True
            elif line == _DONE:
                self.is_done = True
            elif line.isdigit() and len(line) < _MAX_LINE:
                self.has_joined, self.step = True, int(line)

    def ask(self, request: OnDemand) -> None:
        """Passes a request on to the worker; one that starts hears it later."""
        with contextlib.suppress(OSError):  # It is gone, or heard it many times.
            self._end.send(request.value + b"\n")

    def close(self) -> None:
        """Lets the line go."""
        self._end.close()


class Lifeline:
    """The worker's end.

    Attributes:
        asked: For each request, an event that is set when the supervisor passes it on.
    """

    def __init__(self, end: socket.socket):
        end.setblocking(False)
        self._end = end
        self.asked = {request: threading.Event() for request in OnDemand}

    def tell(self, has_joined: bool, step: int | None) -> None:
        """Says that this process lives, and where it is."""
        line = _JOINED if has_joined else _STARTING
        self._send(line if step is None else str(step).encode())

    def tell_done(self) -> None:
        """Says that the work is done."""
        self._send(_DONE)

    def _send(self, line: bytes) -> None:
        # The supervisor may sleep or be gone: `lasts` tells.
        with contextlib.suppress(OSError):
            self._end.send(line + b"\n")

    def lasts(self) -> bool:
        """Waits for a beat; returns False as soon as the supervisor is gone."""
        try:
            readable, _, _ = select.select([self._end], [], [], BEAT_SECONDS)
            heard = self._end.recv(1 << 16) if readable else b""
        except OSError:
            return False
        for request, asked in self.asked.items():
            if request.value in heard:
                asked.set()
        return bool(heard) or not readable


def is_supervised() -> bool:
    """Returns whether this process was started with a lifeline."""
    return VARIABLE in os.environ


def inherited() -> Lifeline:
    """Returns this process's end; once, because what it starts has its own."""
    del os.environ[VARIABLE]
    return Lifeline(socket.socket(fileno=os.dup(0)))


def stop_with_starter() -> None:
    """Has this process save and stop when whoever started it is gone, if supervised."""
    if not is_supervised():
        return
    line = inherited()

    def watch() -> None:
        while line.lasts():
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
