"""Weights in fewer bits, for the way from student to student.

Only weights with a `summed_axis` are quantized: matrices, which weigh most. In
`int8` a matrix is whole numbers and one scale per output, the scale shared by the
numbers that are summed. In `bfloat16` it is rounded. NumPy only; what a reader
computes here a SavedModel computes bit for bit alike.

A matrix that is stored so has two tensors, or one, named after it: `NAME:values`
and `NAME:scale`.
"""

from collections.abc import Mapping

import ml_dtypes
import numpy as np

from lmcodistill import errors
from lmcodistill.model import weights as weights_lib
from lmcodistill.settings import model as settings

VALUES, SCALE = ":values", ":scale"
# Symmetric: -128 has no counterpart, and is never used.
_MAX = 127


def table(
    config: settings.ModelConfig, vocab_size: int, dtype: str
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Returns shape and type of every tensor that stands for a model's weights.

    Args:
        config: The model.
        vocab_size: V.
        dtype: `float32` (the weights as they are), `bfloat16` or `int8`.
    """
    rows: dict[str, tuple[tuple[int, ...], str]] = {}
    for name, spec in weights_lib.specs(config, vocab_size).items():
        if dtype == "float32" or spec.summed_axis is None:
            rows[name] = (spec.shape, config.weight_dtype)
            continue
        rows[name + VALUES] = (spec.shape, dtype)
        if dtype == "int8":
            scales = list(spec.shape)
            scales[spec.summed_axis] = 1
            rows[name + SCALE] = (tuple(scales), config.weight_dtype)
    return rows


def quantized(
    config: settings.ModelConfig,
    vocab_size: int,
    weights: Mapping[str, np.ndarray],
    dtype: str,
) -> dict[str, np.ndarray]:
    """Returns the tensors of `table` that stand for weights.

    A whole number is off by at most half a scale.
    """
    specs = weights_lib.specs(config, vocab_size)
    stored = {}
    for name, weight in weights.items():
        axis = specs[name].summed_axis
        if dtype == "float32" or axis is None:
            stored[name] = weight
        elif dtype == "bfloat16":
            stored[name + VALUES] = weight.astype(ml_dtypes.bfloat16)
        else:
            largest = np.abs(weight).max(axis, keepdims=True)
            # A row of zeros has a scale as well, and no product is subnormal.
            scale = np.maximum(largest / _MAX, np.finfo(np.float32).tiny)
            scale = scale.astype(weight.dtype)
            stored[name + VALUES] = np.rint(weight / scale).astype(np.int8)
            stored[name + SCALE] = scale
    return stored


def dequantized(
    stored: Mapping[str, np.ndarray], weight_dtype: str
) -> dict[str, np.ndarray]:
    """Returns the weights that tensors of `table` stand for."""
    weights = {}
    for name, value in stored.items():
        weight, _, part = name.partition(":")
        if not part:
            weights[weight] = value
        elif name.endswith(VALUES):
            scale = stored.get(weight + SCALE, np.ones((), weight_dtype))
            weights[weight] = np.multiply(value, scale, dtype=weight_dtype)
    return weights


def refuse_tampered(stored: Mapping[str, np.ndarray], source: object) -> None:
    """Refuses whole numbers and scales that `quantized` never makes.

    Args:
        stored: Tensors whose shapes and types are those of `table`.
        source: Whose they are.

    Raises:
        SnapshotError: a scale is not positive, or so large that a weight could be
            infinite; or a whole number is -128.
    """
    for name, value in stored.items():
        if name.endswith(SCALE):
            is_sound = (value > 0.0) & (value <= np.finfo(value.dtype).max / _MAX)
            expected = "positive, and 127 times as much finite"
        elif value.dtype == np.int8:
            is_sound = value >= -_MAX
            expected = f"{-_MAX} to {_MAX}"
        else:
            continue
        if not is_sound.all():
            first = value[~is_sound].flat[0]
            raise errors.SnapshotError(
                f"{source}: tensor {name} holds {first}; {expected} was expected. "
                "It was tampered with or damaged.",
                reason="quantization",
            )
