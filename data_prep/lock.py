"""One process at a time writes to a folder."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Iterator

from lmcodistill import errors


@contextlib.contextmanager
def held(
    path: pathlib.Path, doing: str, folder: pathlib.Path, flag: str
) -> Iterator[None]:
    """Holds a lock file, which the kernel frees when its owner ends.

    Args:
        path: The lock file.
        doing: What the owner does to `folder`, such as `writing to`.
        folder: For the message.
        flag: The flag that names another folder.

    Raises:
        UsageError: another process holds it.
    """
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise errors.UsageError(
                f"Another prep (process {file.read().strip() or 'unknown'}) is "
                f"{doing} {folder}. Wait for it, or give another {flag}."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
