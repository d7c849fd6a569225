"""What a person sees while prep runs: one line per stage, on standard error.

On a terminal a live bar; elsewhere a plain line every ten seconds. Names that
come from outside are printed with their control characters escaped.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from rich import console, progress

from lmcodistill import errors

# Called with the units of work, mostly bytes, that were done since the last call.
Advance = Callable[[int], None]
_PERIOD_SECONDS = 10.0


class Stage:
    """One stage that is running.

    Attributes:
        done: Units done so far.
    """

    def __init__(self, name: str, total: int, unit: str, stream: TextIO):
        self._name, self._total, self._unit = name, max(1, total), unit
        self._stream = stream
        self._start = self._last = time.monotonic()
        self._first_done: int | None = None
        self.done = 0
        self._bar: progress.Progress | None = None
        if stream.isatty():
            self._bar = progress.Progress(
                progress.TextColumn("{task.description:<20}"),
                progress.BarColumn(),
                progress.TaskProgressColumn(),
                progress.TextColumn("{task.fields[rate]}"),
                progress.TimeRemainingColumn(),
                progress.TextColumn("{task.fields[detail]}", markup=False),
                console=console.Console(file=stream, highlight=False),
                transient=True,
            )
            self._bar.add_task(name, total=self._total, rate="", detail="")
            self._bar.start()

    def expect(self, total: int) -> None:
        """Corrects the units that there are in all."""
        self._total = max(1, total)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], total=self._total)

    def update(self, done: int, detail: str = "") -> None:
        """Shows how far the stage is: on a terminal now, elsewhere at times."""
        if self._first_done is None:
            self._first_done = done
        self.done, now = done, time.monotonic()
        rate = (done - self._first_done) / max(1e-3, now - self._start)
        per_second = f"{amount(rate, self._unit)}/s" if self._unit else ""
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=done, rate=per_second, detail=detail)
        elif now - self._last >= _PERIOD_SECONDS:
            self._last = now
            line = f"stage={self._name} done={done / self._total:.0%}"
            if per_second:
                line += f" rate={per_second}"
            if rate > 0:
                line += f" left={duration(max(0.0, self._total - done) / rate)}"
            print(f"{line} {detail}".rstrip(), file=self._stream, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


class Display:
    """Where the stages of a run are shown.

    Attributes:
        seconds: Wall-clock time of each stage so far.
    """

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream if stream is not None else sys.stderr
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        """Shows a stage of `total` units while the block runs."""
        start = time.monotonic()
        stage = Stage(name, total, unit, self._stream)
        try:
            yield stage
        finally:
            stage.close()
            spent = time.monotonic() - start
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 3)
        self.say(f"stage={name} done=100% seconds={spent:.1f}")

    def say(self, line: str) -> None:
        print(errors.printable(line, kept=""), file=self._stream, flush=True)


def amount(value: float, unit: str) -> str:
    """Returns a rate or a size as people write it: `12.3 MB`."""
    for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.1f} {prefix}{unit}"
    return f"{value:.0f} {unit}"


def duration(seconds: float) -> str:
    """Returns a time as people write it: `1h02m`, `3m20s`, `12s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    if whole >= 60:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole}s"
