"""What `train` shows while it runs, on standard error.

It is shown by a thread: storage that hangs must not keep the supervisor from its
work.
"""

import contextlib
import pathlib
import sys
import threading
from collections.abc import Callable, Iterator

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


@contextlib.contextmanager
def show_students(run_dir: pathlib.Path, shared_dir: places.Place) -> Iterator[None]:
    """Shows the students of a run: live, or as lines where there is no terminal."""
    console = rich.console.Console(stderr=True)
    if console.is_terminal:
        with (
            rich.live.Live(console=console, auto_refresh=False) as live,
            _repeated(
                lambda: live.update(
                    table(status.read(run_dir, shared_dir)), refresh=True
                ),
                REFRESH_SECONDS,
            ),
        ):
            yield
        return
    shown: list[str] = []

    def show_lines() -> None:
        headings, rows = status.cells(status.read(run_dir, shared_dir))
        lines = [
            "  ".join(f"{n} {cell}" for n, cell in zip(headings, row, strict=True))
            for row in rows
        ]
        if lines != shown:
            shown[:] = lines
            print(*lines, sep="\n", file=sys.stderr, flush=True)

    with _repeated(show_lines, PLAIN_SECONDS):
        yield


@contextlib.contextmanager
def show_log(log: pathlib.Path) -> Iterator[None]:
    """Shows what is added to a log from now on."""
    shown = log.stat().st_size if log.is_file() else 0

    def show_more() -> None:
        nonlocal shown
        with open(log, "rb") as file:
            file.seek(shown)
            content = file.read()
        shown += len(content)
        sys.stderr.write(content.decode("utf-8", "replace"))
        sys.stderr.flush()

    with _repeated(show_more, FOLLOW_SECONDS):
        yield


@contextlib.contextmanager
def _repeated(show: Callable[[], None], period_seconds: float) -> Iterator[None]:
    """Shows something every so often, and once more at the end."""
    over = threading.Event()

    def run() -> None:
        is_over = False
        while not is_over:
            is_over = over.wait(period_seconds)
            # Storage fails, or the reader of standard error went away.
            with contextlib.suppress(OSError):
                show()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_LAST_SECONDS)


def table(students: list[status.StudentStatus]) -> rich.table.Table:
    """Returns the students as a table for a terminal."""
    headings, rows = status.cells(students)
    restarts = [f"student {s.student}: {s.restarts}" for s in students if s.restarts]
    caption = f"Restarts after a loss: {', '.join(restarts)}" if restarts else None
    shown = rich.table.Table(*headings, caption=caption)
    for row in rows:
        shown.add_row(*row)
    return shown
