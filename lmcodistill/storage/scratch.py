"""Scratch folders: local, gone when done with, and gone when their owner dies.

A process that is killed removes nothing. So its successor does, and knows whose
folders are nobody's: an owner holds a lock on its folder, which the system lets
go with the process.
"""

import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator

_PREFIX = "lmcodistill-scratch-"
# Nobody else's folder may be mistaken for one: eight letters come from tempfile.
_NAME = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}")


@contextlib.contextmanager
def folder() -> Iterator[pathlib.Path]:
    """Makes an empty local folder, and removes it with all in it afterwards."""
    _remove_those_of_the_dead()
    path, lock = _make()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _make() -> tuple[pathlib.Path, int]:
    while True:
        path = pathlib.Path(tempfile.mkdtemp(prefix=_PREFIX))
        # Until it is locked, another process may take it for a dead one's.
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY)
            with contextlib.suppress(OSError):  # Without locks nobody takes it away.
                fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return path, lock
            os.close(lock)


def _remove_those_of_the_dead() -> None:
    root = pathlib.Path(tempfile.gettempdir())
    for name in filter(_NAME.fullmatch, os.listdir(root)):
        with contextlib.suppress(OSError):  # Gone meanwhile, or another user's.
            lock = os.open(root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(root / name, ignore_errors=True)
            finally:
                os.close(lock)
