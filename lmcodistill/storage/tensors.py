"""Tensors by name in TensorFlow's checkpoint format (a tensor bundle).

Written and read flat, without an object graph: what is in the file is what was
asked for, and a missing, extra or misshapen tensor is an error, never a silent
partial restore.

TensorFlow writes them; they are read here, because its own reader ends the whole
process at an index that was tampered with. No checksum is verified: the caller has
compared the files with the digests in their manifest.
"""

import math
import os
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.storage import bundle_index

# The object graph of a SavedModel or a Keras checkpoint; of no use here.
OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_INDEX, _DATA = ".index", ".data-00000-of-00001"
# What a bundle of one shard consists of.
SUFFIXES = (_INDEX, _DATA)


class Spec(NamedTuple):
    """A tensor without its values.

    Attributes:
        shape: Its shape.
        dtype: Name of its type; None stands for any floating one.
    """

    shape: tuple[int, ...]
    dtype: str | None = None

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * tf.as_dtype(self.dtype).size


def write(prefix: pathlib.Path, tensors: Mapping[str, np.ndarray | tf.Tensor]) -> None:
    """Writes `tensors` as the bundle `prefix.index`, `prefix.data-*`."""
    names = sorted(tensors)
    with tf.device("CPU:0"):
        tf.raw_ops.SaveV2(
            prefix=str(prefix),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.convert_to_tensor(tensors[name]) for name in names],
        )


def read(
    prefix: pathlib.Path, expected: Mapping[str, Spec] | None = None
) -> dict[str, np.ndarray]:
    """Reads every numeric tensor of a bundle.

    Args:
        prefix: The local files' common beginning.
        expected: What must be in it, compared before anything is allocated;
            None takes what is there.

    Raises:
        SnapshotError: the bundle is damaged, or its table is not the expected one.
    """
    try:
        with (
            open(f"{prefix}{_INDEX}", "rb") as index,
            open(f"{prefix}{_DATA}", "rb") as data,
        ):
            entries = bundle_index.parse(index.read(bundle_index.MAX_BYTES + 1))
            size = os.fstat(data.fileno()).st_size
            if size != sum(entry.num_bytes for entry in entries.values()):
                raise ValueError(f"its index is not of a file of {size:,} bytes")
            table = {n: Spec(e.shape, e.dtype) for n, e in entries.items()}
            table.pop(OBJECT_GRAPH, None)
            if expected is not None:
                refuse_other_table(table, expected, prefix)
            contents = {n: data.read(e.num_bytes) for n, e in entries.items()}
        return {name: _tensor(contents[name], name, table[name]) for name in table}
    except (OSError, ValueError) as error:
        raise errors.SnapshotError(
            f"The tensors at {prefix} cannot be read: {error}", reason="bundle"
        ) from error


def _tensor(content: bytes, name: str, spec: Spec) -> np.ndarray:
    dtype = tf.as_dtype(spec.dtype)
    is_number = dtype.is_floating or dtype.is_integer or dtype.is_bool
    if not is_number or spec.num_bytes != len(content):
        raise ValueError(f"{name} is of type {dtype.name} and {len(content):,} bytes")
    return np.frombuffer(content, dtype.as_numpy_dtype).reshape(spec.shape)


def refuse_other_table(
    table: Mapping[str, Spec], expected: Mapping[str, Spec], source: object
) -> None:
    """Refuses a table of tensors that is not exactly the expected one.

    Raises:
        SnapshotError: names, shapes or types differ.
    """
    missing, extra = sorted(expected.keys() - table), sorted(table.keys() - expected)
    if missing or extra:
        raise errors.SnapshotError(
            f"{source} lacks tensors {missing[:4]} and has unexpected ones "
            f"{str(extra[:4])[:200]}. It belongs to a model of another configuration.",
            reason="tensor_table",
        )
    for name, (shape, dtype) in expected.items():
        spec, difference = table[name], ""
        if spec.shape != tuple(shape):
            difference = f"shape {spec.shape}; {tuple(shape)}"
        elif dtype is None and not tf.as_dtype(spec.dtype).is_floating:
            difference = f"type {spec.dtype}; a floating type"
        elif dtype is not None and spec.dtype != dtype:
            difference = f"type {spec.dtype}; {dtype}"
        if difference:
            raise errors.SnapshotError(
                f"{source}: tensor {name} has {difference} was expected.",
                reason="tensor_table",
            )


def refuse_non_finite(tensors: Mapping[str, np.ndarray], source: object) -> None:
    """Refuses tensors that hold what no training leaves behind.

    Raises:
        SnapshotError: a value is NaN or infinite.
    """
    for name, value in tensors.items():
        if not np.isfinite(value).all():
            raise errors.SnapshotError(
                f"{source}: tensor {name} holds values that are not finite. The run "
                "that wrote it diverged.",
                reason="not_finite",
            )


def check_table(
    tensors: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[int, ...]],
    source: object,
) -> None:
    """Refuses tensors that are not exactly those expected, or are not finite.

    Raises:
        SnapshotError: names, shapes or kinds differ, or a value is NaN or infinite.
    """
    refuse_other_table(
        {name: Spec(v.shape, v.dtype.name) for name, v in tensors.items()},
        {name: Spec(shape) for name, shape in expected.items()},
        source,
    )
    refuse_non_finite(tensors, source)
