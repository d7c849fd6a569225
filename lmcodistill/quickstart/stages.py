"""Runs programs one after the other, and none that was done before."""

import dataclasses
import hashlib
import pathlib
import resource
import shlex
import signal
import subprocess
import sys
import time
from typing import Any

from lmcodistill import errors
from lmcodistill.quickstart import results
from lmcodistill.storage import files


@dataclasses.dataclass(frozen=True)
class Done:
    """A stage that has ended well.

    Attributes:
        name: Of the stage.
        command: For people to run again.
        cost: Summed over all attempts.
        output: What it printed on standard output.
    """

    name: str
    command: str
    cost: results.Cost
    output: str


class StageFailedError(errors.LmcodistillError):
    """A stage ended with an exit code, which becomes ours."""

    def __init__(self, name: str, code: int):
        super().__init__(
            f"stage {name} ended with exit code {code}. The same command goes on from "
            "here."
        )
        self.exit_code = code if code > 0 else 128 - code


class Stages:
    """Runs commands one after the other, and none that was done before.

    A stage counts as done while it and all before it have the command that they
    had then.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder, self._before = folder, ""
        self.done: list[Done] = []

    def run(self, name: str, *command: str) -> str:
        """Runs a stage; returns what it printed on standard output.

        Raises:
            StageFailedError: it did not end well.
        """
        self._before = hashlib.sha256(
            "\0".join([self._before, *command]).encode()
        ).hexdigest()
        path = self._folder / f"{name}.json"
        record = files.read_json(path) if path.is_file() else {}
        if record.get("digest") != self._before:
            record = {"digest": self._before, "wall": 0.0, "cpu": 0.0, "ended": False}
        print(f"\n== {name}", file=sys.stderr, flush=True)
        if record["ended"]:
            print("   done before", file=sys.stderr)
        else:
            print(f"   {shlex.join(command)}", file=sys.stderr, flush=True)
            code = self._attempt(record, command)
            files.write_text(path, files.to_json(record))
            if code:
                raise StageFailedError(name, code)
        cost = results.Cost(record["wall"], record["cpu"])
        print(
            f"   {cost.wall_seconds:.0f} s, {cost.cpu_seconds:.0f} CPU s",
            file=sys.stderr,
        )
        self.done.append(Done(name, shlex.join(command), cost, record["output"]))
        return record["output"]

    def _attempt(self, record: dict[str, Any], command: tuple[str, ...]) -> int:
        wall, cpu = time.monotonic(), _cpu_seconds_of_children()
        record["output"], code = _call(command)
        record["wall"] += time.monotonic() - wall
        record["cpu"] += _cpu_seconds_of_children() - cpu
        record["ended"] = code == 0
        return code


def _call(command: tuple[str, ...]) -> tuple[str, int]:
    """Runs a program; returns its standard output and its exit code."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            while True:
                try:
                    output, _ = process.communicate()
                    break
                except KeyboardInterrupt:
                    continue  # The program got the Ctrl-C as well, and is saving.
        finally:
            signal.signal(signal.SIGTERM, previous)
    return output, process.returncode


def _cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
