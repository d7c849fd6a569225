"""Every loss by hand, in nats, and every gradient against an automatic one."""

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill.model import losses

# Two positions, three words. softmax([ln 2, 0, 0]) = [1/2, 1/4, 1/4].
FLAT = [0.0, 0.0, 0.0]
TILTED = [np.log(2.0), 0.0, 0.0]
LOGITS = tf.constant([FLAT, TILTED], tf.float64)
# The same two, swapped, as soft targets; entropies ln 3 / 2 and 3/2 ln 2.
TARGETS = tf.constant([[1 / 2, 1 / 4, 1 / 4], [1 / 3, 1 / 3, 1 / 3]], tf.float64)

OF_PROBABILITIES = sorted(
    name for name, loss in losses.SOFT_LOSSES.items() if not loss.is_of_logits
)


def random_case(seed):
    generator = np.random.default_rng(seed)
    logits = tf.constant(generator.normal(0.0, 2.0, [5, 7]))
    return logits, tf.nn.softmax(generator.normal(0.0, 2.0, [5, 7]))


def test_label_cross_entropy_matches_hand_calculation():
    # Position 0 is flat: -log(1/3) whatever the label. Position 1, label 0:
    # -log(1/2). The gradient is softmax minus the label's one-hot row.
    actual = losses.label_cross_entropy(losses.predict(LOGITS), tf.constant([2, 0]))

    np.testing.assert_allclose(actual.value, [np.log(3.0), np.log(2.0)], rtol=1e-12)
    np.testing.assert_allclose(
        actual.gradient,
        [[1 / 3, 1 / 3, -2 / 3], [-1 / 2, 1 / 4, 1 / 4]],
        rtol=1e-12,
    )


def test_cross_entropy_matches_hand_calculation():
    # Position 0: every word costs ln 3. Position 1: (ln 2 + 2 ln 4) / 3.
    # The gradient is softmax minus the targets.
    actual = losses.cross_entropy(losses.predict(LOGITS), TARGETS)

    np.testing.assert_allclose(
        actual.value, [np.log(3.0), np.log(32.0) / 3], rtol=1e-12
    )
    np.testing.assert_allclose(
        actual.gradient,
        [[-1 / 6, 1 / 12, 1 / 12], [1 / 6, -1 / 12, -1 / 12]],
        rtol=1e-12,
    )


def test_kl_is_cross_entropy_minus_the_entropy_of_the_targets():
    # Entropies: ln 2 / 2 + 2 * ln 4 / 4 = 3/2 ln 2, and ln 3.
    actual = losses.kl(losses.predict(LOGITS), TARGETS)

    np.testing.assert_allclose(
        actual.value,
        [np.log(3.0) - 1.5 * np.log(2.0), np.log(32.0) / 3 - np.log(3.0)],
        rtol=1e-12,
    )
    np.testing.assert_array_equal(
        actual.gradient, losses.cross_entropy(losses.predict(LOGITS), TARGETS).gradient
    )


def test_kl_takes_a_target_of_zero_as_saying_nothing():
    # 1 * log(1 / (1/2)); 0 log 0 is 0.
    actual = losses.kl(
        losses.predict(LOGITS[1:]), tf.constant([[1.0, 0.0, 0.0]], tf.float64)
    )

    np.testing.assert_allclose(actual.value, [np.log(2.0)], rtol=1e-12)


def test_reverse_kl_matches_hand_calculation():
    # Position 0, student [1/3 ...]: (log(2/3) + 2 log(4/3)) / 3 = log(32/27) / 3.
    # Position 1, student [1/2, 1/4, 1/4]: log(3/2) / 2 + log(3/4) / 2.
    actual = losses.reverse_kl(losses.predict(LOGITS), TARGETS)

    value = [np.log(32 / 27) / 3, np.log(9 / 8) / 2]
    np.testing.assert_allclose(actual.value, value, rtol=1e-12)
    # p * (log(p / q) - value), for the first word of each position.
    np.testing.assert_allclose(
        actual.gradient[:, 0],
        [(np.log(2 / 3) - value[0]) / 3, (np.log(3 / 2) - value[1]) / 2],
        rtol=1e-12,
    )


