"""The index of a tensor bundle: which tensors lie in the data file, in their order.

A sorted table of LevelDB's format, without compression; values are TensorFlow's
protocol buffers. The bytes are untrusted input: nothing here grows beyond what the
file's size allows, and whatever is wrong is a ValueError. TensorFlow's
reader instead aborts the process at an entry that does not parse, or at a size
below zero (2.21.0, 2026-11-22).
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf
from google.protobuf import message
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import tensor_bundle_pb2

# An entry takes some 60 bytes; this is room for a hundred thousand.
MAX_BYTES = 8 << 20
_MAX_KEY_BYTES = 1024
_MAX_DIMENSIONS = 8
_MAX_ELEMENTS = 1 << 62
_MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER_BYTES = 48
# After every block: one byte for its compression, four for a checksum.
_UNCOMPRESSED = 0


class Entry(NamedTuple):
    """A tensor, without its values.

    Attributes:
        dtype: Name of its type.
        shape: Its shape.
        num_bytes: How much of the data file it takes.
    """

    dtype: str
    shape: tuple[int, ...]
    num_bytes: int


def parse(content: bytes) -> dict[str, Entry]:
    """Returns the entries of an index file of one shard.

    Returns:
        By name, in the order of the data file, where one begins at the end of the
        one before.

    Raises:
        ValueError: it is damaged, tampered with, or has more shards.
    """
    try:
        return dict(_entries(content))
    except (IndexError, UnicodeDecodeError, message.DecodeError) as error:
        raise ValueError(f"its index is damaged ({error!r})") from error


def _entries(content: bytes) -> Iterator[tuple[str, Entry]]:
    rows = _rows(content)
    header = tensor_bundle_pb2.BundleHeaderProto()
    key, value = next(rows, (None, b""))
    header.ParseFromString(value)
    if key != b"" or header.num_shards != 1 or header.endianness != header.LITTLE:
        raise ValueError("its index is not of one shard of little-endian values")
    last, end = key, 0
    for key, value in rows:
        proto = tensor_bundle_pb2.BundleEntryProto.FromString(value)
        if key <= last or proto.offset != end:
            raise ValueError("its tensors are not one after the other")
        last, end = key, end + proto.size
        yield key.decode(), _entry(key, proto)


def _entry(key: bytes, proto: tensor_bundle_pb2.BundleEntryProto) -> Entry:
    shape = tuple(dimension.size for dimension in proto.shape.dim)
    is_sound = (
        not proto.slices
        and not proto.shape.unknown_rank
        and len(shape) <= _MAX_DIMENSIONS
        and all(size >= 0 for size in shape)
        and math.prod(shape) <= _MAX_ELEMENTS
        and proto.shard_id == 0
        and proto.size >= 0
        and proto.dtype in types_pb2.DataType.values()
        and proto.dtype != types_pb2.DT_INVALID
    )
    if not is_sound:
        raise ValueError(f"the entry {key[:80]!r} of its index makes no sense")
    return Entry(tf.as_dtype(proto.dtype).name, shape, proto.size)


def _rows(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields all keys and values of a table."""
    footer = content[-_FOOTER_BYTES:]
    if not _FOOTER_BYTES <= len(content) <= MAX_BYTES or footer[-8:] != _MAGIC:
        raise ValueError("its index is cut, too large, or none")
    numbers = _numbers(footer)
    for _ in range(2):  # Offset and size of a block that nobody needs.
        next(numbers)
    end = 0
    for _, value in _block(content, next(numbers)[0], next(numbers)[0]):
        (offset, _), (size, _) = itertools.islice(_numbers(value), 2)
        # One after the other: nothing is read twice, however often it is named.
        if offset < end:
            raise ValueError("the blocks of its index overlap")
        end = offset + size
        yield from _block(content, offset, size)


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of one block."""
    if content[offset + size] != _UNCOMPRESSED:
        raise ValueError("its index is compressed")
    block = content[offset : offset + size]
    num_restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 - 4 * num_restarts
    start, key = 0, b""
    while start < end:
        # How much of the last key is kept, what is added to it, and the value.
        (kept, _), (added, _), (length, start) = itertools.islice(
            _numbers(block, start), 3
        )
        if kept > len(key) or kept + added > _MAX_KEY_BYTES:
            raise ValueError("a key of its index is too long")
        if start + added + length > end:
            raise ValueError("a block of its index is cut")
        key = key[:kept] + block[start : start + added]
        start += added + length
        yield key, block[start - length : start]


def _numbers(content: bytes, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yields numbers of variable length, each with where it ends."""
    while True:
        value = shift = 0
        while (byte := content[start]) >= 0x80:
            value |= (byte & 0x7F) << shift
            start, shift = start + 1, shift + 7
            if shift > 63:
                raise ValueError("a number of its index has no end")
        start += 1
        yield value | byte << shift, start
