"""Matmuls in one type, everything around them in another."""

import tensorflow as tf


def matmul(
    a: tf.Tensor, b: tf.Tensor, compute_dtype: tf.DType, **transpose: bool
) -> tf.Tensor:
    """Multiplies in `compute_dtype`, returns the type of `a`.

    Args:
        a: [..., rows, inner].
        b: [..., inner, columns], leading axes as those of `a`.
        compute_dtype: Type of the operands.
        **transpose: As `tf.matmul` takes it.
    """
    product = tf.matmul(
        tf.cast(a, compute_dtype), tf.cast(b, compute_dtype), **transpose
    )
    return tf.cast(product, a.dtype)
