"""The parts of a Transformer layer against NumPy, one vector at a time."""

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill.model import dropout, mixed_precision
from lmcodistill.model.families.transformer import (
    attention,
    feed_forward,
    layer,
    memory,
    norm,
    rotary,
)
from tests.support import numpy_transformer


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(0.0, 0.8, shape)


def test_norm_divides_by_the_root_of_the_mean_square():
    # Of (3, 4) the mean square is 12.5.
    actual = norm.rms_norm(tf.constant([[3.0, 4.0]]), tf.constant([2.0, 1.0]))

    np.testing.assert_allclose(actual, [[6 / 12.5**0.5, 4 / 12.5**0.5]], rtol=1e-5)


def test_norm_of_nothing_is_nothing():
    assert not norm.rms_norm(tf.zeros([1, 3]), tf.ones([3])).numpy().any()


def test_rotation_turns_pairs_by_their_wavelengths():
    # Two pairs: (1, 0) is turned by 1 radian a token, (0, 1) by a hundredth.
    turns = rotary.rotation(tf.range(3), 4, 10_000.0, tf.float64)
    x = tf.constant([[1.0, 0.0, 0.0, 1.0]] * 3, tf.float64)

    angles = np.arange(3.0)
    expected = [np.cos(angles), -np.sin(angles / 100)]
    expected += [np.sin(angles), np.cos(angles / 100)]
    np.testing.assert_allclose(rotary.rotate(x, turns), np.transpose(expected))


def test_rotated_scores_depend_on_the_distance_alone():
    query, key = normal(1, 6), normal(2, 6)

    def score(position, other):
        turns = rotary.rotation(tf.constant([position, other]), 6, 50.0, tf.float64)
        a, b = rotary.rotate(tf.constant([query, key]), turns).numpy()
        return a @ b

    assert score(7, 4) == pytest.approx(score(3, 0), rel=1e-12)
    assert score(7, 4) != pytest.approx(score(4, 7), rel=1e-3)


def test_feed_forward_part_is_gated():
    x, into, out = normal(3, 5, 4), normal(4, 4, 6), normal(5, 3, 4)

    actual = feed_forward.swiglu(*map(tf.constant, (x, into, out)), tf.float64)

    gate, linear = x @ into[:, :3], x @ into[:, 3:]
    expected = (gate / (1.0 + np.exp(-gate)) * linear) @ out
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("compute_dtype", "product"), [("float32", 1.0 + 2.0**-12), ("bfloat16", 1.0)]
)
def test_operands_are_rounded_to_the_type_of_the_product(compute_dtype, product):
    x = tf.constant([[1.0 + 2.0**-12]])

    actual = mixed_precision.matmul(x, tf.ones([1, 1]), tf.as_dtype(compute_dtype))

    assert actual.dtype == tf.float32
    assert actual.numpy().tolist() == [[product]]


# M, A, G, T.
SIZES = [(0, 2, 2, 5), (4, 2, 2, 5), (3, 4, 2, 7), (6, 3, 1, 2), (2, 1, 1, 1)]


def a_window(size, dtype=tf.float64):
    """Returns qkv, a full memory and a reading, in which documents begin."""
    length, heads, groups, window = size
    width = 4
    qkv = tf.constant(normal(6, 2, window, heads + 2 * groups, width), dtype)
    cache = memory.Cache(
        *(tf.constant(normal(s, 2, groups, length, width), dtype) for s in (7, 8))
    )
    draws = np.random.default_rng(9)
    remembered = np.sort(draws.random([2, length]) > 0.3, 1).astype(dtype.name)
    is_start = draws.random([2, window]) > 0.7
    documents, _ = memory.read_documents(tf.constant(remembered), tf.constant(is_start))
    turns = rotary.rotation(tf.range(length + window), width, 10.0, dtype)
    mask = memory.mask(documents, length, dtype)
    return qkv, cache, attention.Reading(mask, turns, length), remembered, is_start


@pytest.mark.parametrize(
    ("dtype", "rtol"), [(tf.float64, 1e-11), (tf.float32, 2e-5)], ids=["64", "32"]
)
@pytest.mark.parametrize("size", SIZES)
def test_attention_equals_that_of_one_query_and_one_key_at_a_time(size, dtype, rtol):
    qkv, cache, reading, remembered, is_start = a_window(size, dtype)

    found, kept = attention.attend(qkv, cache, reading, dtype)

    length, heads, groups, _ = size
    for row in range(2):
        queries, keys, values = np.split(
            qkv[row].numpy().astype(np.float64), [heads, heads + groups], axis=1
        )
        old_keys, old_values = (x[row].numpy().transpose(1, 0, 2) for x in cache)
        keys = np.concatenate([old_keys, keys])
        values = np.concatenate([old_values, values])
        document = np.concatenate([remembered[row] - 1, np.cumsum(is_start[row])])
        expected = numpy_transformer.attention(
            queries, keys, values, document, memory=length, base=10.0
        )
        np.testing.assert_allclose(found[row], expected, rtol=rtol, atol=rtol)
        if length:
            expected = keys.transpose(1, 0, 2)[:, -length:]
            np.testing.assert_array_equal(kept.keys[row], expected.astype(dtype.name))
            expected = values.transpose(1, 0, 2)[:, -length:]
            np.testing.assert_array_equal(kept.values[row], expected.astype(dtype.name))


