"""A worker's watch over itself: it says that it lives, and ends where it must.

One thread does it all. It ends the process when the supervisor is gone, so that
there are no orphans, and when training hangs, so that it is started again. It
cannot run while the group is being joined: there TensorFlow waits in C++ with
Python's lock held, and swallows SIGTERM. That time is the supervisor's to watch.
"""

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time

from lmcodistill import errors
from lmcodistill.supervision import lifeline

_PR_SET_PDEATHSIG = 1


class Watchdog:
    """Watches this process from its making on.

    Attributes:
        asked: What the supervisor asked for; see `Lifeline`.
    """

    def __init__(self, hang_seconds: float):
        """Begins; between two calls of `reached` may be so long, 0.0: for ever."""
        self._hang_seconds = hang_seconds
        self._line = lifeline.inherited()
        self.asked = self._line.asked
        self._has_joined = False
        self._step: int | None = None
        self._quiet_seconds = 0.0
        _die_with_parent(True)
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()

    def joined(self) -> None:
        """Notes that the group has come together, and that SIGTERM is answered."""
        self._quiet_seconds = 0.0
        self._has_joined = True
        # Told before anything is done with the others: a supervisor that has not
        # heard it knows that there is nothing to save.
        self._line.tell(True, None)
        _die_with_parent(False)

    def reached(self, step: int) -> None:
        """Notes that training is at `step` and goes on."""
        self._step = step
        self._quiet_seconds = 0.0

    def goes_on(self, _: object = None) -> None:
        """Notes that training goes on although the step is the same."""
        self._quiet_seconds = 0.0

    def done(self) -> None:
        """Notes that the work is done.

        TensorFlow's farewell waits for the other workers, and may abort where one
        is gone already; nothing of that concerns the supervisor.
        """
        self._line.tell_done()

    def _watch(self) -> None:
        before = time.monotonic()
        self._line.tell(self._has_joined, self._step)
        while self._line.lasts():
            self._line.tell(self._has_joined, self._step)
            now = time.monotonic()
            if self._has_joined:
                # This process may have been stopped meanwhile, which proves nothing.
                self._quiet_seconds += min(now - before, 2 * lifeline.BEAT_SECONDS)
            before = now
            if 0.0 < self._hang_seconds < self._quiet_seconds:
                self._end_hanging()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(lifeline.GRACE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    def _end_hanging(self) -> None:
        with contextlib.suppress(OSError):  # The log may be on a full disk.
            faulthandler.dump_traceback(sys.stderr, all_threads=True)
            print(
                f"lmcodistill train: After step {self._step} nothing went on for "
                f"{self._hang_seconds:g} s; above is where each thread is. The group "
                "is started again from the last checkpoint. If a step may take as "
                "long, raise --hang_seconds.",
                file=sys.stderr,
                flush=True,
            )
        os._exit(errors.GroupLostError.exit_code)


def _die_with_parent(is_wanted: bool) -> None:
    """Has Linux kill this process when its supervisor dies; elsewhere does nothing."""
    with contextlib.suppress(AttributeError, OSError):
        signal_number = signal.SIGKILL if is_wanted else 0
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number)
