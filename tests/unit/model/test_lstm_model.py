"""The whole model: shapes, carried state, gradients, dropout."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill.model import objective, output_head, registry, scoring, weights
from lmcodistill.model.families.lstm import layer as lstm
from lmcodistill.settings import model as settings

VOCAB_SIZE = 6
CONFIG = settings.LanguageModel(
    embedding_size=3, num_layers=2, hidden_size=4, compute_dtype="float64"
)
TIED = dataclasses.replace(CONFIG, embedding_size=4, tie_embeddings=True)
TOKENS = tf.constant([[1, 2, 3, 4], [5, 5, 0, 1]])
TARGETS = tf.constant([[2, 3, 4, 0], [5, 0, 1, 2]])
IS_START = tf.constant([[True, False, False, False], [False, False, True, False]])


def build(config, seed=0, **options):
    values = weights.initial(config, VOCAB_SIZE, seed)
    return registry.build(config, VOCAB_SIZE, values, **options)


def some_state(model, batch=2):
    generator = np.random.default_rng(5)
    return tf.nest.map_structure(
        lambda zero: tf.constant(generator.normal(0.0, 0.5, zero.shape), zero.dtype),
        model.initial_state(batch),
    )


def losses_of(model, hidden, targets=TARGETS):
    flat = tf.reshape(tf.transpose(targets), [-1])
    return scoring.label_losses([model.output_head(hidden)], flat)


def test_hidden_and_state_have_their_shapes():
    model = build(CONFIG)

    hidden, state = model(TOKENS, IS_START, model.initial_state(2))

    assert hidden.shape == [4, 2, 4]
    assert [(s.h.shape, s.c.shape) for s in state.values()] == [([2, 4], [2, 4])] * 2
    head = model.output_head(hidden)
    assert head.hidden.shape == [8, 4]
    assert head.kernel.shape == [6, 4]


def test_output_head_is_time_major():
    model = build(CONFIG)

    hidden, _ = model(TOKENS, IS_START, model.initial_state(2))

    np.testing.assert_array_equal(model.output_head(hidden).hidden[1], hidden[0, 1])


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
def test_weights_and_state_are_float32_whatever_the_products_are(compute_dtype):
    model = build(dataclasses.replace(CONFIG, compute_dtype=compute_dtype))

    hidden, state = model(TOKENS, IS_START, model.initial_state(2))

    assert {v.dtype for v in model.weights.values()} == {tf.float32}
    assert {t.dtype for t in (hidden, *tf.nest.flatten(state))} == {tf.float32}
    assert model.output_head(hidden).compute_dtype == tf.as_dtype(compute_dtype)


def test_window_of_2t_equals_two_windows_of_t_with_carried_state():
    model = build(CONFIG)
    start = some_state(model)

    whole, last = model(TOKENS, IS_START, start)
    first, carried = model(TOKENS[:, :2], IS_START[:, :2], start)
    second, last_of_two = model(TOKENS[:, 2:], IS_START[:, 2:], carried)

    np.testing.assert_allclose(whole, tf.concat([first, second], 0), rtol=1e-12)
    for a, b in zip(tf.nest.flatten(last), tf.nest.flatten(last_of_two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_start_of_a_document_forgets_what_came_before():
    model = build(CONFIG)

    hidden, _ = model(TOKENS, IS_START, some_state(model))
    anew, _ = model(TOKENS[1:, 2:], IS_START[1:, 2:], model.initial_state(1))

    np.testing.assert_allclose(hidden[2:, 1:], anew, rtol=1e-12)


def test_window_of_unknown_length_reads_the_same():
    model = build(CONFIG)
    state = some_state(model)
    unknown = tf.TensorSpec([None, None], tf.int32)
    read = tf.function(
        lambda tokens, is_start: model(tokens, is_start, state),
        input_signature=[unknown, tf.TensorSpec([None, None], tf.bool)],
        autograph=False,
    )

    expected = tf.nest.flatten(model(TOKENS, IS_START, state))
    for a, b in zip(tf.nest.flatten(read(TOKENS, IS_START)), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    _, unread = read(TOKENS[:, :0], IS_START[:, :0])
    for a, b in zip(tf.nest.flatten(unread), tf.nest.flatten(state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_gradient_leaves_the_window_through_the_state():
    model = build(CONFIG)
    state = some_state(model)

    with tf.GradientTape() as tape:
        tape.watch(state)
        hidden, _ = model(TOKENS, IS_START, state)
        total = tf.reduce_sum(hidden)

    assert tf.nest.flatten(tape.gradient(total, state)) == [None] * 4


@pytest.mark.parametrize("config", [CONFIG, TIED], ids=["untied", "tied"])
def test_gradient_of_every_weight_equals_automatic_differentiation(
    config, plain_layer, monkeypatch
):
    monkeypatch.setattr(output_head, "CHUNK_BYTES", 3 * VOCAB_SIZE * 8)
    model = build(config)
    state = some_state(model)
    names = list(model.weights)
    targets = tf.reshape(tf.transpose(TARGETS), [-1])

    @tf.function(autograph=False)
    def ours():
        with tf.GradientTape() as tape:
            hidden, _ = model(TOKENS, IS_START, state)
            total, _ = objective.training_objective(
                model.output_head(hidden), targets, tf.ones([8], tf.float64), None, 0.0
            )
        found = tape.gradient(total, [model.weights[n] for n in names])
        return total, [tf.convert_to_tensor(g) for g in found]

    with tf.GradientTape() as tape:
        values = {n: tf.convert_to_tensor(v) for n, v in model.weights.items()}
        tape.watch(values)
        x = tf.gather(values["embedding"], tf.transpose(TOKENS))
        keep = 1.0 - tf.cast(tf.transpose(IS_START), tf.float64)[..., None]
        for index, layer_state in enumerate(state.values()):
            layer = lstm.Weights(
                *(
                    values[f"layer_{index}/{name}"]
                    for name in ("input_kernel", "recurrent_kernel", "shift", "gain")
                )
            )
            x, _ = plain_layer(x, keep, layer_state, layer, forget_bias=1.0)
        kernel = values["embedding" if config.tie_embeddings else "projection/kernel"]
        logits = tf.reshape(x, [8, 4]) @ tf.transpose(kernel)
        expected_total = tf.reduce_sum(
            tf.nn.sparse_softmax_cross_entropy_with_logits(
                targets, logits + values["projection/bias"]
            )
        )
    expected = tape.gradient(expected_total, [values[n] for n in names])

    total, gradients = ours()
    np.testing.assert_allclose(total, expected_total, rtol=1e-12)
    for name, actual, automatic in zip(names, gradients, expected, strict=True):
        np.testing.assert_allclose(
            actual,
            tf.convert_to_tensor(automatic),
            rtol=1e-8,
            atol=1e-12,
            err_msg=name,
        )


def test_new_model_knows_next_to_nothing():
    # Nearly flat logits: ln 6 at every position.
    model = build(dataclasses.replace(CONFIG, init_scale=1e-3))

    hidden, _ = model(TOKENS, IS_START, model.initial_state(2))

    np.testing.assert_allclose(losses_of(model, hidden), [np.log(6.0)] * 8, atol=1e-2)


def test_teachers_weights_are_not_trainable():
    model = build(CONFIG, trainable=False)

    with tf.GradientTape() as tape:
        hidden, _ = model(TOKENS, IS_START, model.initial_state(2))
        total = tf.reduce_sum(hidden)

    assert model.trainable_variables == ()
    assert tape.gradient(total, list(model.weights.values())) == [None] * 11


DROPPED = dataclasses.replace(
    CONFIG, hidden_size=64, num_layers=1, layer_norm=False, dropout=0.25
)


@pytest.mark.parametrize("config", [CONFIG, TIED], ids=["untied", "tied"])
def test_teachers_matrices_are_kept_in_the_type_they_are_multiplied_in(config):
    narrow = dataclasses.replace(config, compute_dtype="bfloat16")
    student, teacher = build(narrow), build(narrow, trainable=False)

    ours, theirs = (
        model.output_head(model(TOKENS, IS_START, model.initial_state(2))[0])
        for model in (student, teacher)
    )

    kept = {name: w.dtype for name, w in teacher.weights.items()}
    assert kept["layer_0/recurrent_kernel"] == tf.bfloat16
    assert kept["layer_0/shift"] == tf.float32
    np.testing.assert_array_equal(ours.hidden, theirs.hidden)
    np.testing.assert_array_equal(
        output_head.logits_of(ours), output_head.logits_of(theirs)
    )


def blind_model(config):
    """Returns a model whose layer sees its shift alone, so not its own dropout."""
    values = weights.initial(config, VOCAB_SIZE, 0)
    for name in ("input_kernel", "recurrent_kernel"):
        values[f"layer_0/{name}"] *= 0.0
    values["layer_0/shift"] += 1.0
    return registry.build(config, VOCAB_SIZE, values)


def read(model, seed=None):
    seed = None if seed is None else tf.constant(seed)
    return model(TOKENS, IS_START, model.initial_state(2), seed)[0].numpy()


def test_without_a_seed_nothing_is_dropped():
    model = blind_model(DROPPED)
    without = blind_model(dataclasses.replace(DROPPED, dropout=0.0))

    np.testing.assert_array_equal(read(model), read(without))
    np.testing.assert_array_equal(read(without, [1, 2]), read(without))


def test_kept_activations_are_scaled_by_what_was_dropped():
    # Dropping 1 of 4 leaves the mean alone where the others count 4/3.
    model = blind_model(DROPPED)

    ratio = read(model, [1, 2]) / read(model)

    np.testing.assert_allclose(np.unique(ratio.round(9)), [0.0, 4 / 3], rtol=1e-8)
    assert (ratio == 0.0).mean() == pytest.approx(0.25, abs=0.06)


def test_dropout_is_decided_by_its_seed():
    model = blind_model(DROPPED)

    np.testing.assert_array_equal(read(model, [1, 2]), read(model, [1, 2]))
    assert (read(model, [1, 2]) != read(model, [1, 3])).any()
    assert (read(model, [1, 2]) != read(model, [2, 2])).any()


def test_input_of_a_layer_is_dropped_too():
    model = build(DROPPED)

    ratio = read(model, [1, 2]) / read(model)

    # Were it not, every ratio would be 0 or 4/3.
    assert len(np.unique(ratio.round(6))) > 2
