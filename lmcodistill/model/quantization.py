"""Weights in fewer bits, for the way from student to student.

Matrices are what weighs; vectors stay as they are. In `int8` a matrix is whole
numbers and one scale per output: per row of the embedding and the projection, per
column, which is one unit's gate, of a layer's kernels. In `bfloat16` it is rounded.
NumPy only; what a reader computes here a SavedModel computes bit for bit alike.

A matrix that is stored so has two tensors, or one, named after it: `NAME:values`
and `NAME:scale`.
"""

from collections.abc import Mapping

import ml_dtypes
import numpy as np

from lmcodistill import errors
from lmcodistill.model import weights as weights_lib
from lmcodistill.settings import model as model_settings

VALUES, SCALE = ":values", ":scale"
# Symmetric: -128 has no counterpart, and is never used.
_MAX = 127


def table(
    config: model_settings.LanguageModel, vocab_size: int, dtype: str
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Returns shape and type of every tensor that stands for a model's weights.

    Args:
        config: The model.
        vocab_size: V.
        dtype: `float32` (the weights as they are), `bfloat16` or `int8`.
    """
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for name, shape in weights_lib.shapes(config, vocab_size).items():
        if dtype == "float32" or len(shape) == 1:
            found[name] = (shape, config.weight_dtype)
            continue
        found[name + VALUES] = (shape, dtype)
        if dtype == "int8":
            scales = list(shape)
            scales[_inner_axis(name)] = 1
            found[name + SCALE] = (tuple(scales), config.weight_dtype)
    return found


def _inner_axis(name: str) -> int:
    """Returns which axis of a matrix is summed over: it shares one scale."""
    return 0 if name.startswith("layer_") else 1


def narrowed(weights: Mapping[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Returns the tensors of `table` that stand for weights.

    A whole number is off by at most half a scale.
    """
    found = {}
    for name, weight in weights.items():
        if dtype == "float32" or weight.ndim == 1:
            found[name] = weight
        elif dtype == "bfloat16":
            found[name + VALUES] = weight.astype(ml_dtypes.bfloat16)
        else:
            largest = np.abs(weight).max(_inner_axis(name), keepdims=True)
            # A row of zeros has a scale as well, and no product is subnormal.
            scale = np.maximum(largest / _MAX, np.finfo(np.float32).tiny)
            scale = scale.astype(weight.dtype)
            found[name + VALUES] = np.rint(weight / scale).astype(np.int8)
            found[name + SCALE] = scale
    return found


def widened(
    stored: Mapping[str, np.ndarray], weight_dtype: str
) -> dict[str, np.ndarray]:
    """Returns the weights that tensors of `table` stand for."""
    found = {}
    for name, value in stored.items():
        weight, _, part = name.partition(":")
        if not part:
            found[weight] = value
        elif name.endswith(VALUES):
            scale = stored.get(weight + SCALE, np.ones((), weight_dtype))
            found[weight] = np.multiply(value, scale, dtype=weight_dtype)
    return found


def refuse_forged(stored: Mapping[str, np.ndarray], source: object) -> None:
    """Refuses whole numbers and scales that `narrowed` never makes.

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
                "Whoever wrote it is not to be trusted.",
                reason="quantization",
            )
