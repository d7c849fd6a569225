"""The Transformer as a whole: against NumPy, cut into windows, its gradients."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill.model import (
    objective,
    output_head,
    quantization,
    registry,
    scoring,
    weights,
)
from lmcodistill.settings import model as settings
from tests.support import numpy_transformer

VOCAB_SIZE = 7
CONFIG = settings.Transformer(
    width=8,
    num_layers=2,
    num_heads=4,
    num_key_value_heads=2,
    feed_forward_width=6,
    memory=5,
    rotary_base=20.0,
    init_scale=1.8,
    compute_dtype="float64",
)
UNTIED = dataclasses.replace(CONFIG, tie_embeddings=False)
WITHOUT = dataclasses.replace(CONFIG, memory=0, num_key_value_heads=None)
LSTM = settings.LanguageModel(embedding_size=3, num_layers=1, hidden_size=4)
DRAWS = np.random.default_rng(1)
TOKENS = DRAWS.integers(0, VOCAB_SIZE, (2, 16), np.int32)
TARGETS = DRAWS.integers(0, VOCAB_SIZE, (2, 16), np.int32)
IS_START = np.zeros((2, 16), bool)
IS_START[0, 0] = IS_START[0, 9] = IS_START[1, 3] = True


def build(config, seed=0, **options):
    values = weights.initial(config, VOCAB_SIZE, seed)
    return registry.build(config, VOCAB_SIZE, values, **options)


def read(model, tokens=TOKENS, is_start=IS_START, state=None, seed=None):
    """Returns [B, T, D] and the state; without one, from the beginning."""
    state = model.initial_state(len(tokens)) if state is None else state
    seed = None if seed is None else tf.constant(seed)
    hidden, state = model(tf.constant(tokens), tf.constant(is_start), state, seed)
    return hidden.numpy().transpose(1, 0, 2), state


@pytest.mark.parametrize(
    ("compute_dtype", "tolerance"), [("float64", 1e-11), ("float32", 2e-5)]
)
@pytest.mark.parametrize("config", [CONFIG, WITHOUT], ids=["memory", "none"])
def test_hidden_states_are_those_of_numpy(config, compute_dtype, tolerance):
    model = build(dataclasses.replace(config, compute_dtype=compute_dtype))

    hidden, _ = read(model)

    values = {name: variable.numpy() for name, variable in model.weights.items()}
    for row in range(2):
        expected = numpy_transformer.hidden_states(
            config, values, TOKENS[row], IS_START[row]
        )
        np.testing.assert_allclose(
            hidden[row], expected, rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize("config", [CONFIG, UNTIED], ids=["tied", "untied"])
def test_logits_are_products_with_the_embedding_or_with_a_matrix_of_their_own(config):
    model = build(config)
    hidden, _ = model(TOKENS, IS_START, model.initial_state(2))

    head = model.output_head(hidden)

    name = "embedding" if config.tie_embeddings else "projection/kernel"
    kernel = model.weights[name].numpy()
    np.testing.assert_allclose(
        output_head.logits_of(head), hidden.numpy().reshape(32, 8) @ kernel.T
    )


@pytest.mark.parametrize("size", [1, 3, 8])
def test_text_cut_into_windows_reads_as_it_does_at_once(size):
    # With windows shorter than the memory, as long, and longer.
    model = build(CONFIG)
    whole, last = read(model)

    parts, state = [], model.initial_state(2)
    for begin in range(0, 16, size):
        window = slice(begin, begin + size)
        hidden, state = read(model, TOKENS[:, window], IS_START[:, window], state)
        parts.append(hidden)

    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=1e-11)
    for a, b in zip(tf.nest.flatten(last), tf.nest.flatten(state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)


def test_generation_token_by_token_has_the_logits_of_the_whole():
    model = build(CONFIG)
    hidden, _ = model(TOKENS, IS_START, model.initial_state(2))
    whole = output_head.logits_of(model.output_head(hidden))

    state = model.initial_state(2)
    for t in range(16):
        window = slice(t, t + 1)
        logits, state = scoring.next_logits(
            model,
            tf.constant(TOKENS[:, window]),
            tf.constant(IS_START[:, window]),
            state,
        )
        np.testing.assert_allclose(logits, whole[2 * t : 2 * t + 2], rtol=1e-11)


def test_without_a_memory_every_window_is_read_by_itself():
    model = build(WITHOUT)

    _, state = read(model, TOKENS[:, :8], IS_START[:, :8])
    after, _ = read(model, TOKENS[:, 8:], IS_START[:, 8:], state)

    alone, _ = read(model, TOKENS[:, 8:], IS_START[:, 8:])
    assert tf.nest.flatten(state) == []
    np.testing.assert_array_equal(after, alone)


def moved_by(model, row, column):
    """Returns [B, T], whether another token there changes the hidden states."""
    tokens = TOKENS.copy()
    tokens[row, column] = (tokens[row, column] + 1) % VOCAB_SIZE
    return (np.abs(read(model)[0] - read(model, tokens)[0]) > 1e-9).any(-1)


@pytest.mark.parametrize("config", [CONFIG, WITHOUT], ids=["memory", "none"])
def test_token_moves_what_follows_it_in_its_document_and_nothing_else(config):
    model = build(config)

    for row, column, end in [(0, 2, 9), (0, 8, 9), (0, 9, 16), (1, 2, 3), (1, 3, 16)]:
        expected = np.zeros((2, 16), bool)
        reach = 2 * config.memory or 16  # M tokens for each layer.
        expected[row, column : min(end, column + reach + 1)] = True
        np.testing.assert_array_equal(moved_by(model, row, column), expected)


def test_token_is_out_of_sight_after_as_many_tokens_as_there_is_memory():
    model = build(dataclasses.replace(CONFIG, num_layers=1))

    assert moved_by(model, 1, 5)[1].nonzero()[0].tolist() == [5, 6, 7, 8, 9, 10]


def test_what_is_in_no_memory_yet_is_not_attended_to():
    # A stream that begins in the midst of a document has nothing before it.
    model = build(CONFIG)
    is_start = IS_START.copy()
    is_start[1, 0] = True

    np.testing.assert_allclose(
        read(model)[0], read(model, is_start=is_start)[0], rtol=1e-12
    )


def test_heads_that_share_keys_equal_heads_with_weights_repeated():
    grouped = build(CONFIG)
    full = dataclasses.replace(CONFIG, num_key_value_heads=None)
    values = {name: variable.numpy() for name, variable in grouped.weights.items()}
    for index in range(2):
        name = f"layer_{index}/attention/input"
        # 4 queries, 2 keys and 2 values of width 2.
        queries, keys, values_ = np.split(values[name].reshape(8, 8, 2), [4, 6], axis=1)
        repeated = [np.repeat(x, 2, axis=1) for x in (keys, values_)]
        values[name] = np.concatenate([queries, *repeated], 1).reshape(8, 24)

    expected, _ = read(registry.build(full, VOCAB_SIZE, values))

    np.testing.assert_allclose(read(grouped)[0], expected, rtol=1e-12)


def test_window_of_unknown_length_reads_the_same():
    model = build(CONFIG)
    _, state = read(model)
    unknown = tf.function(
        lambda tokens, is_start: model(tokens, is_start, state),
        input_signature=[
            tf.TensorSpec([None, None], tf.int32),
            tf.TensorSpec([None, None], tf.bool),
        ],
        autograph=False,
    )

    expected = tf.nest.flatten(model(TOKENS, IS_START, state))
    for a, b in zip(tf.nest.flatten(unknown(TOKENS, IS_START)), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    _, unread = unknown(TOKENS[:, :0], IS_START[:, :0])
    for a, b in zip(tf.nest.flatten(unread), tf.nest.flatten(state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_compiled_by_xla_it_reads_the_same():
    model = build(CONFIG)
    compiled = tf.function(model, jit_compile=True, autograph=False)

    hidden, state = compiled(TOKENS, IS_START, model.initial_state(2))

    expected = tf.nest.flatten(model(TOKENS, IS_START, model.initial_state(2)))
    for a, b in zip(tf.nest.flatten((hidden, state)), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_no_gradient_leaves_the_window_through_the_memory():
    model = build(CONFIG)
    _, state = read(model)

    with tf.GradientTape() as tape:
        tape.watch(state)
        hidden, _ = model(TOKENS, np.zeros_like(IS_START), state)
        total = tf.reduce_sum(hidden)

    assert tf.nest.flatten(tape.gradient(total, state)) == [None] * 5


def objective_of(model, state, teachers=()):
    """Returns the objective of labels, or of teachers alone."""
    hidden, _ = model(TOKENS, IS_START, state)
    soft = objective.SoftTargets(teachers, None, "cross_entropy", 1.0)
    total, sums = objective.training_objective(
        model.output_head(hidden),
        tf.reshape(tf.transpose(TARGETS), [-1]),
        tf.ones([32], model.dtype),
        soft if teachers else None,
        tf.ones([], model.dtype),
        0.0 if teachers else 1.0,
    )
    return total, sums


@pytest.mark.parametrize("config", [CONFIG, UNTIED, WITHOUT], ids=["", "untied", "0"])
def test_gradient_of_every_weight_is_that_of_finite_differences(config):
    model = build(config)
    _, state = read(model, TOKENS[:, ::-1])

    @tf.function(autograph=False)
    def total_and_gradients():
        with tf.GradientTape() as tape:
            total, _ = objective_of(model, state)
        found = tape.gradient(total, list(model.weights.values()))
        return total, [tf.convert_to_tensor(g) for g in found]

    _, gradients = total_and_gradients()
    for (name, weight), gradient in zip(model.weights.items(), gradients, strict=True):
        direction = np.random.default_rng(3).normal(size=weight.shape)
        kept, totals = weight.numpy(), []
        for step in (1e-5, -1e-5):
            weight.assign(kept + step * direction)
            totals.append(float(total_and_gradients()[0]))
        weight.assign(kept)
        slope = (totals[0] - totals[1]) / 2e-5
        assert (gradient * direction).numpy().sum() == pytest.approx(slope, rel=1e-6), (
            name
        )


TINY = dataclasses.replace(CONFIG, compute_dtype="float32")


@pytest.mark.parametrize(("pupil", "teacher"), [(TINY, LSTM), (LSTM, TINY)])
def test_family_learns_what_another_predicts(pupil, teacher):
    student, frozen = build(pupil), build(teacher, seed=1, trainable=False)
    variables = list(student.weights.values())

    @tf.function(autograph=False)
    def update():
        hidden, _ = frozen(TOKENS, IS_START, frozen.initial_state(2))
        with tf.GradientTape() as tape:
            total, sums = objective_of(
                student, student.initial_state(2), [frozen.output_head(hidden)]
            )
        for variable, gradient in zip(
            variables, tape.gradient(total, variables), strict=True
        ):
            variable.assign_sub(0.02 * tf.convert_to_tensor(gradient))
        return sums.soft_loss / 32, sums.agreement / 32

    first, _ = update()
    for _ in range(150):
        last, agreement = update()

    hidden, _ = frozen(TOKENS, IS_START, frozen.initial_state(2))
    probs = tf.nn.softmax(output_head.logits_of(frozen.output_head(hidden))).numpy()
    entropy = -(probs * np.log(probs)).sum(-1).mean()
    assert entropy <= last < entropy + 0.5 * (first - entropy)
    assert agreement > 0.5


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
def test_weights_and_memory_are_float32_whatever_the_products_are(compute_dtype):
    model = build(dataclasses.replace(CONFIG, compute_dtype=compute_dtype))

    hidden, state = model(TOKENS, IS_START, model.initial_state(2))

    assert {v.dtype for v in model.weights.values()} == {tf.float32}
    assert {t.dtype for t in (hidden, *tf.nest.flatten(state))} == {tf.float32}
    assert model.output_head(hidden).compute_dtype == tf.as_dtype(compute_dtype)


def test_narrow_teacher_predicts_what_its_student_does():
    narrow = dataclasses.replace(CONFIG, compute_dtype="bfloat16")
    student, teacher = build(narrow), build(narrow, trainable=False)

    assert teacher.weights["layer_0/attention/input"].dtype == tf.bfloat16
    assert teacher.weights["layer_0/attention/gain"].dtype == tf.float32
    # The student's embedding is added to the stream unrounded.
    np.testing.assert_allclose(read(student)[0], read(teacher)[0], atol=0.1)


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.02), ("int8", 0.04)])
def test_narrow_copies_of_the_weights_predict_nearly_the_same(dtype, tolerance):
    given = weights.initial(TINY, VOCAB_SIZE, 0)

    stored = quantization.quantized(TINY, VOCAB_SIZE, given, dtype)

    table = quantization.table(TINY, VOCAB_SIZE, dtype)
    assert {n: (x.shape, x.dtype.name) for n, x in stored.items()} == table
    whole, narrow = (
        read(registry.build(TINY, VOCAB_SIZE, values))[0]
        for values in (given, quantization.dequantized(stored, "float32"))
    )
    difference = np.sqrt(np.mean((whole - narrow) ** 2) / np.mean(whole**2))
    assert 0.0 < difference < tolerance


def test_what_is_added_to_the_stream_begins_smaller_by_the_depth():
    deep = settings.Transformer(
        width=160, num_layers=8, num_heads=4, feed_forward_width=96
    )

    values = weights.initial(deep, 500, 0)

    spread = {name: value.std() for name, value in values.items()}
    # The root of 2 / (5 x 160) is a twentieth.
    assert spread["embedding"] == pytest.approx(0.05, rel=0.03)
    for name in ("attention", "feed_forward"):
        prefix = f"layer_7/{name}"
        assert spread[f"{prefix}/input"] == pytest.approx(0.05, rel=0.03)
        assert spread[f"{prefix}/output"] == pytest.approx(0.05 / 4, rel=0.03)
        np.testing.assert_array_equal(values[f"{prefix}/gain"], 1.0)


def test_dropout_is_decided_by_its_seed_and_off_without_one():
    model = build(dataclasses.replace(CONFIG, dropout=0.3))

    np.testing.assert_array_equal(read(model)[0], read(build(CONFIG))[0])
    np.testing.assert_array_equal(
        read(model, seed=[1, 2])[0], read(model, seed=[1, 2])[0]
    )
    assert (read(model, seed=[1, 2])[0] != read(model, seed=[1, 3])[0]).any()


def test_embedding_is_dropped_too():
    model = build(dataclasses.replace(CONFIG, dropout=0.3))
    for index in range(2):
        for part in ("attention", "feed_forward"):
            weight = model.weights[f"layer_{index}/{part}/output"]
            weight.assign(tf.zeros_like(weight))

    # Nothing is added: a hidden state is the embedding, normalised.
    assert (read(model, seed=[1, 2])[0] == 0.0).mean() == pytest.approx(0.3, abs=0.1)
