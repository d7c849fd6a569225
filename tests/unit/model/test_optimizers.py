"""Update rules against NumPy over three updates; clipping by hand."""

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill.model import optimizers
from lmcodistill.settings import training as settings

WEIGHT = np.array([1.0, -2.0, 0.5])
GRADIENTS = np.array([[0.1, -0.2, 0.0], [0.3, 0.1, -0.4], [-0.5, 0.2, 0.1]])
RATES = [0.1, 0.1, 0.05]


def updated(config):
    """Returns the weight after each of three updates, in float64."""
    rule = optimizers.rule(config)
    weight = tf.Variable(WEIGHT)
    slots = [tf.Variable([x] * 3, dtype=tf.float64) for x in rule.slots.values()]
    found = []
    for index, (gradient, rate) in enumerate(zip(GRADIENTS, RATES, strict=True)):
        # As the training step does: the rate in the weight's type, the number
        # of the update in float32.
        change = rule.at(
            tf.constant(rate, tf.float64), tf.constant(index + 1, tf.float32)
        )
        change(weight, tf.constant(gradient), slots)
        found.append(weight.numpy())
    return found


def adam(weight_decay=0.0, beta1=0.9, beta2=0.999, epsilon=1e-8):
    weight, first, second = WEIGHT, np.zeros(3), np.zeros(3)
    found = []
    for number, (g, rate) in enumerate(zip(GRADIENTS, RATES, strict=True), start=1):
        first = beta1 * first + (1 - beta1) * g
        second = beta2 * second + (1 - beta2) * g**2
        unbiased = first / (1 - beta1**number)
        root = np.sqrt(second / (1 - beta2**number))
        weight = weight - rate * (unbiased / (root + epsilon) + weight_decay * weight)
        found.append(weight)
    return found


def test_sgd_matches_hand_calculation():
    actual = updated(settings.Optimizer(name="sgd"))

    # 1 - 0.1 * 0.1; then 0.1 * 0.3 less; then 0.05 * 0.5 more.
    assert [w[0] for w in actual] == pytest.approx([0.99, 0.96, 0.985])


def test_mean_of_weights_matches_hand_calculation():
    mean = tf.Variable([1.0], dtype=tf.float64)
    found = []

    for number, weight in enumerate([2.0, 4.0, 4.0], start=1):
        optimizers.move_mean(
            mean,
            tf.Variable([weight], dtype=tf.float64),
            0.2,
            tf.constant(number, tf.float32),
        )
        found.append(mean.numpy()[0])

    # Decays of 1 / 10, 2 / 11, and 0.2, which is below 3 / 12.
    assert found[0] == pytest.approx(0.1 * 1.0 + 0.9 * 2.0)
    assert found[1] == pytest.approx(2 / 11 * found[0] + 9 / 11 * 4.0)
    assert found[2] == pytest.approx(0.2 * found[1] + 0.8 * 4.0)


def test_momentum_matches_hand_calculation():
    actual = updated(settings.Optimizer(name="sgd", momentum=0.5))

    # Velocities 0.1, 0.05 + 0.3 = 0.35, 0.175 - 0.5 = -0.325.
    assert [w[0] for w in actual] == pytest.approx([0.99, 0.955, 0.97125])


def test_adagrad_matches_numpy():
    actual = updated(settings.Optimizer(name="adagrad", initial_accumulator=0.2))

    accumulators = 0.2 + np.cumsum(GRADIENTS**2, 0)
    steps = np.array(RATES)[:, None] * GRADIENTS / (np.sqrt(accumulators) + 1e-8)
    np.testing.assert_allclose(actual, WEIGHT - np.cumsum(steps, 0), rtol=1e-12)


def test_first_step_of_adam_is_the_rate_against_the_gradients_sign():
    # Both corrections undo the decay exactly; a gradient of 0 moves nothing.
    actual = updated(settings.Optimizer(name="adam"))[0]

    np.testing.assert_allclose(actual, [0.9, -1.9, 0.5], rtol=1e-6)


def test_adam_matches_numpy():
    actual = updated(settings.Optimizer(name="adam"))

    np.testing.assert_allclose(actual, adam(), rtol=1e-12)


def test_adam_uses_its_own_settings():
    given = {"beta1": 0.5, "beta2": 0.75, "epsilon": 0.1}

    actual = updated(settings.Optimizer(name="adam", **given))

    np.testing.assert_allclose(actual, adam(**given), rtol=1e-12)


def test_adamw_adds_decay_that_the_moments_do_not_see():
    actual = updated(settings.Optimizer(name="adamw", weight_decay=0.3))

    np.testing.assert_allclose(actual, adam(weight_decay=0.3), rtol=1e-12)


@pytest.mark.parametrize(
    ("config", "slots"),
    [
        (settings.Optimizer(name="sgd"), {}),
        (settings.Optimizer(name="sgd", momentum=0.9), {"momentum": 0.0}),
        (
            settings.Optimizer(name="adagrad", initial_accumulator=0.2),
            {"accumulator": 0.2},
        ),
        (settings.Optimizer(), {"first_moment": 0.0, "second_moment": 0.0}),
    ],
)
def test_slots_start_at(config, slots):
    assert optimizers.rule(config).slots == slots


@pytest.mark.parametrize(
    ("clip_norm", "factor"), [(1.0, 0.2), (5.0, 1.0), (10.0, 1.0), (0.0, 1.0)]
)
def test_clipping_scales_a_gradient_of_norm_5(clip_norm, factor):
    # sqrt(3^2 + 4^2), over two tensors.
    scale, norm = optimizers.clip_scale(
        [tf.constant([3.0]), tf.constant([[0.0, 4.0]])], clip_norm
    )

    assert float(norm) == 5.0
    assert float(scale) == pytest.approx(factor)


def test_clipping_is_as_wide_as_the_gradient():
    clip = tf.function(optimizers.clip_scale, autograph=False)

    scale, norm = clip([tf.constant([3.0, 4.0], tf.float64)], 1.0)

    assert scale.dtype == norm.dtype == tf.float64
    assert float(scale) == pytest.approx(0.2, rel=1e-12)


def test_gradient_of_zero_is_not_divided_by():
    scale, norm = optimizers.clip_scale([tf.zeros([2])], 1.0)

    assert (float(scale), float(norm)) == (1.0, 0.0)
