"""Errors that people can act on, each with the exit code that scripts rely on.

A message says what was found, what was expected and what to do, in that order.
Anything that is not one of these is a bug and keeps its traceback.
"""

import contextlib
import errno
import os
import sys
from typing import NoReturn


class LmcodistillError(Exception):
    """Base of every error the command line reports without a traceback.

    Messages quote untrusted input, so control characters are escaped.
    """

    exit_code = 1

    def __str__(self) -> str:
        return printable(super().__str__())


class UsageError(LmcodistillError):
    """A flag, a gin binding or a setting cannot be used as given."""

    exit_code = 2


class DataError(LmcodistillError):
    """Input text, shards or a vocabulary are missing, damaged or do not fit."""

    exit_code = 3


class SnapshotError(LmcodistillError):
    """A checkpoint or an export is missing, damaged or does not fit.

    Attributes:
        reason: One word, the same for all refusals of a kind; they are counted.
    """

    exit_code = 4

    def __init__(self, message: str, reason: str = "unusable"):
        super().__init__(message)
        self.reason = reason


class DivergedError(LmcodistillError):
    """Training produced values that are not finite."""

    exit_code = 5


class GroupLostError(LmcodistillError):
    """A worker or the whole cluster of a student was lost; starting again helps."""

    exit_code = 75


class StoppedError(LmcodistillError):
    """The run was asked to stop, and stopped after saving."""

    exit_code = 143


# Of a place that a person named: it cannot be used so, or what is there failed.
_UNUSABLE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR),
    *(errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENXIO, errno.ENODEV),
    errno.ENOENT,
)
_FAILED = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE),
    *(errno.ETIMEDOUT, errno.ECONNREFUSED, errno.EBUSY, errno.EMFILE, errno.ENFILE),
)
_NO_MEMORY_OF_TF = "ResourceExhaustedError"
OF_SYSTEM = (*_UNUSABLE, *_FAILED)


def of_system(error: Exception) -> LmcodistillError | None:
    """Returns what people can do about a refusal of the system; None for a bug."""
    # By its name: TensorFlow is not imported to ask.
    if isinstance(error, MemoryError) or type(error).__name__ == _NO_MEMORY_OF_TF:
        words = " ".join(str(error).split())[:200] or "none is left"
        return UsageError(
            f"There is not enough memory ({words}). Give less to do at once: a smaller "
            "batch, window or model, fewer rows or samples; or a larger machine."
        )
    if not isinstance(error, OSError):
        return None
    where = f"{error.filename}: " if error.filename is not None else ""
    words = f"{where}{error.strerror or error}."
    if error.errno in _UNUSABLE:
        return UsageError(f"{words} Give another path, or the right to use this one.")
    if error.errno in _FAILED:
        return DataError(f"{words} Storage failed; try again, or give another path.")
    return None


def printable(text: str, kept: str = "\n") -> str:
    """Returns `text` with control characters escaped, but for those in `kept`."""
    if text.isprintable():  # Nearly every time, and once for each page of a crawl.
        return text
    return "".join(
        c if c.isprintable() or c in kept else c.encode("unicode_escape").decode()
        for c in text
    )


def leave(error: LmcodistillError) -> NoReturn:
    """Ends this process at once, with the error's words and code; in any thread."""
    with contextlib.suppress(OSError):  # The log may be on a full disk.
        print(f"lmcodistill train: {error}", file=sys.stderr, flush=True)
    os._exit(error.exit_code)
