"""The LSTM layer: values by hand and in NumPy, gradients against automatic ones."""

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill.model.families.lstm import layer as lstm

# T, B, D, H.
SHAPES = [(1, 1, 1, 2), (1, 3, 2, 4), (5, 1, 3, 2), (6, 3, 4, 5)]


def a_layer(shape, *, layer_norm, dtype=np.float64):
    """Returns x, keep, state and weights of a layer, from a fixed seed.

    About 4 in 10 tokens zero the state.
    """
    num_steps, batch, inputs, hidden = shape
    generator = np.random.default_rng(sum(shape))

    def values(*size, around=0.0):
        return tf.constant(around + generator.normal(0.0, 0.7, size), dtype)

    keep = generator.random([num_steps, batch, 1]) > 0.4
    return (
        values(num_steps, batch, inputs),
        tf.constant(keep, dtype),
        lstm.State(values(batch, hidden), values(batch, hidden)),
        lstm.Weights(
            values(inputs, 4 * hidden),
            values(hidden, 4 * hidden),
            values(4 * hidden),
            values(4 * hidden, around=1.0) if layer_norm else None,
        ),
    )


def numpy_layer(x, keep, state, weights, forget_bias):
    """The layer once more, step by step and gate by gate, in NumPy."""
    x, keep, h, c = (np.asarray(v) for v in (x, keep, *state))
    hidden = h.shape[1]
    outputs = []
    for x_t, keep_t in zip(x, keep, strict=True):
        h, c = h * keep_t, c * keep_t
        z = x_t @ np.asarray(weights.input_kernel)
        z = z + h @ np.asarray(weights.recurrent_kernel)
        gates = []
        for gate in range(4):
            columns = slice(gate * hidden, (gate + 1) * hidden)
            a = z[:, columns]
            if weights.gain is not None:
                deviation = np.sqrt(a.var(1, keepdims=True) + 1e-5)
                a = (a - a.mean(1, keepdims=True)) / deviation
                a = a * np.asarray(weights.gain)[columns]
            gates.append(a + np.asarray(weights.shift)[columns])
        i, f, o, j = gates
        c = c / (1 + np.exp(-f - forget_bias)) + np.tanh(j) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        outputs.append(h)
    return np.stack(outputs), h, c


def unroll(
    x, keep, state, weights, forget_bias=1.0, compute_dtype=None, is_trained=True
):
    return lstm.unroll(
        x,
        keep,
        state,
        weights,
        forget_bias=forget_bias,
        compute_dtype=compute_dtype or x.dtype,
        is_trained=is_trained,
    )


def gradients_of(layer, x, keep, state, weights, used=(1.0, 1.0, 1.0)):
    """Returns the gradients of a loss in which every output counts differently.

    Args:
        layer: `unroll` or `plain_layer`.
        x: As the layer's, and so `keep`, `state`, `weights`.
        used: Factors of the outputs, the last h and the last c in the loss.

    Returns:
        With respect to x, h, c and the weights.
    """
    inputs = [x, *state, *(w for w in weights if w is not None)]
    generator = np.random.default_rng(7)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs, last = layer(x, keep, state, weights)
        loss = tf.zeros([], x.dtype)
        for factor, result in zip(used, (outputs, *last), strict=True):
            if factor:
                weights_of_result = factor * generator.normal(size=result.shape)
                loss += tf.reduce_sum(result * weights_of_result)
    return tape.gradient(loss, inputs)


# As in training; the plain layer is faster without, being run once.
compiled_gradients_of = tf.function(gradients_of, autograph=False)


def test_plain_step_matches_hand_calculation():
    # One unit, x = h0 = 1, c0 = 1/2; the input and the recurrent product give
    # half of each pre-activation, and the shift of the output gate the rest:
    #   i: ln 3      -> 3/4        f: 0, forget bias ln 3 -> 3/4
    #   o: 1 - 1 = 0 -> 1/2        j: (ln 3) / 2          -> 1/2
    # so c = 3/4 * 1/2 + 3/4 * 1/2 = 3/4 and h = tanh(3/4) / 2.
    half = np.array([[np.log(3.0), 0.0, 1.0, 0.5 * np.log(3.0)]]) / 2.0
    weights = lstm.Weights(
        tf.constant(half),
        tf.constant(half),
        tf.constant([0.0, 0, -1, 0], "double"),
        None,
    )
    one = tf.ones([1, 1], tf.float64)

    outputs, state = unroll(
        one[None], one[None], lstm.State(one, 0.5 * one), weights, np.log(3.0)
    )

    np.testing.assert_allclose(state.c, [[0.75]], rtol=1e-12)
    np.testing.assert_allclose(state.h, [[0.5 * np.tanh(0.75)]], rtol=1e-12)
    np.testing.assert_array_equal(outputs[0], state.h)


