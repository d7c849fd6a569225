"""Places: folders and files of a mounted file system, or of an object store.

A local place is a `pathlib.Path`; a remote one (`s3://bucket/run`, `gs://...`,
any URL that fsspec knows) is a `upath.UPath`. What differs between the two is
here and nowhere else: an object store has no rename, no links and no exclusive
open, but it shows an object whole or not at all.

Nothing here takes a failure for an absence: `UPath.iterdir`, `.is_file` and
`.unlink` do, and then a lost connection looks like an empty folder, in which a
sweep finds nothing worth keeping and a second process finds no owner.
"""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from typing import Any, TypeGuard

import upath

from lmcodistill import errors
from lmcodistill.storage import faults

Place = pathlib.Path | upath.UPath
# What says that something is not there, and not that storage failed.
ABSENT = (FileNotFoundError, NotADirectoryError)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")
_CHUNK_BYTES = 1 << 20
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
# Where "create this unless it exists" is one request. fsspec's fallback, a look
# and then a write, lets two processes both believe that they were first.
_EXCLUSIVE = ("s3", "s3a", "gs", "gcs", "memory")
# A listing that was true a minute ago hides the peers' newest exports.
_OPTIONS: dict[str, Any] = {"use_listings_cache": False}
# s3fs tries five times for 15 s, and botocore five times within each: a server
# that hangs would be an error after 416 s (measured), with these after 154 s.
_OPTIONS_OF_S3 = {"config_kwargs": {"retries": {"total_max_attempts": 2}}}


class SpecialFileError(OSError):
    """A link, a pipe, a folder or a device where a regular file was expected."""


def place(text: str) -> Place:
    """Returns the place that a user means: a path, or a URL.

    Raises:
        UsageError: the URL's kind is unknown or its library is not installed.
    """
    if not _URL.match(text):
        return pathlib.Path(text).expanduser().resolve()
    if not text.rpartition("://")[2].strip("/"):
        raise errors.UsageError(f"{text} names no bucket; s3://BUCKET/FOLDER does.")
    try:
        is_s3 = text.startswith(("s3://", "s3a://"))
        url = upath.UPath(
            text.rstrip("/"), **(_OPTIONS | _OPTIONS_OF_S3 if is_s3 else _OPTIONS)
        )
        _ = url.fs  # Imports the library behind it; all below share it.
    except Exception as error:  # Each library has its own kinds.
        raise errors.UsageError(
            f"{text} cannot be used ({error}). Install what it needs "
            "(pip install 'lmcodistill[s3]' or 'lmcodistill[gcs]'), or give a folder."
        ) from error
    if url.protocol in ("file", "local"):
        return pathlib.Path(url.path).resolve()
    return url


def is_local(path: Place) -> TypeGuard[pathlib.Path]:
    """Returns whether a place is on a mounted file system."""
    return isinstance(path, pathlib.Path)


def is_open_to_all(folder: Place) -> bool:
    """Returns whether everybody on this machine may write in a local folder."""
    if not isinstance(folder, pathlib.Path):
        return False
    return any(
        parent.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH
        for parent in (folder, *folder.parents)
    )


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """Turns whatever a remote library raises into an OSError."""
    try:
        yield
    except (OSError, errors.LmcodistillError):
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}") from error


