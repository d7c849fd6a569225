"""What `train` shows while it runs, on standard error.

Both displays have a thread of their own: storage that hangs must not keep the
supervisor from its work.
"""

import contextlib
import pathlib
import sys
import threading

import rich.console
import rich.live
import rich.table

from lmcodistill.storage import places
from lmcodistill.supervision import status

REFRESH_SECONDS = 1.0
PLAIN_SECONDS = 10.0
FOLLOW_SECONDS = 0.3
# How long a last look may take when the run is over.
_LAST_SECONDS = 5.0


class _PeriodicDisplay:
    """Shows something every so often. A context manager."""

    def __init__(self, period_seconds: float):
        self._period = period_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(_LAST_SECONDS)

    def _run(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._over.wait(self._period)
            # Storage fails, or the reader of standard error went away.
            with contextlib.suppress(OSError):
                self._show()

    def _show(self) -> None:
        raise NotImplementedError


class StatusDisplay(_PeriodicDisplay):
    """Shows the students of a run: live, or as lines where there is no terminal."""

    def __init__(self, run_dir: pathlib.Path, shared_dir: places.Place):
        self._run_dir, self._shared_dir = run_dir, shared_dir
        console = rich.console.Console(stderr=True)
        self._live = (
            rich.live.Live(console=console, auto_refresh=False)
            if console.is_terminal
            else None
        )
        self._last_lines: list[str] = []
        super().__init__(REFRESH_SECONDS if self._live else PLAIN_SECONDS)

    def __enter__(self) -> None:
        if self._live:
            self._live.start()
        super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if self._live:
            self._live.stop()

    def _show(self) -> None:
        students = status.read(self._run_dir, self._shared_dir)
        if self._live:
            self._live.update(table(students), refresh=True)
            return
        headings, rows = status.cells(students)
        lines = [
            "  ".join(f"{n} {cell}" for n, cell in zip(headings, row, strict=True))
            for row in rows
        ]
        if lines != self._last_lines:
            self._last_lines = lines
            print(*lines, sep="\n", file=sys.stderr, flush=True)


class LogDisplay(_PeriodicDisplay):
    """Shows what is added to a log from now on."""

    def __init__(self, log: pathlib.Path):
        self._log = log
        self._shown = log.stat().st_size if log.is_file() else 0
        super().__init__(FOLLOW_SECONDS)

    def _show(self) -> None:
        if not self._log.is_file():
            return
        with open(self._log, "rb") as file:
            file.seek(self._shown)
            content = file.read()
        self._shown += len(content)
        sys.stderr.write(content.decode("utf-8", "replace"))
        sys.stderr.flush()


def table(students: list[status.StudentStatus]) -> rich.table.Table:
    """Returns the students as a table for a terminal."""
    headings, rows = status.cells(students)
    restarts = [f"student {s.student}: {s.restarts}" for s in students if s.restarts]
    caption = f"Restarts after a loss: {', '.join(restarts)}" if restarts else None
    shown = rich.table.Table(*headings, caption=caption)
    for row in rows:
        shown.add_row(*row)
    return shown
