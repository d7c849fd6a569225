"""Reads HTML in a helper process, which hostile pages may kill.

Some 200 kB of nested tags keep the parser busy for a minute, some MB take a GB
(measured 2026-11), and no check of the page before that is both cheap and sure.
So the process has a limit of memory and, for each page, of CPU time, both far
beyond what real pages need; a page that kills it is dropped and the next one gets
a new process. `slow_page` is the one outcome that depends on the machine.
"""

import atexit
import os
import resource
import signal
import struct
import subprocess
import sys
import time
from multiprocessing import connection

from data_prep import lifetime
from data_prep.reading import html_pages
from lmcodistill import errors

# A real page of 8 MB takes less than a third of either.
MAX_SECONDS = 3.0
_MAX_MEMORY = 320 << 20
_PROGRAM = "from data_prep.reading import page_process; page_process.serve(%d)"
# Then follows the content type.
_REQUEST, _SECONDS = struct.Struct("<??Qd"), struct.Struct("<d")
# What a page can do to its reader. Any other signal came from outside.
_CRASHES = {
    *(signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS),
    *(signal.SIGILL, signal.SIGFPE, signal.SIGTRAP),
}

# By process id: a forked process must not talk to its parent's.
_processes: dict[int, "_PageProcess"] = {}


def extract_text(
    body: bytes,
    content_type: str = "",
    *,
    is_http: bool = True,
    main_content: bool,
    max_bytes: int,
    max_seconds: float = MAX_SECONDS,
) -> html_pages.PageText:
    """Does what `html_pages.extract_text` does, in `max_seconds` of CPU time.

    Raises:
        DataError: the process was killed from outside, twice.
    """
    request = _REQUEST.pack(is_http, main_content, max_bytes, max_seconds)
    request += content_type.encode("utf-8", "replace")
    for _ in range(2):
        reader = _processes.get(os.getpid())
        if reader is None:
            reader = _processes[os.getpid()] = _PageProcess()
        try:
            answer = reader.ask(request, body)
        except BaseException:
            # Its answer would be taken for that of the next page.
            del _processes[os.getpid()]
            raise
        if answer is not None:
            (seconds,) = _SECONDS.unpack_from(answer)
            lifetime.add_helper_seconds(seconds)
            reason, _, text = answer[_SECONDS.size :].partition(b"\n")
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
        self._connection, served = connection.Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM % served.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[served.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        served.close()
        if self._receive() is None:
            raise RuntimeError(
                f"the process that reads pages ended with {self.wait()} at its start"
            )

    def ask(self, request: bytes, body: bytes) -> bytes | None:
        """Returns CPU seconds, reason, line end and text; None if it was killed."""
        try:
            self._connection.send_bytes(request)
            self._connection.send_bytes(body)
        except OSError:
            return None
        return self._receive()

    def wait(self) -> int:
        """Returns the exit status of the process, which has ended or now does."""
        self._connection.close()
        return self._process.wait()

    def _receive(self) -> bytes | None:
        try:
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            return None


@atexit.register
def _end() -> None:
    reader = _processes.pop(os.getpid(), None)
    if reader is not None:
        reader.wait()


def serve(descriptor: int) -> None:
    """Answers requests that come through a connection until it is closed."""
    # Whoever stops the run also stops the process that asks; a page must not be
    # given up because its reader went first.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_DATA, (_MAX_MEMORY, _MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked = connection.Connection(descriptor)
    asked.send_bytes(b"ready")
    while True:
        try:
            request, body = asked.recv_bytes(), asked.recv_bytes()
        except (EOFError, OSError):
            return
        is_http, main_content, max_bytes, max_seconds = _REQUEST.unpack_from(request)
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, max_seconds)
        try:
            text, reason = html_pages.extract_text(
                body,
                request[_REQUEST.size :].decode(),
                is_http=is_http,
                main_content=main_content,
                max_bytes=max_bytes,
            )
        # A panic of Rust code is no Exception.
        except BaseException:
            text, reason = "", "unreadable_page"
        answer = (reason or "").encode() + b"\n" + text.encode("utf-8", "replace")
        signal.setitimer(signal.ITIMER_PROF, 0)
        asked.send_bytes(_SECONDS.pack(time.process_time() - start) + answer)
