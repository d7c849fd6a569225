"""One layer: attention and a feed-forward part, each added to the residual stream.

Normalised before each part (Xiong et al. 2020, arXiv:2002.04745), without biases:

    x = x + drop(attention(norm(x)))
    x = x + drop(feed_forward(norm(x)))
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from lmcodistill.model import mixed_precision
from lmcodistill.model.families.transformer import (
    attention,
    feed_forward,
    memory,
    norm,
)


class LayerWeights(NamedTuple):
    """The tensors of one layer; their names, but for the slash, are the fields.

    Attributes:
        attention_gain: [D], of the normalisation before.
        attention_input: [D, (A + 2G) W], to queries, keys and values.
        attention_output: [A W, D].
        feed_forward_gain: [D], of the normalisation before.
        feed_forward_input: [D, 2F]; see `feed_forward.swiglu`.
        feed_forward_output: [F, D].
    """

    attention_gain: tf.Tensor
    attention_input: tf.Tensor
    attention_output: tf.Tensor
    feed_forward_gain: tf.Tensor
    feed_forward_input: tf.Tensor
    feed_forward_output: tf.Tensor


def read(
    x: tf.Tensor,
    cache: memory.Cache,
    weights: LayerWeights,
    reading: attention.Reading,
    *,
    compute_dtype: tf.DType,
    drop: Callable[[tf.Tensor, int], tf.Tensor],
) -> tuple[tf.Tensor, memory.Cache]:
    """Runs the layer over a window.

    Args:
        x: [B, T, D] float, the residual stream.
        cache: The layer's memory.
        weights: The layer's tensors.
        reading: Of this window.
        compute_dtype: Type of the operands of the matmuls.
        drop: Dropout, from activations and the number of the part, 0 or 1.

    Returns:
        [B, T, D] in the type of `x`, and the memory to carry on.
    """
    shape, width = tf.shape(x), cache.keys.shape[3]
    # Two axes: with three TensorFlow makes a weight's gradient row by row of the batch.
    x = tf.reshape(x, [-1, x.shape[2]])
    qkv = mixed_precision.matmul(
        norm.rms_norm(x, weights.attention_gain),
        weights.attention_input,
        compute_dtype,
    )
    heads = weights.attention_input.shape[1] // width
    qkv = tf.reshape(qkv, [shape[0], shape[1], heads, width])
    found, cache = attention.attend(qkv, cache, reading, compute_dtype)
    found = tf.reshape(found, [-1, weights.attention_output.shape[0]])
    x += drop(mixed_precision.matmul(found, weights.attention_output, compute_dtype), 0)
    x += drop(
        feed_forward.swiglu(
            norm.rms_norm(x, weights.feed_forward_gain),
            weights.feed_forward_input,
            weights.feed_forward_output,
            compute_dtype,
        ),
        1,
    )
    return tf.reshape(x, shape), cache