def test_layer_normalised_step_matches_hand_calculation():
    # Two units, x = 1, h0 = 0, c0 = [1, 1]. Normalising a pair gives [-1, 1],
    # [1, -1] or, if the two are equal, [0, 0]; then gain and shift:
    #   i: [1, 3] -> [-1, 1], gain ln 3           -> sigmoid [1/4, 3/4]
    #   f: [5, 5] -> [0, 0],  shift ln 3          -> sigmoid [3/4, 3/4]
    #   o: [9, 7] -> [1, -1], gain 0              -> sigmoid [1/2, 1/2]
    #   j: [-8, 8] -> [-1, 1], gain (ln 3) / 2    -> tanh [-1/2, 1/2]
    # so c = 3/4 + [1/4 * -1/2, 3/4 * 1/2] = [5/8, 9/8] and h = tanh(c) / 2.
    log_3 = np.log(3.0)
    weights = lstm.Weights(
        tf.constant([[1.0, 3, 5, 5, 9, 7, -8, 8]], tf.float64),
        tf.zeros([2, 8], tf.float64),
        tf.constant([0, 0, log_3, log_3, 0, 0, 0, 0], tf.float64),
        tf.constant([log_3, log_3, 1, 1, 0, 0, log_3 / 2, log_3 / 2], tf.float64),
    )
    one = tf.ones([1, 1, 1], tf.float64)
    state = lstm.State(tf.zeros([1, 2], tf.float64), tf.ones([1, 2], tf.float64))

    _, state = unroll(one, one, state, weights, forget_bias=0.0)

    # The 1e-5 added to the variance (1 for i) moves the values by half of that.
    np.testing.assert_allclose(state.c, [[0.625, 1.125]], atol=1e-5)
    np.testing.assert_allclose(state.h, 0.5 * np.tanh([[0.625, 1.125]]), atol=1e-5)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_window_matches_numpy(shape, layer_norm):
    layer = a_layer(shape, layer_norm=layer_norm)

    outputs, state = unroll(*layer, forget_bias=0.7)

    for actual, expected in zip(
        (outputs, *state), numpy_layer(*layer, 0.7), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_backward_pass_equals_automatic_differentiation(shape, layer_norm, plain_layer):
    layer = a_layer(shape, layer_norm=layer_norm)

    by_hand = compiled_gradients_of(unroll, *layer)
    automatic = gradients_of(plain_layer, *layer)

    assert len(by_hand) == (7 if layer_norm else 6)
    for ours, theirs in zip(by_hand, automatic, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("used", [(1.0, 0, 0), (0, 0, 1.0)], ids=str)
def test_backward_pass_is_right_where_only_one_result_is_used(used, plain_layer):
    layer = a_layer((4, 2, 3, 2), layer_norm=True)

    by_hand = compiled_gradients_of(unroll, *layer, used)
    automatic = gradients_of(plain_layer, *layer, used)

    for ours, theirs in zip(by_hand, automatic, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_layer_that_keeps_nothing_for_a_gradient_says_the_same(layer_norm):
    layer = a_layer((5, 2, 3, 4), layer_norm=layer_norm)

    outputs, last = unroll(*layer)
    untrained_outputs, untrained_last = unroll(*layer, is_trained=False)

    np.testing.assert_array_equal(outputs, untrained_outputs)
    for ours, theirs in zip(last, untrained_last, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_reset_at_a_token_equals_a_new_window_from_there(layer_norm):
    x, _, state, weights = a_layer((5, 2, 3, 4), layer_norm=layer_norm)
    keep = np.ones([5, 2, 1])
    keep[3] = 0.0
    zero = tf.zeros([2, 4], tf.float64)

    outputs, last = unroll(x, tf.constant(keep), state, weights)
    anew, last_anew = unroll(
        x[3:], tf.ones([2, 2, 1], tf.float64), lstm.State(zero, zero), weights
    )

    np.testing.assert_array_equal(outputs[3:], anew)
    np.testing.assert_array_equal(last.c, last_anew.c)


def test_reset_concerns_only_its_own_stream():
    x, _, state, weights = a_layer((3, 2, 3, 4), layer_norm=True)
    keep = np.ones([3, 2, 1])
    keep[1, 0] = 0.0

    outputs, _ = unroll(x, tf.constant(keep), state, weights)
    without, _ = unroll(x, tf.ones([3, 2, 1], tf.float64), state, weights)

    np.testing.assert_array_equal(outputs[:, 1], without[:, 1])
    assert np.abs(outputs[1, 0] - without[1, 0]).min() > 0.0


def test_no_gradient_passes_a_reset():
    x, _, state, weights = a_layer((4, 1, 3, 2), layer_norm=True)
    keep = tf.constant([[[1.0]], [[1.0]], [[0.0]], [[1.0]]], tf.float64)

    def of_the_last_two_tokens(x, keep, state, weights):
        outputs, last = unroll(x, keep, state, weights)
        return outputs[2:], last

    dx, dh, dc, *_ = compiled_gradients_of(
        of_the_last_two_tokens, x, keep, state, weights
    )

    np.testing.assert_array_equal(dx[:2], np.zeros([2, 1, 3]))
    np.testing.assert_array_equal(dh, np.zeros([1, 2]))
    np.testing.assert_array_equal(dc, np.zeros([1, 2]))
    assert np.abs(dx[2:]).min() > 0.0


def test_bfloat16_products_stay_close_to_float32():
    # A bfloat16 has 8 significant bits: each factor is off by at most 2^-9, a
    # product by 2^-8, and the sums of 32 products less than that on average.
    layer = a_layer((8, 4, 32, 32), layer_norm=True, dtype=np.float32)

    outputs, state = unroll(*layer)
    narrow_outputs, narrow_state = unroll(*layer, compute_dtype=tf.bfloat16)

    assert narrow_outputs.dtype == narrow_state.c.dtype == tf.float32
    np.testing.assert_allclose(narrow_outputs, outputs, atol=0.03)
    np.testing.assert_allclose(narrow_state.c, state.c, atol=0.06)


def test_bfloat16_gradients_point_where_float32_ones_do():
    layer = a_layer((8, 4, 32, 32), layer_norm=True, dtype=np.float32)

    def narrow(*arguments):
        return unroll(*arguments, compute_dtype=tf.bfloat16)

    wide = compiled_gradients_of(unroll, *layer)

    for ours, expected in zip(compiled_gradients_of(narrow, *layer), wide, strict=True):
        assert ours.dtype == tf.float32
        error = np.linalg.norm(ours - expected) / np.linalg.norm(expected)
        assert error < 0.03
