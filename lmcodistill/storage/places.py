"""Places: folders and files of a mounted file system, or of an object store.

A local place is a `pathlib.Path`; a remote one (`s3://bucket/run`, `gs://...`,
any URL that fsspec knows) is a `upath.UPath` with the same methods. What differs
between the two is here and nowhere else: an object store has no rename, no links
and no exclusive open, but it shows an object whole or not at all.
"""

import contextlib
import errno
import os
import pathlib
import shutil
import stat
import uuid
from collections.abc import Iterator
from typing import Any

import upath

from lmcodistill import errors

Place = pathlib.Path | upath.UPath

_CHUNK_BYTES = 1 << 20
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP)


def place(text: str) -> Place:
    """Returns the place that a user means: a path, or a URL.

    Raises:
        UsageError: the URL's kind is unknown or its library is not installed.
    """
    if "://" not in text:
        return pathlib.Path(text).expanduser().resolve()
    try:
        # A listing that was true a minute ago hides the peers' newest exports.
        found = upath.UPath(text, use_listings_cache=False)
        _ = found.fs  # Imports the library behind it.
    except (ValueError, ImportError) as error:
        raise errors.UsageError(
            f"{text} cannot be used ({error}). Install what it needs "
            "(pip install 'lmcodistill[s3]' or 'lmcodistill[gcs]'), or give a folder."
        ) from error
    return found


def is_local(where: Place) -> bool:
    """Returns whether a place is on a mounted file system."""
    return isinstance(where, pathlib.Path)


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """Turns whatever a remote library raises into an OSError."""
    try:
        yield
    except (OSError, errors.LmcodistillError):
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}") from error


def names_in(folder: Place) -> list[str]:
    """Returns the names in a folder; none where it does not exist."""
    with storage_errors():
        try:
            return [entry.name for entry in folder.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []


def is_file(where: Place) -> bool:
    """Returns whether a regular file or an object is there."""
    with storage_errors():
        return where.is_file()


def make_folder(folder: Place) -> None:
    """Makes a folder and those above it; object stores need none."""
    if is_local(folder):
        folder.mkdir(parents=True, exist_ok=True)


def remove_file(where: Place) -> None:
    """Removes a file, if it is there."""
    with storage_errors(), contextlib.suppress(FileNotFoundError):
        where.unlink()


def remove_tree(folder: Place) -> None:
    """Removes a folder with all in it, if it is there."""
    if isinstance(folder, pathlib.Path):
        shutil.rmtree(folder, ignore_errors=True)
        return
    with storage_errors(), contextlib.suppress(FileNotFoundError):
        folder.fs.rm(folder.path, recursive=True)


def put(source: pathlib.Path, target: Place) -> None:
    """Copies a local file to a remote place."""
    with storage_errors(), source.open("rb") as file, target.open("wb") as copy:
        shutil.copyfileobj(file, copy, _CHUNK_BYTES)


def create(target: Place, content: bytes) -> bool:
    """Creates a file that must not exist yet, whole.

    Returns:
        Whether it was created; False where somebody else's is there already.
    """
    if not isinstance(target, pathlib.Path):
        with storage_errors():
            try:
                target.fs.pipe_file(target.path, content, mode="create")
            except FileExistsError:
                return False
            return True
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    partial.write_bytes(content)
    try:
        os.link(partial, target)  # Unlike a rename it never replaces.
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_in_place(target, content)
    finally:
        partial.unlink()
    return True


def _create_in_place(target: pathlib.Path, content: bytes) -> bool:
    """Creates a file where there are no links; it is empty for a moment."""
    try:
        with open(target, "xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def read_chunks(
    source: Place, max_bytes: int, follow_links: bool = False
) -> Iterator[bytes]:
    """Yields a regular file's bytes, at most `max_bytes` and one more.

    Never waits for a pipe or a device.

    Raises:
        OSError: it is missing, cannot be read, or is no regular file.
    """
    with storage_errors(), _open(source, follow_links) as file:
        left = max_bytes + 1
        while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk


def _open(source: Place, follow_links: bool) -> Any:
    if not isinstance(source, pathlib.Path):
        return source.open("rb")
    no_links = 0 if follow_links else os.O_NOFOLLOW
    descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | no_links)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return os.fdopen(descriptor, "rb")
