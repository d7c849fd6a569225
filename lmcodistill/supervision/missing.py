"""Which workers a group waits for, found out while it waits.

Asking takes seconds where a firewall swallows the question, so a thread asks.
"""

import threading
from collections.abc import Sequence

from lmcodistill.supervision import tf_config

# A group that has just been started is not waiting yet; then how often to ask.
PATIENCE_SECONDS = 10.0
_PERIOD_SECONDS = 5.0


class MissingWorkers:
    """Asks at the addresses of a group's workers on other machines."""

    def __init__(self, addresses: Sequence[str]):
        """Has asked nobody yet."""
        self._addresses = addresses
        self._answers: dict[str, str] = {}
        self._thread: threading.Thread | None = None
        self._next = PATIENCE_SECONDS

    def look(self, starting_seconds: float) -> dict[str, str]:
        """Returns at which addresses nobody answered the last time, each with why.

        The group has been starting for `starting_seconds`.
        """
        is_asking = self._thread is not None and self._thread.is_alive()
        if self._addresses and starting_seconds >= self._next and not is_asking:
            self._next = starting_seconds + _PERIOD_SECONDS
            self._thread = threading.Thread(target=self._ask, daemon=True)
            self._thread.start()
        return self._answers

    def _ask(self) -> None:
        self._answers = tf_config.unanswered(self._addresses)
