"""How far a worker is, and how it ended: `progress.json` and `result.json`.

The first has the latest step, rewritten every second or so while the student
trains; the second is written when a worker ends.
"""

import contextlib
import json
import os
import pathlib
import time
from typing import Any

from lmcodistill.storage import files


class Heartbeat:
    """Rewrites a small file with the latest step, at most once a second."""

    def __init__(
        self, path: pathlib.Path, num_train_steps: int, first_step: int
    ) -> None:
        self._path, self._num_train_steps = path, num_train_steps
        self._first = (first_step, time.monotonic())
        self._last_write = 0.0

    def beat(self, step: int, force: bool = False) -> None:
        now = time.monotonic()
        if now - self._last_write < 1.0 and not force:
            return
        self._last_write = now
        first_step, since = self._first
        content = {
            "step": step,
            "num_train_steps": self._num_train_steps,
            "steps_per_second": (step - first_step) / max(now - since, 1e-9),
            "pid": os.getpid(),
        }
        # Not forced to disk: after a crash the metrics tell the same. Nor worth
        # the run where the disk is full.
        with contextlib.suppress(OSError):
            files.write_bytes(self._path, json.dumps(content).encode(), durable=False)


def write_result(path: pathlib.Path, result: dict[str, Any]) -> None:
    """Writes how a worker ended, in place of what an earlier start left there.

    The result has `outcome`, `step`, `weights` (their digest), `traces` and
    `peak_memory_mb`.
    """
    with contextlib.suppress(OSError):  # Not worth the run where the disk is full.
        files.write_bytes(path, json.dumps(result).encode(), durable=False)


def read(path: pathlib.Path) -> dict[str, Any] | None:
    """Returns the latest heartbeat, or None before the first."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
