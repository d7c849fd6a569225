"""Staging: peers' exports are found, copied and verified beside the training.

Shared storage may be slow, hang or lie; none of it may cost a step. So a thread
looks and reads, and the training asks only whether it is done. One batch of
requests is under way at a time; one that hangs beyond its deadline is abandoned
and its late outcome forgotten.
"""

import collections
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from lmcodistill import errors
from lmcodistill.codistill import lookup
from lmcodistill.storage import places, publication

# A wait for a fixed step looks often at first, then adds a twentieth to itself.
_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.1, 5.0
# Threads that hang in a read cannot be ended, only left behind.
_MAX_ABANDONED = 4

log = logging.getLogger("lmcodistill")
Lesson = TypeVar("Lesson")


@dataclasses.dataclass(frozen=True)
class Request:
    """What to look for.

    Attributes:
        peer: Whose export.
        folder: That peer's folder of exports.
        step: Exactly this step, waiting for it; None: the newest there is.
        held: Version of the export that teaches now; nothing older is taken.
        oldest: Nothing from before this step is taken.
        key: What it must be signed with; None where nothing is signed.
    """

    peer: int
    folder: places.Place
    step: int | None = None
    held: tuple[int, int] | None = None
    oldest: int = 0
    key: bytes | None = dataclasses.field(default=None, repr=False)


class _Batch(Generic[Lesson]):
    """Requests that were asked for together, and what came of them."""

    def __init__(self, requests: Sequence[Request]):
        self.requests = requests
        self.began = time.monotonic()
        self.found: dict[int, Lesson] = {}
        self.is_done = threading.Event()
        self.is_abandoned = False


class Stager(Generic[Lesson]):
    """Reads exports in the background.

    Attributes:
        refusals: How many exports were refused, by reason.
    """

    def __init__(
        self,
        read: Callable[[Request, publication.Snapshot], Lesson],
        *,
        deadline_seconds: float | None,
    ):
        """Makes a stager with nothing under way.

        Args:
            read: Reads and verifies one export; raises SnapshotError where it is
                not to be used.
            deadline_seconds: How long a batch may take; None where whoever waits
                for it has the patience.
        """
        self.refusals: collections.Counter[str] = collections.Counter()
        self._read, self._deadline = read, deadline_seconds
        self._batch: _Batch[Lesson] | None = None
        self._abandoned: list[_Batch[Lesson]] = []

    @property
    def requests(self) -> Sequence[Request]:
        """What is under way, or waits to be taken."""
        return self._batch.requests if self._batch else ()

    @property
    def is_done(self) -> bool:
        """Whether a batch waits to be taken."""
        return self._batch is not None and self._batch.is_done.is_set()

    @property
    def is_late(self) -> bool:
        """Whether the batch under way is beyond its deadline."""
        return (
            self._batch is not None
            and self._deadline is not None
            and not self.is_done
            and time.monotonic() - self._batch.began > self._deadline
        )

    def begin(self, requests: Sequence[Request]) -> bool:
        """Begins to read, unless something is under way.

        Returns:
            Whether it began.
        """
        if self.is_late:
            self._abandon()
        self._abandoned = [b for b in self._abandoned if not b.is_done.is_set()]
        if self._batch is not None or len(self._abandoned) >= _MAX_ABANDONED:
            return False
        self._batch = _Batch(requests)
        threading.Thread(
            target=self._work, args=(self._batch,), daemon=True, name="staging"
        ).start()
        return True

    def take(self) -> dict[int, Lesson]:
        """Returns what a finished batch found, by peer, and makes room for the next."""
        if self._batch is None or not self._batch.is_done.is_set():
            raise RuntimeError("Nothing is staged; ask is_done first.")
        found, self._batch = self._batch.found, None
        return found

    def drop(self) -> None:
        """Forgets what is under way."""
        if self._batch is not None:
            self._abandon()

    def _abandon(self) -> None:
        if self._batch is None:
            return
        self._batch.is_abandoned = True
        log.warning(
            "event=reading_abandoned peers=%s seconds=%.0f",
            [r.peer for r in self._batch.requests],
            time.monotonic() - self._batch.began,
        )
        self._abandoned.append(self._batch)
        self._batch = None

    def _work(self, batch: _Batch[Lesson]) -> None:
        try:
            for request in batch.requests:
                lesson = self._stage(request, batch)
                if lesson is not None:
                    batch.found[request.peer] = lesson
        except Exception:  # A thread's end is silent; a bug must not be.
            log.exception("event=staging_failed")
        finally:
            batch.is_done.set()

    def _stage(self, request: Request, batch: _Batch[Lesson]) -> Lesson | None:
        """Returns the first export that can be used; waits for one of a fixed step."""
        said: set[str] = set()
        while not batch.is_abandoned:
            try:
                for snapshot in _candidates(request):
                    lesson = self._try(request, snapshot, said)
                    if lesson is not None:
                        return lesson
            except OSError as error:
                _say_once(said, f"event=storage_failed peer={request.peer}", error)
            if request.step is None:
                return None
            waited = time.monotonic() - batch.began
            time.sleep(min(max(waited / 20, _POLL_SECONDS), _LONGEST_POLL_SECONDS))
        return None

    def _try(
        self, request: Request, snapshot: publication.Snapshot, said: set[str]
    ) -> Lesson | None:
        try:
            return self._read(request, snapshot)
        except errors.SnapshotError as error:
            about = f"event=export_refused peer={request.peer} kind={error.reason}"
            if _say_once(said, about, error):
                self.refusals[error.reason] += 1
            return None


def _candidates(request: Request) -> list[publication.Snapshot]:
    if request.step is not None:
        return lookup.of_step(request.folder, request.step, request.key)
    newer = lookup.newer_than(request.folder, request.held, request.key)
    return [snapshot for snapshot in newer if snapshot.step >= request.oldest]


def _say_once(said: set[str], about: str, error: Exception) -> bool:
    """Logs a refusal, but not again at every poll."""
    text = f"{about} reason={error}"
    if text in said:
        return False
    said.add(text)
    log.warning("%s", text)
    return True
