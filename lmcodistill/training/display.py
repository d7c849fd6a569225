"""The live display of a local run; plain lines where there is no terminal."""

import pathlib
import sys
import time

import rich.console
import rich.live
import rich.table

from lmcodistill.training import status

REFRESH_SECONDS = 1.0
PLAIN_SECONDS = 10.0


class Display:
    """Shows the students of a run on standard error. A context manager."""

    def __init__(self, run_dir: pathlib.Path):
        self._run_dir = run_dir
        self._console = rich.console.Console(stderr=True)
        self._live = (
            rich.live.Live(console=self._console, auto_refresh=False)
            if self._console.is_terminal
            else None
        )
        self._last_shown = 0.0
        self._last_rows: list[tuple[str, ...]] = []

    def __enter__(self) -> "Display":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_) -> None:
        self.show(force=True)
        if self._live:
            self._live.stop()

    def show(self, force: bool = False) -> None:
        """Reads the run's folder and shows it, where it is time to."""
        period = REFRESH_SECONDS if self._live else PLAIN_SECONDS
        now = time.monotonic()
        if now - self._last_shown < period and not force:
            return
        self._last_shown = now
        rows = [status.row(s) for s in status.read(self._run_dir)]
        if self._live:
            self._live.update(table(rows), refresh=True)
        elif rows != self._last_rows:
            self._last_rows = rows
            for cells in rows:
                pairs = zip(status.HEADINGS, cells, strict=True)
                line = "  ".join(f"{name} {cell}" for name, cell in pairs)
                print(line, file=sys.stderr, flush=True)


def table(rows: list[tuple[str, ...]]) -> rich.table.Table:
    """Returns the students' cells as a table for a terminal."""
    shown = rich.table.Table(*status.HEADINGS)
    for cells in rows:
        shown.add_row(*cells)
    return shown
