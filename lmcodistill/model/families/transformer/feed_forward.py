"""The feed-forward part of a layer, gated: SwiGLU.

Shazeer 2020, arXiv:2002.05202, equation 6:

    y = (silu(x W) * (x V)) W2, silu(z) = z sigmoid(z)
"""

import tensorflow as tf

from lmcodistill.model import mixed_precision


def swiglu(
    x: tf.Tensor, into: tf.Tensor, out: tf.Tensor, compute_dtype: tf.DType
) -> tf.Tensor:
    """Transforms every position by itself.

    Args:
        x: [N, D] float.
        into: [D, 2F]: W and V side by side.
        out: [F, D]: W2.
        compute_dtype: Type of the operands of the matmuls.

    Returns:
        [N, D], in the type of `x`.
    """
    gate, linear = tf.split(mixed_precision.matmul(x, into, compute_dtype), 2, axis=-1)
    hidden = gate * tf.sigmoid(gate) * linear
    return mixed_precision.matmul(hidden, out, compute_dtype)
