"""Tensors by name in TensorFlow's checkpoint format (a tensor bundle).

Written and read flat, without an object graph: what is in the file is what was
asked for, and a missing, extra or misshapen tensor is an error, never a silent
partial restore.
"""

import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from lmcodistill import errors


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


def read(prefix: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads every numeric tensor of a bundle.

    Raises:
        SnapshotError: the bundle is damaged.
    """
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        dtypes = reader.get_variable_to_dtype_map()
        return {
            name: reader.get_tensor(name)
            for name in sorted(dtypes)
            if dtypes[name] != tf.string
        }
    # A truncated bundle surfaces as IndexError, a flipped bit as DataLossError.
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:
        raise errors.SnapshotError(
            f"The tensors at {prefix} cannot be read: {error}"
        ) from error


def check_table(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[int, ...]],
    source: object,
) -> None:
    """Refuses tensors that are not exactly those expected, or are not finite.

    Raises:
        SnapshotError: names, shapes or kinds differ, or a value is NaN or infinite.
    """
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    if missing or extra:
        raise errors.SnapshotError(
            f"{source} lacks tensors {missing[:4]} and has unexpected ones "
            f"{extra[:4]}. It belongs to a model of another configuration."
        )
    for name, shape in expected.items():
        if found[name].shape != tuple(shape):
            raise errors.SnapshotError(
                f"{source}: tensor {name} has shape {found[name].shape}; "
                f"{tuple(shape)} was expected."
            )
        if not tf.as_dtype(found[name].dtype).is_floating:
            raise errors.SnapshotError(
                f"{source}: tensor {name} has type {found[name].dtype}; a floating "
                "type was expected."
            )
        if not np.isfinite(found[name]).all():
            raise errors.SnapshotError(
                f"{source}: tensor {name} holds values that are not finite. The run "
                "that wrote it diverged."
            )
