"""What the benchmarks share: processes that measure, spreads, progress, tables.

A measuring process prints one JSON object as its last line. What others run on the
same machine spoils single numbers, so what is compared alternates in one run, and
ratios are taken within a round: their median stands, the range says how sure it is.
"""

import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import rich.console
import rich.table

from lmcodistill import errors

_LAST_WORDS = 1_500
# Where the output is no terminal, no cell is cut off.
_WIDTH = 200

Spread = dict[str, float]


def spread(values: Iterable[float]) -> Spread:
    """Returns median, lowest and highest of at least one value."""
    ordered = sorted(values)
    median = statistics.median(ordered)
    return {"median": median, "lowest": ordered[0], "highest": ordered[-1]}


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Spread:
    """Returns the spread of `theirs / ours`, round by round."""
    return spread(t / max(o, 1e-12) for t, o in zip(theirs, ours, strict=True))


def measure(command: Sequence[str], fields: Iterable[str]) -> dict[str, Any]:
    """Runs a process and returns the JSON object that it printed last.

    Args:
        command: Program and arguments.
        fields: Numbers that the object must have.

    Raises:
        UsageError: it cannot be started, failed, or printed something else.
    """
    shown = shlex.join(command)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise errors.UsageError(
            f"{shown} cannot be started: {error.strerror}. Give a command that a "
            "shell would find."
        ) from error
    if done.returncode:
        raise errors.UsageError(
            f"{shown} ended with exit code {done.returncode}; expected was 0 and one "
            f"line of JSON. Its last words:\n{done.stderr[-_LAST_WORDS:].rstrip()}"
        )
    last = (done.stdout.strip().splitlines() or [""])[-1]
    try:
        result = json.loads(last)
        lacking = [n for n in fields if not isinstance(result[n], int | float)]
    except (ValueError, KeyError, TypeError):
        lacking = list(fields)
    if lacking:
        raise errors.UsageError(
            f"{shown} printed {last[:200]!r} last; expected was one line with a JSON "
            f"object that has numbers for {', '.join(lacking)}. Make it print that."
        )
    return result


class Progress:
    """Says on standard error what was measured and how long the rest takes."""

    def __init__(self, total: int):
        self._total, self._done, self._began = total, 0, time.monotonic()

    def done(self, name: str) -> None:
        """Counts one of `total`."""
        self._done += 1
        left = self._total - self._done
        seconds = (time.monotonic() - self._began) / self._done * left
        rest = f", about {seconds / 60:.1f} min left" if left else ""
        print(f"[{self._done}/{self._total}{rest}] {name}", file=sys.stderr, flush=True)


def show(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table for people; the first column holds names."""
    table = rich.table.Table(title=title, title_justify="left")
    for index, head in enumerate(heads):
        table.add_column(head, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    console = rich.console.Console()
    console = console if console.is_terminal else rich.console.Console(width=_WIDTH)
    console.print(table)


def text(value: Spread | float | None, digits: int = 3) -> str:
    """Returns a number, or median and range, with so many significant digits."""
    if value is None:
        return "-"
    if isinstance(value, dict):
        low, high = (text(value[n], digits) for n in ("lowest", "highest"))
        return f"{text(value['median'], digits)} ({low}..{high})"
    if abs(value) >= 10.0 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"
