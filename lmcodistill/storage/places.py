"""Places: folders and files of a mounted file system, or of an object store.

A local place is a `pathlib.Path`; a remote one (`s3://bucket/run`, `gs://...`,
any URL that fsspec knows) is a `upath.UPath`. What differs between the two is
here and nowhere else: an object store has no rename, no links and no exclusive
open (`storage/exclusive.py`), but it shows an object whole or not at all.

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
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeGuard, Union

from lmcodistill import errors
from lmcodistill.storage import faults

if TYPE_CHECKING:  # It takes longer to import than all else; few runs have a URL.
    import upath

Place = Union[pathlib.Path, "upath.UPath"]
# What says that something is not there, and not that storage failed.
ABSENT = (FileNotFoundError, NotADirectoryError)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")
_FILE_URLS = ("file://", "local://")
_CHUNK_BYTES = 1 << 20
# A listing that was true a minute ago hides the peers' newest exports.
_OPTIONS: dict[str, Any] = {"use_listings_cache": False}
# s3fs tries five times for 15 s, and botocore five times within each: a server
# that hangs would be an error after 416 s (measured), with these after 154 s.
_OPTIONS_OF_S3 = {"config_kwargs": {"retries": {"total_max_attempts": 2}}}


class SpecialFileError(OSError):
    """A link, a pipe, a folder or a device where a regular file was expected."""


def place(text: str) -> Place:
    """Returns the place that a user means: a path, or a URL.

    Here, for every command alike, `~` is a home folder, and what neither a file
    system nor TensorFlow can be given is refused.

    Raises:
        UsageError: no such place can be; the URL's kind is unknown or its library is
            not installed.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise errors.UsageError(
            f"{text} is no UTF-8 text, and TensorFlow takes no other paths. Rename it; "
            "or, if it looks right to you, set LC_ALL=C.UTF-8."
        ) from error
    if not _URL.match(text):
        return _local(text)
    if not text.rpartition("://")[2].strip("/"):
        raise errors.UsageError(f"{text} names no bucket; s3://BUCKET/FOLDER does.")
    import upath

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
    return _local(url.path) if url.protocol in ("file", "local") else url


def local(text: str, instead: str = "") -> pathlib.Path:
    """Returns the path that a user means where a URL cannot serve.

    Args:
        text: What the user gave.
        instead: What to do with a URL.

    Raises:
        UsageError: it is a URL, or no such path can be.
    """
    _refuse_url(text, instead)
    found = place(text)
    assert isinstance(found, pathlib.Path)  # No URL, or that of a file.
    return found


def pattern(text: str) -> str:
    """Returns a pattern of files to read, as `local`; names need be no UTF-8."""
    _refuse_url(text, "Download the files first.")
    return str(expanded(text))


def _refuse_url(text: str, instead: str) -> None:
    if _URL.match(text) and not text.startswith(_FILE_URLS):
        raise errors.UsageError(
            f"{text} is a URL, and a path was expected. {instead}".rstrip()
        )


def _local(text: str) -> pathlib.Path:
    try:
        path = expanded(text).resolve()
        path.exists()  # So that a name that no file can have is refused here.
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError: links lead in a circle.
        words = error.strerror if isinstance(error, OSError) else str(error)
        raise errors.UsageError(
            f"{text[:200]} cannot be a path: {words}. Give another."
        ) from error
    return path


def expanded(text: str) -> pathlib.Path:
    """Returns a path with the home folder that `~` stands for; raises as `local`."""
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError as error:
        raise errors.UsageError(
            f"{text[:200]}: nobody of that name has a home folder here. Write ./~ for "
            "a name that begins so."
        ) from error


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


def is_there(path: Place) -> bool:
    """Returns whether anything is there: a file, or a folder that is not only a name.

    Raises:
        OSError: storage failed, so nobody knows.
    """
    if isinstance(path, pathlib.Path):
        return path.exists()
    return is_file(path) or bool(names_in(path))


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


def put(source: pathlib.Path, target: "upath.UPath") -> None:
    """Copies a local file to a remote place."""
    with storage_errors():
        target.fs.put_file(str(source), target.path)


def put_tree(
    folder: pathlib.Path,
    target: "upath.UPath",
    last: str,
    on_put: Callable[[int], None] = lambda num_bytes: None,
) -> None:
    """Copies a local folder to a remote place, one file after the other.

    Args:
        folder: What.
        target: Where.
        last: Name of the file that makes the others count, and comes after them.
        on_put: Told the bytes of every file that is there.
    """
    paths = [path for path in folder.rglob("*") if path.is_file()]
    for path in sorted(paths, key=lambda path: (path == folder / last, path)):
        put(path, target / path.relative_to(folder).as_posix())
        on_put(path.stat().st_size)


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
