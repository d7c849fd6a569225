"""The files of a snapshot, compared with what its manifest says of them.

A snapshot is untrusted input: there may be names that lead out of its folder,
links, pipes, sizes without end. All of it is refused before or while it is read,
with a reason.
"""

import contextlib
import errno
import hashlib
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from lmcodistill import errors
from lmcodistill.storage import places

# What a manifest may name: plain relative paths, nothing hidden, nothing above.
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_MAX_NAME = 200


def check(root: places.Place, table: Any, within: str, to: pathlib.Path | None) -> None:
    """Does what `publication.verify` says; `table` is size and digest by name."""
    if not isinstance(table, dict):
        table = {}
    below = within.rstrip("/") + "/"
    names = [n for n in table if not within or n == within or n.startswith(below)]
    if not names:
        raise _refusal(f"{root} lists no files below {within!r}.", "file_table")
    for name in names:
        _refuse_unsafe(root, name, table[name])
    for name in names:
        source = root / name
        _check_file(source, table[name], to / source.name if to else None)


def read_small(source: places.Place, max_bytes: int) -> bytes:
    """Reads a regular file of at most `max_bytes`.

    Raises:
        SnapshotError: it is missing, no regular file, or too large.
    """
    content = b"".join(_read(source, max_bytes))
    if len(content) > max_bytes:
        raise _refusal(f"{source} has more than {max_bytes:,} bytes.", "size")
    return content


def _refusal(text: str, reason: str) -> errors.SnapshotError:
    return errors.SnapshotError(f"{text} It was tampered with or damaged.", reason)


def _refuse_unsafe(root: places.Place, name: str, row: Any) -> None:
    if len(name) > _MAX_NAME or not _SAFE_NAME.fullmatch(name):
        raise _refusal(
            f"{root} lists a file named {name[:_MAX_NAME]!r}; names of files are plain "
            "relative paths.",
            "file_table",
        )
    size = row.get("bytes") if isinstance(row, dict) else None
    if type(size) is not int or size < 0:
        raise _refusal(
            f"{root} lists {name!r} as {str(row)[:80]!r}; its size and digest were "
            "expected.",
            "file_table",
        )
    # A linked folder would lead out of the snapshot.
    if isinstance(root, pathlib.Path):
        for folder in [root / parent for parent in pathlib.PurePath(name).parents]:
            if folder.is_symlink():
                raise _refusal(
                    f"{folder} is a symbolic link; a snapshot has none.", "special_file"
                )


def _check_file(
    source: places.Place, expected: dict[str, Any], copy: pathlib.Path | None
) -> None:
    """Compares a file with its manifest while it is read, and copied if asked."""
    digest, size = hashlib.sha256(), 0
    with open(copy, "wb") if copy else contextlib.nullcontext() as target:
        for chunk in _read(source, expected["bytes"]):
            digest.update(chunk)
            size += len(chunk)
            if target:
                target.write(chunk)
    if size != expected["bytes"]:
        at_least = "more than " if size > expected["bytes"] else ""
        raise _refusal(
            f"{source} has {at_least}{min(size, expected['bytes']):,} bytes; its "
            f"manifest says {expected['bytes']:,}.",
            "size",
        )
    if digest.hexdigest() != expected.get("sha256"):
        raise _refusal(
            f"{source} has SHA-256 {digest.hexdigest()[:12]}; its manifest says "
            f"{str(expected.get('sha256'))[:12]}.",
            "digest",
        )


def _read(source: places.Place, max_bytes: int) -> Iterator[bytes]:
    try:
        yield from places.read_chunks(source, max_bytes)
    except places.SpecialFileError as error:
        raise _refusal(
            f"{source} is no regular file; a snapshot has nothing else.", "special_file"
        ) from error
    except OSError as error:
        is_gone = isinstance(error, places.ABSENT) or error.errno == errno.ESTALE
        raise errors.SnapshotError(
            f"{source} cannot be read ({error}). "
            + ("It was removed meanwhile" if is_gone else "Storage failed")
            + "; another snapshot must serve, or this one later.",
            reason="missing_file" if is_gone else "storage",
        ) from error
