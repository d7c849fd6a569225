"""From a model's features to logits, for some positions at a time.

`[N, V]` is by far the largest tensor of a language model, so whoever needs logits
walks over chunks of positions, one after the other.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

# Logits of one chunk, in bytes. Larger saves passes over the projection's
# gradient, smaller saves memory.
CHUNK_BYTES = 48 << 20


class Readout(NamedTuple):
    """A model's last step: logits are `features @ kernel^T + bias`.

    Attributes:
        features: [N, H].
        kernel: [V, H].
        bias: [V].
        compute_dtype: Type of the operands of the product.
    """

    features: tf.Tensor
    kernel: tf.Tensor
    bias: tf.Tensor
    compute_dtype: tf.DType


def logits_at(readout: Readout, features, kernel, dtype):
    """Returns [n, V] logits of some positions, as `dtype`.

    Args:
        readout: Its bias and type of product are used.
        features: [n, H].
        kernel: [V, H], in the type of the product.
        dtype: Of the result.
    """
    product = tf.matmul(
        tf.cast(features, readout.compute_dtype), kernel, transpose_b=True
    )
    return tf.cast(product, dtype) + tf.cast(readout.bias, dtype)


def logits_of(readout: Readout) -> tf.Tensor:
    """Returns [N, V] logits, held whole: for one token, or for serving."""
    kernel = tf.cast(readout.kernel, readout.compute_dtype)
    return logits_at(readout, readout.features, kernel, readout.features.dtype)


def mean_probs(logits: Sequence[tf.Tensor], temperature: float = 1.0) -> tf.Tensor:
    """Returns the mean of the models' probabilities.

    Args:
        logits: Per model, [N, V].
        temperature: Divides the logits.

    Returns:
        [N, V], rows on the simplex.
    """
    probs = [
        tf.nn.softmax(z / temperature if temperature != 1.0 else z) for z in logits
    ]
    return probs[0] if len(probs) == 1 else tf.add_n(probs) / len(probs)


def chunking(num_positions: int, vocab_size: int, itemsize: int) -> tuple[int, int]:
    """Returns (number of chunks, positions in each); the last may be padded."""
    at_once = max(1, CHUNK_BYTES // (vocab_size * itemsize))
    num_chunks = -(-num_positions // at_once)
    return num_chunks, -(-num_positions // num_chunks)


def padded(x, length):
    """Returns `x` with zeros behind it, `length` rows in all."""
    missing = length - x.shape[0]
    return x if not missing else tf.pad(x, [[0, missing]] + [[0, 0]] * (x.ndim - 1))


def rows_at(x, start, rows):
    """Returns rows `[start, start + rows)` with a static shape."""
    return tf.slice(x, [start] + [0] * (x.ndim - 1), [rows, *x.shape[1:]])
