"""Small files, written whole or not at all.

Text and JSON of manifests, reports and commit files. Large arrays live in shards
(`data/shards.py`) and tensor bundles (`storage/tensors.py`).
"""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import uuid
from collections.abc import Iterator
from typing import IO, Any

from lmcodistill import errors
from lmcodistill.storage import places

_PARTIAL = ".partial"
# A manifest is input from outside: a peer that writes gigabytes is refused.
MAX_JSON_BYTES = 1 << 20
MAX_JSON_DEPTH = 16


def fsync_path(path: pathlib.Path) -> None:
    """Forces a file or a directory to stable storage; TensorFlow never does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems keep directories where nothing can force them.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def is_partial(name: str) -> bool:
    """Returns whether a file of this name is what a killed writer leaves behind."""
    return name.startswith(".") and name.endswith(_PARTIAL)


@contextlib.contextmanager
def writing(path: pathlib.Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """Opens a file that appears under its name only once it is whole.

    Args:
        path: Where.
        durable: Whether its bytes must be on the disk by then.
    """
    # Two machines can write the same file at once, with equal process numbers.
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}{_PARTIAL}")
    try:
        with open(partial, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)  # On a full disk its bytes are missed.
        raise


def write_bytes(path: places.Place, content: bytes, durable: bool = True) -> None:
    """Writes `content` to `path` so that readers see the old or the new file.

    Args:
        path: Where.
        content: What.
        durable: Whether it must outlive a loss of power.
    """
    if not isinstance(path, pathlib.Path):
        with places.storage_errors():
            path.fs.pipe_file(path.path, content)
        return
    with writing(path, durable) as file:
        file.write(content)
    if durable:
        fsync_path(path.parent)


def write_text(path: places.Place, content: str) -> None:
    """Writes UTF-8 text as `write_bytes` does."""
    write_bytes(path, content.encode())


def to_json(value: Any) -> str:
    """Returns `value` as the JSON text all our files use: sorted, indented."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_limited(
    path: places.Place, max_bytes: int = MAX_JSON_BYTES, follow_links: bool = True
) -> bytes:
    """Reads a regular file of at most `max_bytes`.

    Raises:
        DataError: the file is missing, no regular file, or too large.
    """
    try:
        content = b"".join(places.read_chunks(path, max_bytes, follow_links))
    except FileNotFoundError as error:
        raise errors.DataError(f"{path} does not exist.") from error
    except OSError as error:
        raise errors.DataError(f"{path} cannot be read: {error}") from error
    if len(content) > max_bytes:
        raise errors.DataError(
            f"{path} has more than the {max_bytes:,} bytes that such a file has at "
            "most. Something else wrote it; remove it."
        )
    return content


def parse_json(content: bytes, source: object) -> dict[str, Any]:
    """Returns the JSON object that `content`, read from `source`, is.

    Raises:
        DataError: it is none.
    """
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise errors.DataError(
            f"{source} is not readable JSON: {error}. Restore it, or make it again."
        ) from error
    if not isinstance(value, dict):
        raise errors.DataError(
            f"{source} holds a JSON {type(value).__name__}; an object was expected."
        )
    if _is_deeper(value, MAX_JSON_DEPTH):
        raise errors.DataError(
            f"{source} nests values more than {MAX_JSON_DEPTH} levels deep, as no file "
            "of this program does. Something else wrote it; remove it."
        )
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_is_deeper(item, depth - 1) for item in inner)


def read_json(path: places.Place, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Reads one JSON object from a regular file of at most `max_bytes`.

    Raises:
        DataError: the file is missing, too large, or not a JSON object.
    """
    return parse_json(read_limited(path, max_bytes), path)


def read_json_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the objects of a file that is appended to, one a line.

    A missing file has none. A line that a dying process left half is skipped.
    """
    if not path.is_file():
        return []
    values = []
    # By bytes: a half-written line may end within a character.
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError):
            values.append(json.loads(line))
    return values


def sha256_of(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
