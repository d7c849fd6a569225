"""Attention of a window to itself and to its memory, by several heads.

Per head, with queries q [T, W], keys k and values v [S, W]:

    attended = softmax(rotate(q) rotate(k)^T / sqrt(W) + mask) v

Vaswani et al. 2017, arXiv:1706.03762, section 3.2. Heads may share keys and values in
groups (Ainslie et al. 2023, arXiv:2305.13245): head a has those of `a // (A / G)`. The
queries of a group are then one matrix of `A / G * T` rows, and each group costs one
matmul for the scores and one for the mean of the values.
"""

from typing import NamedTuple

import tensorflow as tf

from lmcodistill.model import mixed_precision
from lmcodistill.model.families.transformer import memory as memory_lib
from lmcodistill.model.families.transformer import rotary


class Reading(NamedTuple):
    """What all layers know of a window.

    Attributes:
        mask: [B, T, S], added to scores; see `memory.mask`.
        rotation: Of the S positions of memory and window.
        memory: M.
    """

    mask: tf.Tensor
    rotation: rotary.Rotation
    memory: int


def attend(
    qkv: tf.Tensor,
    cache: memory_lib.Cache,
    reading: Reading,
    compute_dtype: tf.DType,
) -> tuple[tf.Tensor, memory_lib.Cache]:
    """Returns what every head found, and the memory to carry on.

    Args:
        qkv: [B, T, A + 2G, W]: queries, keys and values, head by head.
        cache: The layer's memory.
        reading: Of this window.
        compute_dtype: Type of the operands of the matmuls; the softmax is of the
            type of `qkv`.

    Returns:
        [B, T, A, W], and the cache after the window.
    """
    batch, length = tf.shape(qkv)[0], tf.shape(qkv)[1]
    groups, width = cache.keys.shape[1], qkv.shape[3]
    heads = qkv.shape[2] - 2 * groups
    queries, keys, values = tf.split(
        tf.transpose(qkv, [0, 2, 1, 3]), [heads, groups, groups], axis=1
    )
    cache = cache.extended(keys, values)
    in_window = rotary.Rotation(*(x[reading.memory :] for x in reading.rotation))
    queries = rotary.rotate(queries * width**-0.5, in_window)
    queries = tf.reshape(queries, [batch, groups, heads // groups * length, width])
    keys = rotary.rotate(cache.keys, reading.rotation)
    scores = mixed_precision.matmul(queries, keys, compute_dtype, transpose_b=True)
    shape = tf.shape(scores)
    by_head = [batch, heads, length, shape[3]]
    scores = tf.reshape(scores, by_head) + reading.mask[:, None]
    probabilities = tf.reshape(tf.nn.softmax(scores), shape)
    found = mixed_precision.matmul(probabilities, cache.values, compute_dtype)
    found = tf.reshape(found, [batch, heads, length, width])
    return tf.transpose(found, [0, 2, 1, 3]), cache.last(reading.memory)
