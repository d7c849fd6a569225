"""Dropout that its seed decides: the same again after a restart."""

import tensorflow as tf


def dropped(
    x: tf.Tensor, probability: float, seed: tf.Tensor | None, place: int
) -> tf.Tensor:
    """Returns `x` with activations dropped, the others scaled up accordingly.

    Args:
        x: Activations.
        probability: Of dropping one.
        seed: [2] int32, of this pass over the model; None switches dropout off.
        place: Where in the model; every place has draws of its own.
    """
    if seed is None or not probability:
        return x
    return tf.nn.experimental.stateless_dropout(x, probability, seed=seed + [place, 0])
