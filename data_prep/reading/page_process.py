"""Reads HTML in a process of its own, which hostile pages may kill.

Some 200 kB of nested tags keep the parser busy for a minute, some MB take a GB
(measured 2026-11), and no check of the page before that is both cheap and sure.
So the process has a limit of memory and, for each page, of its own CPU time,
both set far beyond what real pages need; a page that kills it is dropped and the
next one gets a new process.

That a page takes too long is the one outcome that depends on the machine.
"""

import atexit
import contextlib
import os
import resource
import signal
import struct
import subprocess
import sys
import time

from data_prep import lifetime
from data_prep.reading import html_pages
from lmcodistill import errors

# A real page of 8 MB takes less than a third of either.
MAX_SECONDS = 3.0
_MAX_MEMORY = 320 << 20
_PROGRAM = "from data_prep.reading import page_process; page_process.serve()"
_REQUEST = struct.Struct("<?QdQ")
_REPLY = struct.Struct("<dQ")
_READY = _REPLY.pack(0.0, 0)
# What a page can do to its reader. Any other signal came from outside.
_CRASHES = {
    signal.SIGSEGV,
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGILL,
    signal.SIGFPE,
    signal.SIGTRAP,
}

# By process id: a forked process must not talk to its parent's.
_processes: dict[int, "_PageProcess"] = {}


def extract_text(
    body: bytes,
    *,
    main_content: bool,
    max_bytes: int,
    max_seconds: float = MAX_SECONDS,
) -> html_pages.PageText:
    """Does what `html_pages.extract_text` does, whatever the page holds.

    Args:
        body: See there.
        main_content: See there.
        max_bytes: See there.
        max_seconds: CPU time that the page may take.

    Raises:
        DataError: the process was killed from outside, twice.
    """
    request = _REQUEST.pack(main_content, max_bytes, max_seconds, len(body)) + body
    for _ in range(2):
        reader = _processes.get(os.getpid())
        if reader is None:
            reader = _processes[os.getpid()] = _PageProcess()
        try:
            answer = reader.ask(request)
        except BaseException:
            # Its answer would be taken for that of the next page.
            del _processes[os.getpid()]
            raise
        if answer is not None:
            lifetime.add_helper_seconds(answer[0])
            reason, _, text = answer[1].partition(b"\n")
            return html_pages.PageText(text.decode(), reason.decode() or None)
        del _processes[os.getpid()]
        status = reader.wait()
        if status == -signal.SIGPROF:
            lifetime.add_helper_seconds(max_seconds)
            return html_pages.PageText("", "slow_page")
        if status > 0 or -status in _CRASHES:
            return html_pages.PageText("", "unreadable_page")
    raise errors.DataError(
        f"The process that reads HTML pages was killed twice (signal {-status}), "
        "probably for want of memory. Run the same command again with a lower "
        "--num_workers: finished files are not read again."
    )


class _PageProcess:
    """The process, as seen from outside."""

    def __init__(self) -> None:
        path = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        if self._output.read(len(_READY)) != _READY:
            raise RuntimeError(
                f"the process that reads pages ended with {self.wait()} at its start"
            )

    def ask(self, request: bytes) -> tuple[float, bytes] | None:
        """Returns CPU seconds, and reason, line end and text.

        None if the request killed the process.
        """
        try:
            self._input.write(request)
            self._input.flush()
        except BrokenPipeError:
            return None
        head = self._output.read(_REPLY.size)
        if len(head) < _REPLY.size:
            return None
        seconds, size = _REPLY.unpack(head)
        answer = self._output.read(size)
        return (seconds, answer) if len(answer) == size else None

    def wait(self) -> int:
        """Returns the exit status of the process, which has ended."""
        self._output.close()
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        return self._process.wait()


@atexit.register
def _end() -> None:
    reader = _processes.pop(os.getpid(), None)
    if reader is not None:
        reader.wait()


def serve() -> None:
    """Answers requests on standard input until it is closed."""
    # Whoever stops the run also stops the process that asks; a page must not be
    # given up because its reader went first.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_DATA, (_MAX_MEMORY, _MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    replies.write(_READY)
    replies.flush()
    while head := requests.read(_REQUEST.size):
        main_content, max_bytes, max_seconds, size = _REQUEST.unpack(head)
        body = requests.read(size)
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, max_seconds)
        try:
            text, reason = html_pages.extract_text(
                body, main_content=main_content, max_bytes=max_bytes
            )
        # A panic of Rust code is no Exception.
        except BaseException:
            text, reason = "", "unreadable_page"
        answer = (reason or "").encode() + b"\n" + text.encode("utf-8", "replace")
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(_REPLY.pack(time.process_time() - start, len(answer)))
        replies.write(answer)
        replies.flush()