@contextlib.contextmanager
def failures_named() -> Iterator[None]:
    """Turns a failure of storage into what ends a process.

    Raises:
        SnapshotError: writing is not permitted; starting again is no use.
        GroupLostError: storage failed; starting again may help.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise errors.SnapshotError(
                f"Storage refuses to be written to: {error}. Give the process the "
                "right to write there, or another --run_dir or --shared_dir.",
                reason="storage",
            ) from error
        raise errors.GroupLostError(
            f"Storage failed ({error}). What was saved is as it was; it is tried again."
        ) from error


def names_in(folder: Place) -> list[str]:
    """Returns the names in a folder; none where it does not exist.

    Raises:
        OSError: storage failed.
    """
    try:
        if isinstance(folder, pathlib.Path):
            return os.listdir(folder)
        with storage_errors():
            paths = folder.fs.ls(folder.path, detail=False)
    except ABSENT:
        return []
    # Some stores list a folder, or a file, as its own only entry.
    itself = folder.path.strip("/")
    return [p.rpartition("/")[2] for q in paths if (p := q.strip("/")) != itself]


def is_file(path: Place) -> bool:
    """Returns whether a regular file or an object is there.

    Raises:
        OSError: storage failed, so nobody knows.
    """
    try:
        if isinstance(path, pathlib.Path):
            return stat.S_ISREG(path.stat().st_mode)
        with storage_errors():
            return path.fs.info(path.path)["type"] == "file"
    except ABSENT:
        return False


def make_folder(folder: Place) -> None:
    """Makes a folder and those above it; object stores need none."""
    if isinstance(folder, pathlib.Path):
        folder.mkdir(parents=True, exist_ok=True)


def remove_file(path: Place) -> None:
    """Removes a file, if it is there.

    Raises:
        OSError: storage failed; it may still be there.
    """
    with storage_errors(), contextlib.suppress(FileNotFoundError):
        if isinstance(path, pathlib.Path):
            path.unlink()
        else:
            path.fs.rm_file(path.path)


def remove_tree(folder: Place) -> None:
    """Removes a folder with all in it, as far as that can be done."""
    if isinstance(folder, pathlib.Path):
        # NFS keeps what somebody still reads under another name for a while.
        shutil.rmtree(folder, ignore_errors=True)
        return
    with storage_errors(), contextlib.suppress(FileNotFoundError):
        folder.fs.rm(folder.path, recursive=True)


def put(source: pathlib.Path, target: upath.UPath) -> None:
    """Copies a local file to a remote place."""
    with storage_errors():
        target.fs.put_file(str(source), target.path)


def create(target: Place, content: bytes) -> bool:
    """Creates a file that must not exist yet, whole.

    Args:
        target: Where.
        content: Unlike what anybody else would write.

    Returns:
        Whether it was created; False where somebody else's is there already.

    Raises:
        UsageError: the storage cannot do that.
        OSError: storage failed; it may be there or not.
    """
    if not isinstance(target, pathlib.Path):
        return _create_object(target, content)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(content)
        os.link(partial, target)  # Unlike a rename it never replaces.
    except FileExistsError:
        # NFS may repeat a request that had been granted.
        with contextlib.suppress(FileNotFoundError):
            return partial.samefile(target)
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _create_in_place(target, content)
    finally:
        partial.unlink(missing_ok=True)
    return True


def _create_in_place(target: pathlib.Path, content: bytes) -> bool:
    """Creates a file where there are no links; it is empty for a moment."""
    try:
        with open(target, "xb") as file:
            try:
                file.write(content)
                file.flush()
            except OSError:
                target.unlink(missing_ok=True)
                raise
    except FileExistsError:
        return False
    return True


def _create_object(target: upath.UPath, content: bytes) -> bool:
    if target.protocol not in _EXCLUSIVE:
        raise errors.UsageError(
            f"{target.protocol}:// cannot create a file only if there is none, so two "
            "processes could both own a student. Give a mounted folder, s3:// or gs:// "
            "(others can be read from)."
        )
    if not _create_once(target, content):
        # A request whose answer was lost is repeated, and finds its own work.
        return b"".join(read_chunks(target, len(content))) == content
    # Servers that only resemble S3 may ignore the condition; ours must now fail.
    if _create_once(target, content):
        raise errors.UsageError(
            f"The server behind {target} overwrites what it was asked to create "
            "(it ignores If-None-Match), so two processes could both own a student. "
            "Give other storage as --shared_dir."
        )
    return True


def _create_once(target: upath.UPath, content: bytes) -> bool:
    with storage_errors():
        try:
            target.fs.pipe_file(target.path, content, mode="create")
        except FileExistsError:
            return False
        except OSError:
            # Not all servers say which condition it was that failed.
            if not is_file(target):
                raise
            return False
    return True


def read_chunks(
    source: Place, max_bytes: int, follow_links: bool = False
) -> Iterator[bytes]:
    """Yields a regular file's bytes, at most `max_bytes` and one more.

    Never waits for a pipe or a device.

    Raises:
        SpecialFileError: it is no regular file.
        OSError: it is missing or cannot be read.
    """
    faults.point("storage.read")
    with storage_errors(), _open(source, follow_links) as file:
        left = max_bytes + 1
        while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk


def _open(source: Place, follow_links: bool) -> Any:
    if not isinstance(source, pathlib.Path):
        return source.open("rb")
    no_links = 0 if follow_links else os.O_NOFOLLOW
    try:
        descriptor = os.open(source, os.O_RDONLY | os.O_NONBLOCK | no_links)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # A link; a socket.
            raise SpecialFileError(*error.args) from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SpecialFileError(errno.EINVAL, "it is no regular file")
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise
