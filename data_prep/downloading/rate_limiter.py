"""A rate limiter that all downloads of a run share.

Common Crawl asks clients that it refuses to slow down (status.commoncrawl.org):
a refusal of one file makes all of them wait and doubles the time between any two
requests; an answer halves it again.
"""

import threading
import time

_LONGEST_INTERVAL_SECONDS = 60.0


class StoppedError(Exception):
    """The run ends; nothing more is to be sent."""


class RateLimiter:
    """Shared by the threads that download.

    Attributes:
        refusals: How often the server refused so far.
    """

    def __init__(self, requests_per_second: float):
        self._shortest = self._interval = 1.0 / requests_per_second
        self._next = 0.0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self.refusals = 0

    def wait_for_turn(self) -> None:
        """Returns when a request may be sent; the caller sends it at once.

        Raises:
            StoppedError: the run ends.
        """
        while True:
            with self._lock:
                now = time.monotonic()
                left = self._next - now
                if left <= 0:
                    self._next = now + self._interval
                    return
            # A refusal in the meantime moves the turn, so it is looked at again.
            self.sleep(left)

    def sleep(self, seconds: float) -> None:
        """Waits, unless the run ends.

        Raises:
            StoppedError: the run ends.
        """
        if self._stopped.wait(seconds):
            raise StoppedError

    def refused(self, seconds: float) -> None:
        """Stops all requests for `seconds` and halves their rate."""
        with self._lock:
            self.refusals += 1
            self._interval = min(2 * self._interval, _LONGEST_INTERVAL_SECONDS)
            self._next = max(self._next, time.monotonic() + seconds)

    def answered(self) -> None:
        """Notes that the server answered a request."""
        with self._lock:
            self._interval = max(self._interval / 2, self._shortest)

    def stop(self) -> None:
        """Ends the run: waiting threads wake, and no chunk is read any more."""
        self._stopped.set()

    def check(self) -> None:
        """Raises StoppedError once the run ends."""
        self.sleep(0)
