"""From a model's hidden states to logits, for some positions at a time.

`[N, V]` is by far the largest tensor of a language model, so code that needs logits
walks over chunks of positions, one after the other.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

# Logits of one chunk, in bytes. Larger saves passes over the projection's
# gradient, smaller saves memory.
CHUNK_BYTES = 48 << 20


class OutputHead(NamedTuple):
    """A model's last step: logits are `hidden @ kernel^T + bias`.

    Attributes:
        hidden: [N, H], hidden states.
        kernel: [V, H].
        bias: [V].
        compute_dtype: Type of the operands of the product.
    """

    hidden: tf.Tensor
    kernel: tf.Tensor
    bias: tf.Tensor
    compute_dtype: tf.DType


def logits_at(
    head: OutputHead, hidden: tf.Tensor, kernel: tf.Tensor, dtype: tf.DType
) -> tf.Tensor:
    """Returns [n, V] logits of some positions, as `dtype`.

    Args:
        head: Its bias and type of product are used.
        hidden: [n, H].
        kernel: [V, H], in the type of the product.
        dtype: Of the result.
    """
    product = tf.matmul(tf.cast(hidden, head.compute_dtype), kernel, transpose_b=True)
    return tf.cast(product, dtype) + tf.cast(head.bias, dtype)


def logits_of(head: OutputHead) -> tf.Tensor:
    """Returns [N, V] logits, held whole: for one token, or for serving."""
    kernel = tf.cast(head.kernel, head.compute_dtype)
    return logits_at(head, head.hidden, kernel, head.hidden.dtype)


def mean_probs(logits: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the mean of the models' probabilities.

    Args:
        logits: Per model, [N, V].

    Returns:
        [N, V], rows on the simplex.
    """
    probs = [tf.nn.softmax(z) for z in logits]
    return probs[0] if len(probs) == 1 else tf.add_n(probs) / len(probs)


def chunking(num_positions: int, vocab_size: int, itemsize: int) -> tuple[int, int]:
    """Returns (number of chunks, positions in each); the last may be padded."""
    at_once = max(1, CHUNK_BYTES // (vocab_size * itemsize))
    num_chunks = -(-num_positions // at_once)
    return num_chunks, -(-num_positions // num_chunks)


def padded(x: tf.Tensor, length: int) -> tf.Tensor:
    """Returns `x` with zeros behind it, `length` rows in all."""
    missing = length - x.shape[0]
    return x if not missing else tf.pad(x, [[0, missing]] + [[0, 0]] * (x.ndim - 1))


def rows_at(x: tf.Tensor, start: tf.Tensor | int, rows: int) -> tf.Tensor:
    """Returns rows `[start, start + rows)` with a static shape."""
    return tf.slice(x, [start] + [0] * (x.ndim - 1), [rows, *x.shape[1:]])
