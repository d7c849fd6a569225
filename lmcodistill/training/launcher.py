"""A whole run on this machine: real processes, a real TF_CONFIG for each.

Starts every worker of every student, shows one live display, stops all of them
when one fails or when asked to, and leaves no orphan: each child holds the read
end of a pipe and stops when this process is gone.
"""

import dataclasses
import json
import os
import pathlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from lmcodistill import errors
from lmcodistill.storage import layout

# How long a worker may take to save after SIGTERM before it is killed.
GRACE_SECONDS = 60.0
POLL_SECONDS = 0.3
PARENT_PIPE = "LMCODISTILL_STOP_WITH_PARENT"
STOPPED = errors.StoppedError.exit_code


@dataclasses.dataclass
class _Worker:
    student: int
    index: int
    log: pathlib.Path
    process: subprocess.Popen


class LocalRun:
    """The processes of one run."""

    def __init__(
        self,
        run_dir: pathlib.Path,
        command: Callable[[int], Sequence[str]],
        *,
        students: int,
        workers_per_student: int,
    ):
        """Prepares to start; nothing is started yet.

        Args:
            run_dir: The run's folder.
            command: From a student's index to the command line of its workers.
            students: How many students.
            workers_per_student: Processes for each.
        """
        self._layout, self._command = layout.RunLayout(run_dir), command
        self._students, self._per_student = students, workers_per_student
        self._workers: list[_Worker] = []
        self._asked = 0

    def run(self, show: Callable[[], None]) -> None:
        """Runs all workers to their end.

        Args:
            show: Called several times a second while they run.

        Raises:
            LmcodistillError: the first failure, with the child's own words.
        """
        previous = {
            number: signal.signal(number, self._ask)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            self._start()
            failed = self._watch(show)
        finally:
            self._kill_all()
            for number, handler in previous.items():
                signal.signal(number, handler)
        if failed is not None:
            raise _failure_of(failed)
        if self._asked:
            raise errors.StoppedError(
                "Stopped on request after saving; the same command goes on from here."
            )

    def _ask(self, *_) -> None:
        """Once: save and stop. Twice: stop now."""
        self._asked += 1
        for worker in self._workers:
            if self._asked > 1:
                worker.process.kill()
            elif worker.process.poll() is None:
                worker.process.terminate()

    def _start(self) -> None:
        count = self._students * self._per_student
        threads = max(1, len(os.sched_getaffinity(0)) // count)
        ports = _free_ports(count)
        for student in range(self._students):
            first = student * self._per_student
            addresses = [f"127.0.0.1:{p}" for p in ports[first:][: self._per_student]]
            for index in range(self._per_student):
                self._workers.append(self._spawn(student, index, addresses, threads))

    def _spawn(
        self, student: int, index: int, addresses: list[str], threads: int
    ) -> _Worker:
        environment = {
            **os.environ,
            "TF_CONFIG": json.dumps(
                {
                    "cluster": {"worker": addresses},
                    "task": {"type": "worker", "index": index},
                }
            ),
            "TF_NUM_INTRAOP_THREADS": str(threads),
            # A collective blocks a thread: one more must stay free.
            "TF_NUM_INTEROP_THREADS": str(max(2, threads)),
            "OMP_NUM_THREADS": str(threads),
            PARENT_PIPE: "1",
        }
        log = self._layout.student(student).log(index)
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            process = subprocess.Popen(
                list(self._command(student)),
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # The terminal's Ctrl-C reaches this process only, which asks.
                start_new_session=True,
            )
        return _Worker(student, index, log, process)

    def _watch(self, show: Callable[[], None]) -> _Worker | None:
        """Waits for all workers; returns the first that failed, if one did."""
        failed, give_up = None, None
        while any(w.process.poll() is None for w in self._workers):
            show()
            time.sleep(POLL_SECONDS)
            codes = [w.process.poll() for w in self._workers]
            stopped = (None, 0, STOPPED) if self._asked else (None, 0)
            bad = [
                w
                for w, code in zip(self._workers, codes, strict=True)
                if code not in stopped
            ]
            if bad and failed is None and self._asked < 2:
                failed = _first_cause(bad)
                for worker in self._workers:
                    if worker.process.poll() is None:
                        worker.process.terminate()
            if (failed is not None or self._asked) and give_up is None:
                give_up = time.monotonic() + GRACE_SECONDS
            if give_up is not None and time.monotonic() > give_up:
                self._kill_all()
        show()
        if failed is None and self._asked < 2:
            bad = [w for w in self._workers if w.process.returncode not in (0, STOPPED)]
            failed = _first_cause(bad) if bad else None
        return failed

    def _kill_all(self) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.kill()
            worker.process.wait()
            if worker.process.stdin:
                worker.process.stdin.close()


def _first_cause(bad: list[_Worker]) -> _Worker:
    """Returns the worker that failed by itself, not because another was lost."""
    lost = errors.GroupLostError.exit_code
    own = [w for w in bad if w.process.returncode != lost]
    return (own or bad)[0]


def _failure_of(worker: _Worker) -> errors.LmcodistillError:
    """Returns the child's own error, to be raised here with its exit code."""
    code = worker.process.returncode
    who = f"Student {worker.student}, worker {worker.index}"
    if code < 0:
        name = signal.Signals(-code).name
        message = f"{who} was ended by {name}. "
        code = errors.GroupLostError.exit_code
    else:
        message = f"{who} ended with exit code {code}. "
    error = errors.LmcodistillError(
        f"{message}Its log {worker.log} ends:\n{_tail(worker.log)}"
    )
    error.exit_code = code
    return error


def _tail(path: pathlib.Path, lines: int = 12) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])


def _free_ports(count: int) -> list[int]:
    """Returns ports that were free a moment ago, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def stop_with_parent() -> None:
    """In a worker that a launcher started: stops it when the launcher is gone."""
    if not os.environ.pop(PARENT_PIPE, ""):
        return

    def wait() -> None:
        while os.read(0, 4096):  # Nothing is ever sent; the end is the message.
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
