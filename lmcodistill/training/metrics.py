"""Reports of a run: JSON Lines for programs, TensorBoard events for people."""

import json
import pathlib
from typing import Any

import tensorflow as tf

from lmcodistill.storage import files, reports


class MetricsWriter:
    """Appends reports; only the chief has one."""

    def __init__(self, path: pathlib.Path, events: pathlib.Path, restored_step: int):
        """Opens the files and drops reports of steps that will be made again.

        Args:
            path: The JSON Lines file.
            events: TensorBoard's folder.
            restored_step: The step that training goes on from.
        """
        kept = [line for line in reports.read(path) if line["step"] <= restored_step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        files.write_text(path, text)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115, see close
        self._events = tf.summary.create_file_writer(str(events))

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Appends one report; what is no number goes to the JSON only."""
        report = {"schema": reports.SCHEMA, "kind": kind, "step": step, **values}
        self._file.write(json.dumps(report) + "\n")
        self._file.flush()
        with self._events.as_default():
            for name, value in values.items():
                if isinstance(value, int | float):
                    tf.summary.scalar(f"{kind}/{name}", value, step=step)
            for teacher in values.get("teachers", ()):
                name = f"{kind}/staleness_steps_of_student_{teacher['peer']}"
                tf.summary.scalar(name, teacher["staleness_steps"], step=step)
        self._events.flush()

    def close(self) -> None:
        """Writes out what is buffered."""
        self._file.close()
        self._events.close()
