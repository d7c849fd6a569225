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
import rich.text

from lmcodistill.storage import layout, places
from lmcodistill.supervision import states, status, status_view

REFRESH_SECONDS = 1.0
PLAIN_SECONDS = 10.0
FOLLOW_SECONDS = 0.3
# How long a last look may take when the run is over.
_LAST_SECONDS = 5.0


@contextlib.contextmanager
def show_students(
    run_dir: pathlib.Path, shared_dir: places.Place, with_logs: bool = False
) -> Iterator[None]:
    """Shows the students of a run: live, or as lines where there is no terminal.

    With logs, what their workers write from now on is shown as well.
    """
    console = rich.console.Console(stderr=True)
    logs = _Logs(run_dir, console) if with_logs else None
    with contextlib.ExitStack() as stack:
        if logs:
            stack.enter_context(_repeated(logs.show_more, FOLLOW_SECONDS))
        if console.is_terminal:
            live = rich.live.Live(console=console, auto_refresh=False)
            stack.enter_context(live)

            def show(_: bool) -> None:
                students = status.read(run_dir, shared_dir)
                view = status_view.view(students, console.width)
                live.update(view, refresh=True)

            stack.enter_context(_repeated(show, REFRESH_SECONDS))
        else:
            lines = _Lines(run_dir, shared_dir)
            stack.enter_context(_repeated(lines.show, PLAIN_SECONDS))
        yield


class _Lines:
    """Prints a student when it got further, or does something else."""

    def __init__(self, run_dir: pathlib.Path, shared_dir: places.Place):
        self._run_dir, self._shared_dir = run_dir, shared_dir
        self._shown: dict[int, tuple[object, ...]] = {}

    def show(self, is_last: bool) -> None:
        for student in status.read(self._run_dir, self._shared_dir):
            # What it does at its last step is soon told by its end.
            is_ending = student.step == student.num_train_steps and not is_last
            is_new = student.state is states.StudentState.NOT_STARTED
            if is_new or (is_ending and not student.state.is_over):
                continue
            news: tuple[object, ...] = (
                *(student.state, student.phase, student.waiting_for),
                student.step,
            )
            if self._shown.get(student.student) != news:
                self._shown[student.student] = news
                print(status_view.line(student), file=sys.stderr, flush=True)


class _Logs:
    """Prints what workers write, each line with whose it is."""

    def __init__(self, run_dir: pathlib.Path, console: rich.console.Console):
        self._run, self._console = layout.RunLayout(run_dir), console
        # What earlier starts left is not shown.
        self._tails = {path: _Tail(path, path.stat().st_size) for path in self._logs()}

    def _logs(self) -> dict[pathlib.Path, str]:
        """Returns the logs that there are, each with whose it is."""
        return {
            path: f"student {index} {_worker_of(path)} | "
            for index in self._run.students()
            for path in self._run.student(index).logs()
        }

    def show_more(self, _: bool) -> None:
        for path, prefix in self._logs().items():
            tail = self._tails.setdefault(path, _Tail(path, 0))
            for line in tail.new_lines():
                # As it is: no markup, no colours, no line breaks of ours.
                self._console.print(rich.text.Text(prefix + line), soft_wrap=True)


def _worker_of(log: pathlib.Path) -> str:
    return f"worker {log.stem.rpartition('-')[2] if '-' in log.stem else 0}"


class _Tail:
    """What is added to a file from a place on."""

    def __init__(self, path: pathlib.Path, start: int):
        self._path, self._place = path, start

    def new_content(self) -> str:
        """Returns what was added since the last time."""
        return self._read().decode("utf-8", "replace")

    def new_lines(self) -> list[str]:
        """Returns the whole lines that were added since the last time."""
        content = self._read()
        whole, _, rest = content.rpartition(b"\n")
        self._place -= len(rest)
        return whole.decode("utf-8", "replace").splitlines()

    def _read(self) -> bytes:
        with open(self._path, "rb") as file:
            file.seek(self._place)
            content = file.read()
        self._place += len(content)
        return content


@contextlib.contextmanager
def show_log(log: pathlib.Path) -> Iterator[None]:
    """Shows what is added to a log from now on."""
    tail = _Tail(log, log.stat().st_size if log.is_file() else 0)

    def show_more(_: bool) -> None:
        sys.stderr.write(tail.new_content())
        sys.stderr.flush()

    with _repeated(show_more, FOLLOW_SECONDS):
        yield


@contextlib.contextmanager
def _repeated(show: Callable[[bool], None], period_seconds: float) -> Iterator[None]:
    """Shows something at once, every so often, and once more at the end.

    `show` is told whether it is the last time.
    """
    over = threading.Event()

    def run() -> None:
        is_over = False
        while not is_over:
            # Storage fails, or the reader of standard error went away.
            with contextlib.suppress(OSError):
                show(False)
            is_over = over.wait(period_seconds)
        with contextlib.suppress(OSError):
            show(True)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_LAST_SECONDS)
