"""Update rules: Adam, AdamW, SGD with momentum, Adagrad; clipping; means.

A rule is its slots and what changes a weight and them in place, in one pass over
memory: TensorFlow's own kernels. Written as tensors, Adam alone made ten passes
over all weights. The training step applies a rule to variables and slots that it
owns, inside the strategy.
"""

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from lmcodistill.settings import training as settings

Slots = Sequence[tf.Variable]
# Changes a weight and its slots in place, given its gradient.
Change = Callable[[tf.Variable, tf.Tensor, Slots], None]


@dataclasses.dataclass(frozen=True)
class Rule:
    """An update rule.

    Attributes:
        slots: Initial value of each slot, by name; slots have the weight's shape.
        at: From the learning rate (scalar in the weights' type) and the update's
            number (float scalar, 1 for the first) to what the update does to each
            weight. What is the same for all weights is computed once.
    """

    slots: dict[str, float]
    at: Callable[[tf.Tensor, tf.Tensor], Change]


def rule(config: settings.Optimizer) -> Rule:
    """Returns the rule that `config` describes.

    Raises:
        KeyError: there is no rule of its name.
    """
    return RULES[config.name](config)


def _sgd(config: settings.Optimizer) -> Rule:
    """As Sutskever et al. 2013, with the rate outside the velocity."""

    def at(rate: tf.Tensor, _: tf.Tensor) -> Change:
        momentum = tf.constant(config.momentum, rate.dtype)

        def change(weight: tf.Variable, gradient: tf.Tensor, slots: Slots) -> None:
            if slots:
                tf.raw_ops.ResourceApplyMomentum(
                    var=weight.handle,
                    accum=slots[0].handle,
                    lr=rate,
                    grad=gradient,
                    momentum=momentum,
                )
            else:
                tf.raw_ops.ResourceApplyGradientDescent(
                    var=weight.handle, alpha=rate, delta=gradient
                )

        return change

    return Rule({"momentum": 0.0} if config.momentum else {}, at)


def _adagrad(config: settings.Optimizer) -> Rule:
    """Duchi et al. 2011."""

    def at(rate: tf.Tensor, _: tf.Tensor) -> Change:
        epsilon = tf.constant(config.epsilon, rate.dtype)

        def change(weight: tf.Variable, gradient: tf.Tensor, slots: Slots) -> None:
            tf.raw_ops.ResourceApplyAdagradV2(
                var=weight.handle,
                accum=slots[0].handle,
                lr=rate,
                epsilon=epsilon,
                grad=gradient,
            )

        return change

    return Rule({"accumulator": config.initial_accumulator}, at)


def _adam(config: settings.Optimizer) -> Rule:
    """Algorithm 1 of Kingma and Ba 2015 (arXiv:1412.6980).

    The kernel has their "epsilon hat", added before the second moment is corrected:
    hence the root. AdamW adds the decoupled decay of Loshchilov and Hutter
    (arXiv:1711.05101), `rate * weight_decay * weight`.
    """

    def at(rate: tf.Tensor, number: tf.Tensor) -> Change:
        beta1, beta2 = (
            tf.constant(beta, rate.dtype) for beta in (config.beta1, config.beta2)
        )
        number = tf.cast(number, rate.dtype)
        power1, power2 = tf.pow(beta1, number), tf.pow(beta2, number)
        epsilon = config.epsilon * tf.sqrt(1.0 - power2)
        decay = rate * tf.constant(config.weight_decay, rate.dtype)

        def change(weight: tf.Variable, gradient: tf.Tensor, slots: Slots) -> None:
            if config.weight_decay:
                weight.assign_sub(decay * weight, read_value=False)
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=slots[0].handle,
                v=slots[1].handle,
                beta1_power=power1,
                beta2_power=power2,
                lr=rate,
                beta1=beta1,
                beta2=beta2,
                epsilon=epsilon,
                grad=gradient,
            )

        return change

    return Rule({"first_moment": 0.0, "second_moment": 0.0}, at)


# By `Optimizer.name`.
RULES: dict[str, Callable[[settings.Optimizer], Rule]] = {
    "adam": _adam,
    "adamw": _adam,
    "sgd": _sgd,
    "adagrad": _adagrad,
}


def move_mean(
    mean: tf.Variable, weight: tf.Variable, decay: float, number: tf.Tensor
) -> None:
    """Moves a weight's mean over the updates towards its new value, in place.

    The mean of Polyak and Juditsky 1992, of the last updates alone: exponential, as
    Mean Teacher (Tarvainen and Valpola 2017, arXiv:1703.01780) and TensorFlow's
    `ExponentialMovingAverage` have it. Update n decays what was by
    min(decay, n / (n + 9)), so that the first weights are soon forgotten.

    Args:
        mean: Of the weight, in its shape and type.
        weight: After the update.
        decay: In the long run.
        number: The update's, a float scalar, 1 for the first.
    """
    number = tf.cast(number, mean.dtype)
    decay = tf.minimum(tf.constant(decay, mean.dtype), number / (number + 9.0))
    mean.assign_add((1.0 - decay) * (weight - mean), read_value=False)


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
