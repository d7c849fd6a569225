"""What is carried from window to window: keys and values of the last M tokens.

The recurrence of Transformer-XL (Dai et al. 2019, arXiv:1901.02860, section 3.2): a
window attends to keys and values of the tokens before it, and no gradient goes there.
Differs from the paper: a token attends to itself and to the M tokens before it, be
they in its window or in the memory, where the paper's first token of a window sees M
tokens and the last one T - 1 more. So what is predicted does not depend on where the
text was cut, and a text read token by token gives what it gives when read at once.

Keys are kept as they are before they are turned by their position: positions are
counted from the beginning of the memory, and stay small however long a stream is.
"""

from typing import Any, NamedTuple

import tensorflow as tf

# Added to the scores of what is not attended to: exp of it is zero in any type.
_NEVER = -1e9


class Cache(NamedTuple):
    """The memory of one layer, from its oldest token to its newest.

    Attributes:
        keys: [B, G, M, W], not turned by their positions.
        values: [B, G, M, W].
    """

    keys: Any
    values: Any

    def extended(self, keys: tf.Tensor, values: tf.Tensor) -> "Cache":
        """Returns the memory and a window's [B, G, T, W] behind it."""
        return Cache(
            tf.concat([self.keys, keys], 2), tf.concat([self.values, values], 2)
        )

    def last(self, memory: int) -> "Cache":
        """Returns the last M tokens, to carry on."""
        first = tf.shape(self.keys)[2] - memory
        batch, heads, _, width = self.keys.shape
        shape = [batch, heads, memory, width]
        return Cache(*(tf.ensure_shape(x[:, :, first:], shape) for x in self))


def empty(rows: int, heads: int, memory: int, head_width: int, dtype: Any) -> Cache:
    """Returns a layer's memory before the first token."""
    zeros = tf.zeros([rows, heads, memory, head_width], dtype)
    return Cache(zeros, zeros)


def read_documents(
    is_remembered: tf.Tensor, is_start: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns which tokens of memory and window are of one document.

    Args:
        is_remembered: [B, M] float, 1.0 where an entry of the memory is of the
            document that the window begins in, 0.0 where it is of an earlier one or
            of none.
        is_start: [B, T] bool, True where a document begins.

    Returns:
        [B, S] int32, a number that tokens of one document share; and [B, M], the
        same as `is_remembered` after the window.
    """
    in_window = tf.cumsum(tf.cast(is_start, tf.int32), axis=1)
    before = tf.cast(is_remembered, tf.int32) - 1  # 0: as before the first start.
    documents = tf.concat([before, in_window], 1)
    last = tf.reduce_sum(tf.cast(is_start, tf.int32), 1, keepdims=True)
    kept = documents[:, tf.shape(is_start)[1] :] == last
    kept = tf.ensure_shape(kept, [*is_start.shape[:1], is_remembered.shape[1]])
    return documents, tf.cast(kept, is_remembered.dtype)


def mask(documents: tf.Tensor, memory: int, dtype: tf.DType) -> tf.Tensor:
    """Returns what is added to scores so that only what may be seen counts.

    A token sees itself, and of its document the M tokens before it; without a memory
    all before it in its window.

    Args:
        documents: [B, S] int32, as `read_documents` returns it.
        memory: M.
        dtype: Of the result.

    Returns:
        [B, T, S]: 0.0, or far below any score.
    """
    positions = tf.range(tf.shape(documents)[1])
    distance = positions[memory:, None] - positions
    is_near = distance >= 0
    if memory:
        is_near &= distance <= memory
    is_same = documents[:, memory:, None] == documents[:, None]
    return tf.where(is_near & is_same, tf.cast(0.0, dtype), tf.cast(_NEVER, dtype))
