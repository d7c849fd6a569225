"""Losses per position, each with its gradient with respect to the logits.

Pure functions of one chunk of positions: no variables, no reduction over
positions, no weights. `objective.py` walks over the chunks and reduces once.
Writing value and gradient side by side is what lets the objective never hold
`[B, T, V]`; `tests/unit/model/test_losses.py` holds each pair against automatic
differentiation.

phi is the loss against the label, psi the loss against soft targets: Algorithm
1 of Anil et al. 2018 (arXiv:1804.03235).
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class ValueAndGradient(NamedTuple):
    """A loss and its slope.

    Attributes:
        value: [N], per position; nats unless said otherwise.
        gradient: [N, V], with respect to the student's logits.
    """

    value: tf.Tensor
    gradient: tf.Tensor


class Softmax(NamedTuple):
    """What a model says of each position.

    Attributes:
        logits: [N, V] float, divided by the temperature.
        probs: [N, V], their softmax.
        log_normaliser: [N], the logarithm of the sum of their exponentials.
        temperature: What they were divided by; a scalar tensor of their type where it
            changes during training.
    """

    logits: tf.Tensor
    probs: tf.Tensor
    log_normaliser: tf.Tensor
    temperature: float | tf.Tensor


def is_one(factor: float | tf.Tensor) -> bool:
    """Returns whether a factor changes nothing; a tensor may be anything."""
    return not tf.is_tensor(factor) and factor == 1.0


def predict(logits: tf.Tensor, temperature: float | tf.Tensor = 1.0) -> Softmax:
    """Returns what logits [N, V] say; once for all losses that ask."""
    if not is_one(temperature):
        logits = logits / temperature
    # softmax and the two maxima cost half of the fused cross entropy kernel
    # (78 against 151 CPU ms on [512, 24006], 2026-11-22).
    probs = tf.nn.softmax(logits)
    log_normaliser = tf.reduce_max(logits, -1) - tf.math.log(tf.reduce_max(probs, -1))
    return Softmax(logits, probs, log_normaliser, temperature)


def label_cross_entropy(student: Softmax, targets: tf.Tensor) -> ValueAndGradient:
    """Returns phi: the cross entropy at the label.

    Args:
        student: At temperature 1.0.
        targets: [N] int32.
    """
    value = student.log_normaliser - tf.gather(student.logits, targets, batch_dims=1)
    rows = tf.range(tf.shape(targets)[0])
    # When nothing else reads the probabilities any more, they are changed in place.
    with tf.control_dependencies([value]):
        gradient = tf.tensor_scatter_nd_sub(
            student.probs, tf.stack([rows, targets], -1), tf.ones_like(value)
        )
    return ValueAndGradient(value, gradient)


def cross_entropy(student: Softmax, target_probs: tf.Tensor) -> ValueAndGradient:
    """Returns the cross entropy of the student against soft targets.

    It differs from KL(target || student) by the targets' entropy, which is
    constant in the student's weights: the gradients are equal, the values are
    not, so never compare it with a KL.

    Args:
        student: What the student says.
        target_probs: [N, V] float, rows on the simplex.
    """
    at_targets = tf.reduce_sum(target_probs * student.logits, -1)
    gradient = student.probs - target_probs
    return ValueAndGradient(
        student.log_normaliser - at_targets, _with_respect_to_logits(student, gradient)
    )


def kl(student: Softmax, target_probs: tf.Tensor) -> ValueAndGradient:
    """Returns KL(target || student); arguments as `cross_entropy`."""
    value, gradient = cross_entropy(student, target_probs)
    entropy = -tf.reduce_sum(tf.math.xlogy(target_probs, target_probs), -1)
    return ValueAndGradient(value - entropy, gradient)


def reverse_kl(student: Softmax, target_probs: tf.Tensor) -> ValueAndGradient:
    """Returns KL(student || target); arguments as `cross_entropy`.

    A target probability below the smallest normal float counts as that.
    """
    floor = target_probs.dtype.as_numpy_dtype(1e-37)
    log_probs = student.logits - student.log_normaliser[:, None]
    log_ratio = log_probs - tf.math.log(tf.maximum(target_probs, floor))
    value = tf.reduce_sum(student.probs * log_ratio, -1)
    gradient = student.probs * (log_ratio - value[:, None])
    return ValueAndGradient(value, _with_respect_to_logits(student, gradient))


def logit_mse(student: Softmax, target_logits: tf.Tensor) -> ValueAndGradient:
    """Returns the squared error of the logits, meaned over V (not in nats).

    Args:
        student: At temperature 1.0.
        target_logits: [N, V] float, the mean of the teachers' logits.
    """
    error = student.logits - target_logits
    size = tf.cast(tf.shape(error)[-1], error.dtype)
    return ValueAndGradient(tf.reduce_mean(tf.square(error), -1), error * (2.0 / size))


def _with_respect_to_logits(student: Softmax, gradient: tf.Tensor) -> tf.Tensor:
    """Returns the gradient of what was divided by the temperature."""
    if is_one(student.temperature):
        return gradient
    return gradient / student.temperature


def _is_right(probs: tf.Tensor, targets: tf.Tensor, confidence: float) -> tf.Tensor:
    return tf.gather(probs, targets, batch_dims=1) >= tf.reduce_max(probs, -1)


def _is_sure(probs: tf.Tensor, targets: tf.Tensor, confidence: float) -> tf.Tensor:
    return tf.reduce_max(probs, -1) >= confidence


# From what `Distillation.gate` calls it to the positions [N] bool where psi counts:
# given the teachers' probabilities [N, V], the labels [N] and `gate_confidence`.
GATES: dict[str, Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor]] = {
    "right": _is_right,
    "sure": _is_sure,
}


class SoftLoss(NamedTuple):
    """A loss against soft targets: psi.

    Attributes:
        of: From what the student says and the targets [N, V] to the loss.
        is_of_logits: Whether its targets are the mean of the teachers' logits, at
            temperature 1.0; else they are probabilities.
    """

    of: Callable[[Softmax, tf.Tensor], ValueAndGradient]
    is_of_logits: bool = False


SOFT_LOSSES = {
    "cross_entropy": SoftLoss(cross_entropy),
    "kl": SoftLoss(kl),
    "reverse_kl": SoftLoss(reverse_kl),
    "logit_mse": SoftLoss(logit_mse, is_of_logits=True),
}
