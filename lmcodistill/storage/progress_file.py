"""How far a worker is, and how it ended: `progress.json` and `result.json`.

The first has the worker's phase from its first second on, and the latest step,
rewritten every second or so while the student trains; the second is written when a
worker ends.
"""

import contextlib
import enum
import json
import os
import pathlib
import time
from collections.abc import Sequence
from typing import Any

from lmcodistill.storage import files


class Phase(enum.StrEnum):
    """What a worker does, in the words that people read."""

    CHECKING = "checking the configuration"
    IMPORTING = "importing TensorFlow"
    JOINING = "joining its group"
    BUILDING = "building the model"
    RESTORING = "restoring the checkpoint"
    TRACING = "tracing"
    TRAINING = "training"
    VALIDATING = "validating"
    SAVING = "saving"
    WAITING = "waiting"
    SERVING = "serving the coordinator"
    ENDING = "ending"


class Heartbeat:
    """Rewrites a small file: a new phase at once, a step at most once a second."""

    def __init__(self, path: pathlib.Path, num_train_steps: int, num_students: int):
        """Writes nothing yet; of an earlier start, the step is kept."""
        self._path = path
        self._first: tuple[int, float] | None = None
        self._last_write = 0.0
        self._content: dict[str, Any] = {
            "step": (read(path) or {}).get("step", 0),
            "num_train_steps": num_train_steps,
            "steps_per_second": 0.0,
            "pid": os.getpid(),
            "students": num_students,
            "phase": None,
            "waiting_for": None,
            "restored_step": None,
            "asked_checkpoint": None,
            "asked_export": None,
            "devices": [],
        }

    def enter(self, phase: Phase, waiting_for: str | None = None) -> None:
        """Notes what the worker does from now on, and for what it waits."""
        before = self._content
        self._content = before | {"phase": phase.value, "waiting_for": waiting_for}
        self._write(force=self._content != before)

    def uses(self, devices: Sequence[str]) -> None:
        """Notes the devices that the worker computes on, by name."""
        self._content["devices"] = list(devices)

    def restored(self, step: int) -> None:
        """Notes the step that training goes on from; 0: from the beginning."""
        self._content |= {"step": step, "restored_step": step}
        # After a rollback the pace before it says nothing.
        self._first = None

    def saved_as_asked(self, step: int) -> None:
        """Notes the step of a checkpoint that somebody had asked for."""
        self._content["asked_checkpoint"] = step

    def published_as_asked(self, step: int) -> None:
        """Notes the step of an export that somebody had asked for."""
        self._content["asked_export"] = step

    def beat(self, step: int, force: bool = False) -> None:
        """Notes that training has reached a step."""
        now = time.monotonic()
        # The first update was traced, which says nothing of the pace.
        self._first = self._first or (step, now)
        first_step, since = self._first
        pace = (step - first_step) / max(now - since, 1e-9)
        self._content |= {
            "step": step,
            "steps_per_second": pace,
            "phase": Phase.TRAINING.value,
            "waiting_for": None,
        }
        self._write(force)

    def _write(self, force: bool) -> None:
        now = time.monotonic()
        if now - self._last_write < 1.0 and not force:
            return
        self._last_write = now
        # Not forced to disk: after a crash the metrics tell the same. Nor worth
        # the run where the disk is full.
        with contextlib.suppress(OSError):
            content = json.dumps(self._content).encode()
            files.write_bytes(self._path, content, durable=False)


def write_result(path: pathlib.Path, result: dict[str, Any]) -> None:
    """Writes how a worker ended, in place of what an earlier start left there.

    The result has `outcome`, `step`, `weights` (their digest), `traces`,
    `peak_memory_mb` and `pid`.
    """
    with contextlib.suppress(OSError):  # Not worth the run where the disk is full.
        files.write_bytes(path, json.dumps(result).encode(), durable=False)


def read(path: pathlib.Path) -> dict[str, Any] | None:
    """Returns the latest heartbeat, or None before the first."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
