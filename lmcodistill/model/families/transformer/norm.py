"""Root-mean-square normalisation.

Zhang and Sennrich 2019, arXiv:1910.07467, equation 4:

    y = gain * x / sqrt(mean(x^2) + epsilon)
"""

import tensorflow as tf

EPSILON = 1e-5


def rms_norm(x: tf.Tensor, gain: tf.Tensor) -> tf.Tensor:
    """Normalises the last axis.

    Args:
        x: [..., D] float.
        gain: [D], of the same type.

    Returns:
        [..., D], of the same type.
    """
    mean_square = tf.reduce_mean(tf.square(x), -1, keepdims=True)
    return x * tf.math.rsqrt(mean_square + EPSILON) * gain
