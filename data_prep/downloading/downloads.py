"""Downloads files politely: a few at a time, at one rate, each until it is complete.

Threads of this one process do it, before any stage runs, so that a cluster of
many machines asks the server no faster than one machine does.
"""

import contextlib
import pathlib
import queue
import threading
from collections.abc import Sequence

import requests

from data_prep import lock, progress
from data_prep.downloading import rate_limiter, transfer

_POLL_SECONDS = 0.2


def download(
    files: Sequence[transfer.RemoteFile],
    folder: pathlib.Path,
    policy: transfer.DownloadPolicy,
    limiter: rate_limiter.RateLimiter,
    display: progress.Display,
) -> None:
    """Fetches every file that is not there yet.

    A file that has its name is whole, and is not asked for again.

    Args:
        files: What to fetch, into `folder`.
        folder: Held while this runs.
        policy: How requests are made.
        limiter: When; the same for all downloads of a program.
        display: Shows how far it is.

    Raises:
        DataError: the server does not have a file, or does not give it.
        UsageError: another process is writing to the folder.
    """
    missing = [one for one in files if not one.path.exists()]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (
        lock.held(folder / ".lock", "downloading to", folder, "--download_dir"),
        display.stage("download", len(missing), "B") as stage,
    ):
        run = _Downloads(missing, policy, limiter)
        try:
            while run.is_going():
                run.show(stage)
        except BaseException:
            limiter.stop()
            raise
    run.report(display)


class _Downloads:
    """The threads, and what they have done."""

    def __init__(
        self,
        files: Sequence[transfer.RemoteFile],
        policy: transfer.DownloadPolicy,
        limiter: rate_limiter.RateLimiter,
    ):
        self._limiter, self._refused_before = limiter, limiter.refusals
        self._transfers = [transfer.Transfer(x, policy, limiter) for x in files]
        self._todo: queue.SimpleQueue[transfer.Transfer] = queue.SimpleQueue()
        for one in self._transfers:
            self._todo.put(one)
        self._error: BaseException | None = None
        # Daemons: a thread that waits for a silent server must not keep the
        # process. What it was writing stays a part, as after a kill.
        count = min(policy.parallel, len(self._transfers))
        self._threads = [
            threading.Thread(target=self._work, daemon=True) for _ in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def is_going(self) -> bool:
        """Waits a moment and returns whether a file is still missing.

        Raises:
            DataError: a file cannot be had.
        """
        alive = [thread for thread in self._threads if thread.is_alive()]
        if alive:
            alive[0].join(_POLL_SECONDS)
        if self._error is not None:
            raise self._error
        return bool(alive)

    def show(self, stage: progress.Stage) -> None:
        """Shows bytes, and why it is slow if it is."""
        lengths = [one.length for one in self._transfers if one.length is not None]
        if lengths:
            # Files of a crawl are about equally large.
            stage.expect(sum(lengths) * len(self._transfers) // len(lengths))
        troubles = [one.trouble for one in self._transfers if one.trouble]
        refusals = self._limiter.refusals - self._refused_before
        detail = f"refused {refusals} time(s)" if refusals else ""
        if troubles:
            detail = f"{detail} waiting: {troubles[0]}".strip()
        stage.update(sum(one.done for one in self._transfers), detail)

    def report(self, display: progress.Display) -> None:
        """Says what a person should know about the files that came."""
        if refusals := self._limiter.refusals - self._refused_before:
            display.say(f"the server refused {refusals} request(s)")
        for one in self._transfers:
            if one.warning:
                display.say(f"warning: {one.file.url} {one.warning}")

    def _work(self) -> None:
        try:
            with requests.Session() as session, contextlib.suppress(queue.Empty):
                while True:
                    self._limiter.check()
                    self._todo.get_nowait().run(session)
        except rate_limiter.StoppedError:
            pass
        except BaseException as error:  # The main thread raises it.
            self._error = self._error or error
            self._limiter.stop()
