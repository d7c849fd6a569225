"""Update rules: Adam, AdamW, SGD with momentum, Adagrad; clipping.

A rule is its slots and one pure function from (weight, gradient, slots) to
their new values. The training step applies it to variables and slots that it
owns, inside the strategy.
"""

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from lmcodistill.settings import training as settings

Tensors = tuple[tf.Tensor, ...]


@dataclasses.dataclass(frozen=True)
class Rule:
    """An update rule.

    Attributes:
        slots: Initial value of each slot, by name; slots have the weight's shape.
        update: From weight, gradient, slots, learning rate (float scalar) and
            the update's number (float scalar, 1 for the first) to the new
            weight and the new slots.
    """

    slots: dict[str, float]
    update: Callable[
        [tf.Tensor, tf.Tensor, Tensors, tf.Tensor, tf.Tensor],
        tuple[tf.Tensor, Tensors],
    ]


def rule(config: settings.Optimizer) -> Rule:
    """Returns the rule that `config` describes."""

    def sgd(weight, gradient, slots, rate, number):
        del number
        if not slots:
            return weight - rate * gradient, ()
        velocity = config.momentum * slots[0] + gradient
        return weight - rate * velocity, (velocity,)

    def adagrad(weight, gradient, slots, rate, number):
        """Duchi et al. 2011."""
        del number
        accumulator = slots[0] + tf.square(gradient)
        step = rate * gradient / (tf.sqrt(accumulator) + config.epsilon)
        return weight - step, (accumulator,)

    def adam(weight, gradient, slots, rate, number):
        """Algorithm 1 of Kingma and Ba 2015 (arXiv:1412.6980).

        AdamW adds the decoupled decay of Loshchilov and Hutter
        (arXiv:1711.05101), `rate * weight_decay * weight`.
        """
        first = config.beta1 * slots[0] + (1.0 - config.beta1) * gradient
        second = config.beta2 * slots[1] + (1.0 - config.beta2) * tf.square(gradient)
        # As wide as the weight: a float64 model's rate is float64 as well.
        number = tf.cast(number, weight.dtype)
        first_correction = 1.0 - tf.pow(tf.constant(config.beta1, number.dtype), number)
        second_correction = 1.0 - tf.pow(
            tf.constant(config.beta2, number.dtype), number
        )
        scale = tf.cast(rate, weight.dtype) / first_correction
        root = tf.sqrt(second / second_correction)
        step = scale * first / (root + config.epsilon)
        if config.weight_decay:
            step += rate * config.weight_decay * weight
        return weight - step, (first, second)

    if config.name == "sgd":
        return Rule({"momentum": 0.0} if config.momentum else {}, sgd)
    if config.name == "adagrad":
        return Rule({"accumulator": config.initial_accumulator}, adagrad)
    return Rule({"first_moment": 0.0, "second_moment": 0.0}, adam)


def clip_scale(
    gradients: Sequence[tf.Tensor], clip_norm: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the factor that clips to a global norm, and the norm itself.

    Args:
        gradients: All gradients of the model.
        clip_norm: Largest norm allowed; 0.0 never clips.

    Returns:
        Two scalars: the factor, at most 1.0, and the norm before clipping.
    """
    norm = tf.linalg.global_norm(gradients)
    if not clip_norm:
        return tf.ones([], norm.dtype), norm
    return tf.minimum(clip_norm / tf.maximum(norm, 1e-12), 1.0), norm