def test_grouped_heads_equal_heads_with_the_same_keys_and_values():
    qkv, cache, reading, *_ = a_window((3, 4, 2, 7))
    queries, keys, values = tf.split(qkv, [4, 2, 2], axis=2)

    def repeated(x, axis):
        return tf.repeat(x, 2, axis)

    full = tf.concat([queries, repeated(keys, 2), repeated(values, 2)], 2)
    full_cache = memory.Cache(*(repeated(x, 1) for x in cache))

    grouped, _ = attention.attend(qkv, cache, reading, tf.float64)
    expected, _ = attention.attend(full, full_cache, reading, tf.float64)
    np.testing.assert_allclose(grouped, expected, rtol=1e-12)


def test_memory_forgets_a_document_that_ended():
    # The memory is of the window's first document, which ends at the third token.
    is_start = tf.constant([[False, False, True, False]])

    documents, kept = memory.read_documents(tf.constant([[0.0, 1.0, 1.0]]), is_start)

    assert documents.numpy().tolist() == [[-1, 0, 0, 0, 0, 1, 1]]
    assert kept.numpy().tolist() == [[0.0, 1.0, 1.0]]


def test_memory_goes_on_where_no_document_begins():
    is_start = tf.constant([[False, False]])

    _, kept = memory.read_documents(tf.constant([[0.0, 0.0, 1.0]]), is_start)

    assert kept.numpy().tolist() == [[1.0, 1.0, 1.0]]


def test_mask_hides_what_is_later_too_far_back_or_of_another_document():
    documents = tf.constant([[0, 0, 0, 1, 1]])

    seen = [
        [(mask[0] == 0.0).numpy().astype(int).tolist(), mask.shape[1]]
        for mask in (memory.mask(documents, m, tf.float32) for m in (2, 0))
    ]

    assert seen[0] == [[[1, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]], 3]
    rows = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]]
    assert seen[1] == [[*rows, [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]], 5]


def layer_weights():
    return layer.LayerWeights(
        *map(
            tf.constant,
            (
                *(normal(10, 4), normal(11, 4, 8), normal(12, 4, 4)),
                *(normal(13, 4), normal(14, 4, 6), normal(15, 3, 4)),
            ),
        )
    )


@pytest.mark.parametrize("kept", [{0, 1}, {0}, {1}, set()])
def test_each_part_is_dropped_by_itself_before_it_is_added(kept):
    x, weights = tf.constant(normal(16, 1, 3, 4)), layer_weights()
    cache = memory.empty(1, 1, 2, 4, tf.float64)
    documents = tf.constant([[-1, -1, 0, 0, 0]])
    turns = rotary.rotation(tf.range(5), 4, 10.0, tf.float64)
    reading = attention.Reading(memory.mask(documents, 2, tf.float64), turns, 2)
    parts = {name: value.numpy() for name, value in weights._asdict().items()}
    if 0 not in kept:
        parts["attention_output"] *= 0.0
    if 1 not in kept:
        parts["feed_forward_output"] *= 0.0

    # A layer of one head whose keys and values are its own: 4 + 2 * 2 columns.
    wide = weights._replace(
        attention_input=tf.concat([weights.attention_input] * 2, 1)[:, :12]
    )
    actual, _ = layer.read(
        x,
        cache,
        wide,
        reading,
        compute_dtype=tf.float64,
        drop=lambda x, part: x if part in kept else tf.zeros_like(x),
    )

    parts["attention_input"] = wide.attention_input.numpy()
    expected = numpy_transformer.layer(
        x[0].numpy(), parts, np.zeros(3), heads=1, groups=1, memory=2, base=10.0
    )
    np.testing.assert_allclose(actual[0], expected, rtol=1e-11)


def test_places_have_draws_of_their_own_and_what_is_kept_is_scaled():
    x, seed = tf.ones([40, 50]), tf.constant([3, 4])

    first, again, other = (dropout.dropped(x, 0.2, seed, place) for place in (0, 0, 1))

    np.testing.assert_array_equal(first, again)
    assert (first.numpy() != other.numpy()).any()
    assert np.unique(first) == pytest.approx([0.0, 1.25])
    assert np.mean(first == 0.0) == pytest.approx(0.2, abs=0.03)
    assert dropout.dropped(x, 0.2, None, 0) is x
