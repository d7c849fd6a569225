"""Small files, written whole or not at all.

Text and JSON of manifests, reports and markers. Large arrays live in shards
(`data/shards.py`) and tensor bundles (`storage/tensors.py`).
"""

import hashlib
import json
import os
import pathlib
from typing import Any

from lmcodistill import errors

# A manifest is input from outside: a peer that writes gigabytes is refused.
MAX_JSON_BYTES = 1 << 20


def fsync_path(path: pathlib.Path) -> None:
    """Forces a file or a directory to stable storage; TensorFlow never does."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes `content` to `path` so that readers see the old or the new file."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with open(partial, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    fsync_path(path.parent)


def write_text(path: pathlib.Path, content: str) -> None:
    """Writes UTF-8 text as `write_bytes` does."""
    write_bytes(path, content.encode())


def to_json(value: Any) -> str:
    """Returns `value` as the JSON text all our files use: sorted, indented."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def read_limited(path: pathlib.Path, max_bytes: int = MAX_JSON_BYTES) -> bytes:
    """Reads a regular file of at most `max_bytes`.

    Raises:
        DataError: the file is missing, no regular file, or too large.
    """
    try:
        if not path.is_file():
            raise errors.DataError(f"{path} does not exist or is not a regular file.")
        size = path.stat().st_size
        if size > max_bytes:
            raise errors.DataError(
                f"{path} has {size:,} bytes; a manifest has at most {max_bytes:,}. "
                "Something else wrote it; remove it."
            )
        with open(path, "rb") as file:
            return file.read(size)
    except OSError as error:
        raise errors.DataError(f"{path} cannot be read: {error}") from error


def parse_json(content: bytes, source: pathlib.Path) -> dict[str, Any]:
    """Returns the JSON object that `content`, read from `source`, is.

    Raises:
        DataError: it is none.
    """
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise errors.DataError(f"{source} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise errors.DataError(
            f"{source} holds a JSON {type(value).__name__}; an object was expected."
        )
    return value


def read_json(path: pathlib.Path, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Reads one JSON object from a regular file of at most `max_bytes`.

    Raises:
        DataError: the file is missing, too large, or not a JSON object.
    """
    return parse_json(read_limited(path, max_bytes), path)


def sha256_of(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