def test_logit_mse_matches_hand_calculation():
    # Errors 0, 2, 3: (0 + 4 + 9) / 3, slope 2/3 of each error.
    student = tf.constant([[1.0, 2.0, 3.0]])

    actual = losses.logit_mse(losses.predict(student), tf.constant([[1.0, 0.0, 0.0]]))

    np.testing.assert_allclose(actual.value, [13 / 3], rtol=1e-6)
    np.testing.assert_allclose(actual.gradient, [[0.0, 4 / 3, 2.0]], rtol=1e-6)


@pytest.mark.parametrize("name", OF_PROBABILITIES)
def test_temperature_divides_the_logits_and_so_the_slope(name):
    loss = losses.SOFT_LOSSES[name].of

    warm = loss(losses.predict(2.0 * LOGITS, 2.0), TARGETS)
    plain = loss(losses.predict(LOGITS), TARGETS)

    np.testing.assert_allclose(warm.value, plain.value, rtol=1e-12)
    np.testing.assert_allclose(warm.gradient, plain.gradient / 2.0, rtol=1e-12)


@pytest.mark.parametrize("name", ["kl", "reverse_kl"])
def test_equal_distributions_have_no_divergence(name):
    logits, _ = random_case(0)

    actual = losses.SOFT_LOSSES[name].of(losses.predict(logits), tf.nn.softmax(logits))

    np.testing.assert_allclose(actual.value, np.zeros(5), atol=1e-14)
    np.testing.assert_allclose(actual.gradient, np.zeros([5, 7]), atol=1e-14)


def test_label_gradient_equals_automatic_differentiation():
    logits, _ = random_case(1)
    targets = tf.constant([0, 6, 3, 3, 1])

    with tf.GradientTape() as tape:
        tape.watch(logits)
        rows = tf.one_hot(targets, 7, dtype=tf.float64)
        value = -tf.reduce_sum(rows * tf.nn.log_softmax(logits), -1)
    actual = losses.label_cross_entropy(losses.predict(logits), targets)

    np.testing.assert_allclose(actual.value, value, rtol=1e-12)
    np.testing.assert_allclose(
        actual.gradient, tape.gradient(value, logits), rtol=1e-10, atol=1e-14
    )


@pytest.mark.parametrize("temperature", [1.0, 0.5, 4.0])
@pytest.mark.parametrize("name", OF_PROBABILITIES)
def test_soft_gradient_equals_automatic_differentiation(name, temperature):
    logits, q = random_case(2)

    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_p = tf.nn.log_softmax(logits / temperature)
        value = {
            "cross_entropy": lambda: -tf.reduce_sum(q * log_p, -1),
            "kl": lambda: tf.reduce_sum(q * (tf.math.log(q) - log_p), -1),
            "reverse_kl": lambda: tf.reduce_sum(
                tf.exp(log_p) * (log_p - tf.math.log(q)), -1
            ),
        }[name]()
    actual = losses.SOFT_LOSSES[name].of(losses.predict(logits, temperature), q)

    np.testing.assert_allclose(actual.value, value, rtol=1e-11)
    np.testing.assert_allclose(
        actual.gradient, tape.gradient(value, logits), rtol=1e-9, atol=1e-14
    )


def test_logit_gradient_equals_automatic_differentiation():
    logits, targets = random_case(3)

    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = tf.reduce_mean(tf.math.squared_difference(logits, targets), -1)

    np.testing.assert_allclose(
        losses.logit_mse(losses.predict(logits), targets).gradient,
        tape.gradient(value, logits),
        rtol=1e-12,
    )


@pytest.mark.parametrize("name", ["label", *OF_PROBABILITIES])
def test_extreme_logits_stay_finite(name):
    logits = tf.constant([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e30, 0.0, -1e30]])
    # Certain of what the student thinks least likely.
    targets = tf.constant([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])

    if name == "label":
        actual = losses.label_cross_entropy(
            losses.predict(logits), tf.constant([1, 0, 1])
        )
    else:
        actual = losses.SOFT_LOSSES[name].of(losses.predict(logits), targets)

    assert np.isfinite(actual.value).all()
    assert np.isfinite(actual.gradient).all()
    if name != "reverse_kl":
        np.testing.assert_allclose(
            actual.value, [2e4, np.log(3.0), 1e30], rtol=1e-6, atol=1e-3
        )
