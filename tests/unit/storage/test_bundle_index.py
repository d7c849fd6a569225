"""The index of a bundle, as strangers may forge it: refused, at once, alive."""

import random
import struct
import time

import numpy as np
import pytest
from tensorflow.core.protobuf import tensor_bundle_pb2

from lmcodistill.storage import bundle_index, tensors

HEADER = tensor_bundle_pb2.BundleHeaderProto(num_shards=1).SerializeToString()


def number(value):
    """Returns a number of variable length."""
    content = b""
    while value >= 0x80:
        content += bytes([value & 0x7F | 0x80])
        value >>= 7
    return content + bytes([value])


def block(rows, shared=0):
    content = b"".join(
        number(shared if key else 0)
        + number(len(key))
        + number(len(value))
        + key
        + value
        for key, value in rows
    )
    return content + struct.pack("<II", 0, 1)


def table(*rows, shared=0, times=1):
    """Returns an index file of one block, named `times` times."""
    data = block(rows, shared)
    content = data + b"\0" + b"sums"
    handles = block(
        [(b"z%06d" % i, number(0) + number(len(data))) for i in range(times)]
    )
    footer = number(0) + number(0) + number(len(content)) + number(len(handles))
    return (
        content
        + handles
        + b"\0sums"
        + footer.ljust(40, b"\0")
        + (0xDB4775248B80FB57).to_bytes(8, "little")
    )


def entry(**changes):
    """Returns the entry of a [2, 3] float32 tensor, with changes."""
    proto = tensor_bundle_pb2.BundleEntryProto(dtype=1, size=24)
    for size in changes.pop("sizes", (2, 3)):
        proto.shape.dim.add(size=size)
    for name, value in changes.items():
        setattr(proto, name, value)
    return proto.SerializeToString()


def with_slices():
    proto = tensor_bundle_pb2.BundleEntryProto.FromString(entry())
    proto.slices.add()
    return proto.SerializeToString()


def test_entry_is_what_was_written():
    found = bundle_index.parse(table((b"", HEADER), (b"a", entry())))

    assert found == {"a": bundle_index.Entry("float32", (2, 3), 24)}


# At the first three TensorFlow 2.21 ends the process.
@pytest.mark.parametrize(
    "value",
    [
        b"\xff\xff\xff\xff",
        entry(sizes=(-5, 3)),
        entry(sizes=(2**62, 2**62)),
        entry(dtype=77),
        entry(dtype=0),
        entry(size=-24),
        entry(offset=-1),
        entry(offset=8),
        entry(shard_id=1),
        entry(sizes=(1,) * 300),
        with_slices(),
    ],
    ids=[
        "garbage",
        "negative",
        "huge",
        "unknown type",
        "no type",
        "negative bytes",
        "before the file",
        "a gap before it",
        "another shard",
        "too many dimensions",
        "slices",
    ],
)
def test_forged_entry_is_refused(value):
    with pytest.raises(ValueError, match="its index|its tensors"):
        bundle_index.parse(table((b"", HEADER), (b"a", value)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 48,
        table((b"", HEADER))[1:],
        table((b"", b"")),
        table((b"a", entry())),
        table((b"", HEADER), (b"b", entry()), (b"a", entry(offset=24))),
        table((b"", HEADER), (b"a", entry()), (b"a", entry(offset=24))),
        table((b"", HEADER), (b"\xff\xfe", entry())),
        table((b"", HEADER), (b"a" * 2000, entry())),
        table((b"", HEADER), (b"a", entry()), shared=9),
        b"\0" * (9 << 20) + table((b"", HEADER)),
    ],
    ids=[
        "empty",
        "no index",
        "cut in front",
        "many shards",
        "no header",
        "out of order",
        "twice",
        "name is no text",
        "long name",
        "name from nowhere",
        "too large",
    ],
)
def test_forged_table_is_refused(content):
    with pytest.raises(ValueError, match="its index|its tensors"):
        bundle_index.parse(content)


def test_block_that_is_named_again_and_again_is_read_once():
    began = time.monotonic()

    with pytest.raises(ValueError, match="blocks of its index overlap"):
        bundle_index.parse(table((b"", HEADER), times=100_000))

    assert time.monotonic() - began < 5.0


def test_changes_at_random_raise_nothing_else(tmp_path):
    values = {f"weights/{i}": np.zeros([i, 3], np.float32) for i in range(40)}
    tensors.write(tmp_path / "bundle", values)
    whole = (tmp_path / "bundle.index").read_bytes()
    true = bundle_index.parse(whole)
    rng, outcomes = random.Random(3), {"refused": 0, "same": 0, "other": 0}

    for _ in range(3_000):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        try:
            found = bundle_index.parse(bytes(content[: rng.choice([None, None, -7])]))
        except ValueError:
            outcomes["refused"] += 1
        else:
            outcomes["same" if found == true else "other"] += 1

    # Checksums and restart points are not looked at; shapes may be anything that
    # fits the size, and are compared with a manifest's.
    assert outcomes["refused"] > 1_500
    assert sum(outcomes.values()) == 3_000
