"""Prefetching: peers' exports are looked for, copied and verified beside training.

Shared storage may be slow, hang or lie; none of it may cost a step. So a thread
looks and reads, and the training asks only whether it is done. One batch of
requests is under way at a time. At its deadline it is done with what was staged by
then: a peer whose storage hangs costs no other peer's teacher update.
"""

import collections
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from lmcodistill import errors
from lmcodistill.codistill.policies import Request
from lmcodistill.exports import lookup
from lmcodistill.storage import places, publication

# A wait for a fixed step looks often at first, then adds a twentieth to itself.
_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.1, 5.0
# A thread that hangs in a read cannot be ended, only left behind; so many a peer.
_MAX_HUNG = 2

log = logging.getLogger("lmcodistill")
Loaded = TypeVar("Loaded")


class _Batch(Generic[Loaded]):
    """Requests that were asked for together, and what came of them."""

    def __init__(self, requests: Sequence[Request]):
        self.requests = requests
        self.began = time.monotonic()
        self.loaded: dict[int, Loaded] = {}
        self.peer: int | None = None  # Whose export is being read.
        self.is_finished = threading.Event()
        self.is_abandoned = False
        self._logged: set[str] = set()

    def log_once(self, about: str, error: object) -> bool:
        """Logs a refusal, but not again at every poll; returns whether it did."""
        text = f"{about} reason={error}"
        if is_new := text not in self._logged:
            self._logged.add(text)
            log.warning("%s", text)
        return is_new


class Prefetcher(Generic[Loaded]):
    """Reads exports in the background.

    Attributes:
        refusals: How many exports were refused, by reason.
    """

    def __init__(
        self,
        load: Callable[[Request, publication.Snapshot], Loaded],
        folder_of: Callable[[int], places.Place],
        *,
        key: bytes | None = None,
        deadline_seconds: float | None,
    ):
        """Makes a prefetcher with nothing under way.

        `load` reads one export, or raises SnapshotError where it is not to be used;
        `folder_of` returns a peer's folder. A batch may take `deadline_seconds`.
        """
        self.refusals: collections.Counter[str] = collections.Counter()
        self._load, self._folder_of, self._key = load, folder_of, key
        self._deadline = deadline_seconds
        self._batch: _Batch[Loaded] | None = None
        self._abandoned: list[_Batch[Loaded]] = []
        self._served: collections.Counter[int] = collections.Counter()

    @property
    def requests(self) -> Sequence[Request]:
        """What is under way, or waits to be taken."""
        return self._batch.requests if self._batch else ()

    @property
    def is_done(self) -> bool:
        """Whether a batch waits to be taken, finished or late."""
        if self._batch is None:
            return False
        waited = time.monotonic() - self._batch.began
        is_late = self._deadline is not None and waited > self._deadline
        return self._batch.is_finished.is_set() or is_late

    def begin(self, requests: Sequence[Request]) -> bool:
        """Begins unless something is under way or not taken; returns whether it did."""
        if self._batch is not None:
            return False
        self._abandoned = [b for b in self._abandoned if not b.is_finished.is_set()]
        hung = collections.Counter(batch.peer for batch in self._abandoned)
        chosen = []
        # Peers that hang come last; of the others, the least served comes first.
        for request in sorted(
            requests, key=lambda r: (hung[r.peer], self._served[r.peer])
        ):
            if request.step is None and hung[request.peer] >= _MAX_HUNG:
                log.warning("event=peer_passed_over peer=%d reason=hangs", request.peer)
            else:
                chosen.append(request)
        self._batch = _Batch(requests)
        threading.Thread(
            target=self._work, args=(self._batch, chosen), daemon=True, name="staging"
        ).start()
        return True

    def take(self) -> dict[int, Loaded]:
        """Returns what a batch loaded, by peer, and makes room for the next."""
        if self._batch is None or not self.is_done:
            raise RuntimeError("Nothing is staged; ask is_done first.")
        loaded = dict(self._batch.loaded)
        if self._batch.is_finished.is_set():
            self._batch = None
        else:
            self.drop()
        return loaded

    def drop(self) -> None:
        """Forgets what is under way."""
        batch, self._batch = self._batch, None
        if batch is None:
            return
        batch.is_abandoned = True
        self._abandoned.append(batch)
        if not batch.is_finished.is_set():
            log.warning(
                "event=reading_abandoned peer=%s seconds=%.0f",
                batch.peer,
                time.monotonic() - batch.began,
            )

    def _work(self, batch: _Batch[Loaded], requests: Sequence[Request]) -> None:
        try:
            for request in requests:
                batch.peer = request.peer
                loaded = self._stage(request, batch)
                if batch.is_abandoned:
                    return
                self._served[request.peer] += 1
                if loaded is not None:
                    batch.loaded[request.peer] = loaded
        finally:
            batch.is_finished.set()

    def _stage(self, request: Request, batch: _Batch[Loaded]) -> Loaded | None:
        """Returns the first export that can be used; waits for one of a fixed step."""
        while True:
            candidates: list[publication.Snapshot] = []
            try:
                candidates = self._candidates(request)
                for snapshot in candidates:
                    loaded = self._try(request, snapshot, batch)
                    if loaded is not None or batch.is_abandoned:
                        return loaded
            except OSError as error:
                batch.log_once(f"event=storage_failed peer={request.peer}", error)
            except Exception as error:  # A thread's end is silent; a bug must not be.
                about = f"event=staging_failed peer={request.peer}"
                if batch.log_once(about, repr(error)):
                    log.exception("event=staging_failed")
            if request.step is None or batch.is_abandoned:
                return None
            # What was refused is seldom better a moment later.
            waited = time.monotonic() - batch.began
            pause = _LONGEST_POLL_SECONDS if candidates else waited / 20
            time.sleep(min(max(pause, _POLL_SECONDS), _LONGEST_POLL_SECONDS))

    def _candidates(self, request: Request) -> list[publication.Snapshot]:
        folder = self._folder_of(request.peer)
        if request.step is not None:
            return lookup.of_step(folder, request.step, self._key)
        newer = lookup.newer_than(folder, request.held, self._key)
        return [snapshot for snapshot in newer if snapshot.step >= request.oldest]

    def _try(
        self, request: Request, snapshot: publication.Snapshot, batch: _Batch[Loaded]
    ) -> Loaded | None:
        try:
            return self._load(request, snapshot)
        except errors.SnapshotError as error:
            about = f"event=export_refused peer={request.peer} kind={error.reason}"
            if not batch.is_abandoned and batch.log_once(about, error):
                self.refusals[error.reason] += 1
            return None
