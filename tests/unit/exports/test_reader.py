"""Exports: what was published is what is read."""

import dataclasses
import json

import numpy as np
import tensorflow as tf

from lmcodistill.exports import reader
from lmcodistill.model import registry


def test_export_gives_back_its_weights_bit_for_bit(bench):
    found = reader.read(bench.snapshot, bench.wanted)

    assert found.weights.keys() == bench.weights.keys()
    for name, value in bench.weights.items():
        assert found.weights[name].dtype == np.float32
        assert found.weights[name].tobytes() == value.tobytes()


def test_export_says_what_it_is(bench, config):
    found = reader.read(bench.snapshot, bench.wanted)

    assert (found.student, found.step, found.generation) == (1, 50, 2)
    assert (found.config, found.vocab_size) == (config, 12)
    assert found.vocabulary == bench.vocabulary.fingerprint
    assert found.reset_at_documents
    vocabulary = reader.vocabulary_of(bench.snapshot)
    assert vocabulary.model == bench.vocabulary.model


def test_model_built_from_an_export_predicts_the_same_and_is_frozen(bench, config):
    model = registry.build(config, 12, bench.weights)
    teacher = reader.read(bench.snapshot).build()
    tokens, is_start = tf.constant([[3, 4, 5]]), tf.constant([[True, False, False]])

    expected, _ = model(tokens, is_start, model.initial_state(1))
    actual, _ = teacher(tokens, is_start, teacher.initial_state(1))

    np.testing.assert_array_equal(actual, expected)
    assert teacher.trainable_variables == ()


def test_header_carries_all_but_the_weights(bench):
    found = reader.read(bench.snapshot)

    header = json.loads(json.dumps(found.header()))
    blank = reader.blank(header)

    assert dataclasses.replace(blank, weights=found.weights) == found
    assert {n: (w.shape, w.dtype) for n, w in blank.weights.items()} == {
        n: (w.shape, w.dtype) for n, w in found.weights.items()
    }


def test_model_of_double_precision_has_zeros_of_it(make_export, config):
    double = dataclasses.replace(config, compute_dtype="float64")

    blank = reader.blank(make_export(student=1, step=50, config=double).header())

    assert {w.dtype for w in blank.weights.values()} == {np.dtype("float64")}


def test_header_of_a_quantized_export_makes_whole_weights(make_export):
    export = make_export(student=1, step=50, dtype="int8")

    blank = reader.blank(json.loads(json.dumps(export.header())))

    assert blank.dtype == "int8"
    assert {n: (w.shape, w.dtype) for n, w in blank.weights.items()} == {
        n: (w.shape, w.dtype) for n, w in export.weights.items()
    }
