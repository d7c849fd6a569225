"""A line on standard error, now and then, about how far a long command is."""

import sys
import time

_PERIOD_SECONDS = 5.0


class ProgressLines:
    """Says how much is done, and when the rest will be."""

    def __init__(self, name: str, total: int, unit: str, scale: float = 1.0):
        """Starts the clock; `scale` steps are one `unit`, as 10^6 bytes a MB."""
        self._name, self._total, self._unit, self._scale = name, total, unit, scale
        self._began = self._shown = time.monotonic()
        self._done = 0

    def advance(self, count: int) -> None:
        """Notes that `count` more steps are done."""
        self._done += count
        self(self._done)

    def __call__(self, done: int) -> None:
        """Notes that `done` steps are done in all."""
        now = time.monotonic()
        if now - self._shown < _PERIOD_SECONDS or not done:
            return
        self._shown = now
        rate = done / (now - self._began)
        print(
            f"{self._name}: {done / self._scale:,.0f} of "
            f"{self._total / self._scale:,.0f} {self._unit}, "
            f"{rate / self._scale:,.1f}/s, ETA {(self._total - done) / rate:.0f} s",
            file=sys.stderr,
            flush=True,
        )
