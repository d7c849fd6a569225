"""Helper processes: they end with the program that they work for, and are counted.

A worker that outlives its killed parent would go on burning cores, and writing
into a folder that a second attempt has taken over.
"""

import ctypes
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_helper_seconds = 0.0


def end_with_parent() -> None:
    """Arranges that this process does not outlive its parent."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if sys.platform == "linux":
        # The kernel's own way also reaches code that never lets a thread run,
        # such as SentencePiece's trainer.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent.pid:
            os._exit(1)
    threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def cpu_seconds() -> float:
    """Returns the CPU seconds of this process, and of its helpers so far."""
    return time.process_time() + _helper_seconds


def add_helper_seconds(seconds: float) -> None:
    """Counts CPU seconds that a helper of this process spent."""
    global _helper_seconds
    _helper_seconds += seconds


def _watch(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
