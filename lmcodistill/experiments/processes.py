"""The processes of a comparison: each on cores of its own, all stopped with us."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence

from lmcodistill.supervision import lifeline

# Python that takes its place on some cores and becomes another command. Affinity
# belongs to a thread: set here, it would outlast the run in a pool's thread.
_ON_CORES = (
    "import os, sys; os.sched_setaffinity(0, map(int, sys.argv[1].split(','))); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)
_running: set[int] = set()


def call(
    command: Sequence[str], log: pathlib.Path, cores: Collection[int]
) -> tuple[int, float, str]:
    """Runs a module of Python on some cores, in a process of its own.

    Args:
        command: The module's name, and its arguments.
        log: What its standard error is appended to.
        cores: That it, and all that it starts, may run on.

    Returns:
        Its exit code, its CPU seconds and its standard output.
    """
    on_cores = [sys.executable, "-c", _ON_CORES, ",".join(map(str, sorted(cores)))]
    # Our end is open as long as we live; training stops when it closes.
    our_end, child_end = socket.socketpair()
    with our_end, open(log, "ab") as stderr, tempfile.TemporaryFile() as stdout:
        with child_end:
            process = subprocess.Popen(
                # As a module: the same program, wherever this one was found.
                [*on_cores, "-m", *command],
                stdin=child_end.fileno(),
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, lifeline.VARIABLE: "1"},
            )
        _running.add(process.pid)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            _running.discard(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        output = stdout.read().decode(errors="replace")
    return process.returncode, usage.ru_utime + usage.ru_stime, output


def stop_all() -> None:
    """Asks every run in progress to save and stop."""
    for pid in list(_running):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
