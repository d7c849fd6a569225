"""Reports of a run: JSON Lines for programs, TensorBoard events for people."""

import contextlib
import datetime
import json
import logging
import math
import pathlib
from typing import Any

import tensorflow as tf

from lmcodistill.storage import files
from lmcodistill.training import sinks

log = logging.getLogger("lmcodistill")
# Of a report: each has `schema`, `kind` (`train`: means over the steps since the
# last, `validation`, or `gradients`: before the update of the step), `step` and
# `time`, by this machine's clock.
SCHEMA = 1


def _shown_by(plugin: str) -> tf.compat.v1.SummaryMetadata:
    """Returns what lets TensorBoard show a tensor.

    `tf.summary.scalar` and `text` say the same, and import TensorBoard for it: 0.7 CPU
    seconds at the start of every run (2026-11-30).
    """
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = plugin
    return metadata


_SCALAR, _TEXT = map(_shown_by, ("scalars", "text"))


class MetricsWriter:
    """Appends reports; only the chief has one."""

    def __init__(
        self,
        path: pathlib.Path,
        events: pathlib.Path,
        restored_step: int,
        config_text: str = "",
        sink: sinks.Sink | None = None,
    ):
        """Opens both files; drops JSON lines of steps that will be made again.

        The events begin with the configuration, as text. Numbers go to `sink` too,
        by the names that they have there.
        """
        self._sink = sink
        lines = [
            json.dumps(x) + "\n"
            for x in files.read_json_lines(path)
            # The update of the restored step is made again.
            if x["step"] < restored_step + (x["kind"] != "gradients")
        ]
        files.write_text(path, "".join(lines))
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115, see close
        self._unwritten = b""
        self._events = tf.summary.create_file_writer(str(events))
        if config_text:
            self._write_config(config_text, restored_step)

    def write(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Appends one report; what is no number goes to the JSON only."""
        # JSON has no word for what is not finite.
        values = {
            n: None if isinstance(v, float) and not math.isfinite(v) else v
            for n, v in values.items()
        }
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        report = {"schema": SCHEMA, "kind": kind, "step": step, "time": now, **values}
        self._append(json.dumps(report).encode() + b"\n")
        numbers = {
            f"{kind}/{name}": value
            for name, value in values.items()
            if isinstance(value, int | float)
        }
        for teacher in values.get("teachers", ()):
            for name in teacher.keys() - {"peer", "step"}:
                of_peer = f"{kind}/{name}_of_student_{teacher['peer']}"
                numbers[of_peer] = teacher[name]
        # The same numbers in another form: not worth a run whose disk is full.
        with (
            contextlib.suppress(OSError, tf.errors.OpError),
            self._events.as_default(step),
        ):
            for name, value in numbers.items():
                tf.summary.write(name, tf.cast(value, tf.float32), metadata=_SCALAR)
            self._events.flush()
        if self._sink is not None:
            self._sink.send(step, numbers)

    def _write_config(self, text: str, step: int) -> None:
        # Markdown takes what is indented as it is.
        shown = "".join(f"    {line}\n" for line in text.splitlines())
        with (
            contextlib.suppress(OSError, tf.errors.OpError),
            self._events.as_default(step),
        ):
            tf.summary.write("configuration", shown, metadata=_TEXT)
            self._events.flush()

    def _append(self, line: bytes) -> None:
        """Appends a line; what a full disk refuses is kept for the next time."""
        self._unwritten += line
        try:
            while self._unwritten:
                self._unwritten = self._unwritten[self._file.write(self._unwritten) :]
        except OSError as error:
            log.warning("event=metrics_delayed reason=%s", error)

    def close(self) -> None:
        """Writes out what is buffered."""
        self._append(b"")
        self._file.close()
        with contextlib.suppress(OSError, tf.errors.OpError):
            self._events.close()
        if self._sink is not None:
            self._sink.close()
