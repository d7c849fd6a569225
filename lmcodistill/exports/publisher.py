"""Publishing beside the training: one export at a time, in a thread of its own.

Storage that is full, read-only, slow or gone stops no student: what cannot be
written is skipped, and the next export is tried. Whatever else goes wrong there
is raised in the training's thread at its next call here.
"""

import logging
import threading
import time
from collections.abc import Callable

import tensorflow as tf

from lmcodistill import errors
from lmcodistill.exports import writer

# What storage may do; tensors are written by TensorFlow, which has its own names.
STORAGE_ERRORS = (OSError, tf.errors.OpError)
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 30.0

log = logging.getLogger("lmcodistill")


class Publisher:
    """Publishes a student's weights in the background."""

    def __init__(
        self,
        publish: Callable[[int, writer.Weights], object],
        *,
        patience_seconds: float,
    ):
        """Begins nothing yet.

        Args:
            publish: Publishes the weights of a step; called in another thread.
            patience_seconds: How long an export is tried again that storage
                refuses, for peers that need exactly this one.
        """
        self._publish, self._patience = publish, patience_seconds
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._is_published = True
        self._step, self._began = 0, 0.0

    @property
    def is_busy(self) -> bool:
        """Whether an export is under way."""
        return self._thread is not None and self._thread.is_alive()

    def submit(
        self, step: int, weights: Callable[[], writer.Weights], *, may_skip: bool
    ) -> bool:
        """Begins to publish, unless the export before is still under way.

        Args:
            step: After how many updates.
            weights: Returns a copy of them; not called for what is skipped.
            may_skip: Whether to go without this export where the one before is
                not done; else it is waited for.

        Returns:
            Whether it began.

        Raises:
            LmcodistillError: as `check`.
        """
        self.check()
        if self.is_busy and may_skip:
            log.warning(
                "step=%d event=export_skipped reason=export %d is still being written "
                "after %.0f s",
                step,
                self._step,
                time.monotonic() - self._began,
            )
            return False
        self.wait()
        self._step, self._began, self._is_published = step, time.monotonic(), False
        self._thread = threading.Thread(
            target=self._work, args=(step, weights()), daemon=True, name="publishing"
        )
        self._thread.start()
        return True

    def check(self) -> None:
        """Raises what ended an export.

        Raises:
            GroupLostError: another process took over.
        """
        if self._error is not None:
            raise self._error

    def wait(self, seconds: float | None = None) -> bool:
        """Waits for the export under way.

        Args:
            seconds: At most so long; None: until it is done.

        Returns:
            Whether the last export that began is published.

        Raises:
            LmcodistillError: as `check`.
        """
        if self._thread is not None:
            self._thread.join(seconds)
        self.check()
        return self._is_published

    def _work(self, step: int, weights: writer.Weights) -> None:
        try:
            self._is_published = self._persist(step, weights)
        except BaseException as error:
            self._error = error

    def _persist(self, step: int, weights: writer.Weights) -> bool:
        """Publishes; returns False where storage outlasted the patience."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                self._publish(step, weights)
            except STORAGE_ERRORS as error:
                waited = time.monotonic() - self._began
                is_over = waited + pause > self._patience
                on_one_line = " ".join(str(error).split())[:300]
                log.warning(
                    "step=%d event=export_%s reason=%s: %s",
                    step,
                    "skipped" if is_over else "delayed",
                    type(error).__name__,
                    on_one_line,
                )
                if is_over:
                    return False
                time.sleep(pause)
                pause = min(2.0 * pause, _LONGEST_PAUSE_SECONDS)
            except errors.DivergedError as error:
                # The guard of the training decides what comes of it.
                log.warning("step=%d event=export_refused reason=%s", step, error)
                return False
            else:
                log.info(
                    "step=%d event=published seconds=%.2f",
                    step,
                    time.monotonic() - self._began,
                )
                return True
