"""Text of people and of models: how commands read it and print it."""

import functools
import sys
import unicodedata
from collections.abc import Iterator
from typing import BinaryIO

from lmcodistill import errors
from lmcodistill.storage import places

STDIN = "-"
_MAX_LINE_BYTES = 64 << 20


def lines(name: str) -> Iterator[str]:
    """Yields the lines of a file, or of standard input, without their ends.

    Args:
        name: Of the file; `-` for standard input.

    Raises:
        DataError: it cannot be read, or a line is no UTF-8.
    """
    if name == STDIN:
        yield from _decoded(sys.stdin.buffer, "standard input")
        return
    try:
        with open(places.pattern(name), "rb") as file:
            yield from _decoded(file, name)
    except OSError as error:
        raise errors.DataError(
            f"{name} cannot be read: {error.strerror}. Give a text file, or - for "
            "standard input."
        ) from error


def whole(name: str, max_bytes: int) -> str:
    """Returns all of a short text, without the line ends at its end.

    Raises:
        UsageError: it has no end in sight; otherwise as `lines`.
    """
    found, size = [], 0
    for line in lines(name):
        found.append(line)
        size += len(line.encode()) + 1
        if size > max_bytes:
            called = "standard input" if name == STDIN else name
            raise errors.UsageError(
                f"{called} has more than {max_bytes:,} bytes. Give its last paragraphs."
            )
    return "\n".join(found).rstrip("\n")


def _decoded(file: BinaryIO, name: str) -> Iterator[str]:
    read = functools.partial(file.readline, _MAX_LINE_BYTES + 1)
    for number, line in enumerate(iter(read, b""), 1):
        if len(line) > _MAX_LINE_BYTES:
            raise errors.DataError(
                f"Line {number:,} of {name} has more than {_MAX_LINE_BYTES:,} bytes. "
                "Give a text file."
            )
        try:
            yield line.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise errors.DataError(
                f"Line {number:,} of {name} is no UTF-8. Convert it first; "
                "`iconv -f WINDOWS-1252 -t UTF-8` does for many."
            ) from error


def printable(text: str) -> str:
    """Returns the text without control characters: a corpus may hold escapes."""
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) != "Cc" else f"\\x{ord(c):02x}"
        for c in text
    )
