"""Rotary positions: queries and keys turned by angles that grow with the position.

Su et al. 2021, arXiv:2104.09864, equation 34. The score of a query and a key then
depends on how far apart they are and on nothing else. Differs from the paper: number
`i` is turned with number `i + W / 2`, not with its neighbour, so that no step is
strided; the weights before make it the same model, their columns in another order.
"""

from typing import NamedTuple

import tensorflow as tf


class Rotation(NamedTuple):
    """The turns of some positions.

    Attributes:
        cos: [S, W / 2].
        sin: [S, W / 2].
    """

    cos: tf.Tensor
    sin: tf.Tensor


def rotation(
    positions: tf.Tensor, head_width: int, base: float, dtype: tf.DType
) -> Rotation:
    """Returns by how much vectors at some positions are turned.

    Args:
        positions: [S] int32, in tokens; only their differences will count.
        head_width: W, even.
        base: Of the wavelengths, `2 pi base^(2i / W)` tokens for pair i.
        dtype: Of the result.
    """
    half = head_width // 2
    exponents = tf.range(half, dtype=dtype) / half
    frequencies = tf.pow(tf.cast(base, dtype), -exponents)
    angles = tf.cast(positions, dtype)[:, None] * frequencies
    return Rotation(tf.cos(angles), tf.sin(angles))


def rotate(x: tf.Tensor, rotation: Rotation) -> tf.Tensor:
    """Turns [..., S, W] vectors, each pair (a, b) by its angle."""
    a, b = tf.split(x, 2, axis=-1)
    cos, sin = rotation
    return tf.concat([a * cos - b * sin, b * cos + a * sin], -1)
