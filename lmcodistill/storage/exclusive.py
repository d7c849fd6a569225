"""Files that only one process can create: what tells owners apart."""

import contextlib
import errno
import os
import pathlib
import uuid
from typing import TYPE_CHECKING

from lmcodistill import errors
from lmcodistill.storage import places

if TYPE_CHECKING:
    import upath

_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
# Where "create this unless it exists" is one request. fsspec's fallback, a look
# and then a write, lets two processes both believe that they were first.
_EXCLUSIVE = ("s3", "s3a", "gs", "gcs", "memory")


def create(target: places.Place, content: bytes) -> bool:
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


def _create_object(target: "upath.UPath", content: bytes) -> bool:
    if target.protocol not in _EXCLUSIVE:
        raise errors.UsageError(
            f"{target.protocol}:// cannot create a file only if there is none, so two "
            "processes could both own a student. Give a mounted folder, s3:// or gs:// "
            "(others can be read from)."
        )
    if not _create_once(target, content):
        # A request whose answer was lost is repeated, and finds its own work.
        return b"".join(places.read_chunks(target, len(content))) == content
    # Servers that only resemble S3 may ignore the condition; ours must now fail.
    if _create_once(target, content):
        raise errors.UsageError(
            f"The server behind {target} overwrites what it was asked to create "
            "(it ignores If-None-Match), so two processes could both own a student. "
            "Give other storage as --shared_dir."
        )
    return True


def _create_once(target: "upath.UPath", content: bytes) -> bool:
    with places.storage_errors():
        try:
            target.fs.pipe_file(target.path, content, mode="create")
        except FileExistsError:
            return False
        except OSError:
            # Not all servers say which condition it was that failed.
            if not places.is_file(target):
                raise
            return False
    return True
