"""How far two gradients of the same weights point the same way.

A distillation term whose gradient points where phi's does adds little but length;
one at a right angle teaches something else; beyond that the two are in conflict.
Pure functions of tensors.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf


class GradientAngle(NamedTuple):
    """Two gradients compared; scalars.

    Attributes:
        cosine: Of the angle between phi's and psi's; nan where one of them is zero.
        label_norm: Length of phi's, which is meaned over the tokens.
        soft_norm: The same of psi's, whatever its weight.
    """

    cosine: tf.Tensor
    label_norm: tf.Tensor
    soft_norm: tf.Tensor


def between(
    of_labels: Sequence[tf.Tensor], of_soft: Sequence[tf.Tensor]
) -> GradientAngle:
    """Returns the angle between the gradients of phi and of psi.

    Args:
        of_labels: Phi's gradient, one tensor a weight.
        of_soft: Psi's, in the same order.
    """
    product = tf.add_n(
        [tf.reduce_sum(a * b) for a, b in zip(of_labels, of_soft, strict=True)]
    )
    first, second = tf.linalg.global_norm(of_labels), tf.linalg.global_norm(of_soft)
    return GradientAngle(product / (first * second), first, second)
