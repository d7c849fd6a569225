"""Exports: read without running anything, and found by those who look for them."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.codistill import exports, lookup
from lmcodistill.model import language_model
from lmcodistill.storage import publication


def test_export_gives_back_its_weights_bit_for_bit(bench):
    found = exports.read(bench.snapshot, bench.wanted)

    assert found.weights.keys() == bench.weights.keys()
    for name, value in bench.weights.items():
        assert found.weights[name].dtype == np.float32
        assert found.weights[name].tobytes() == value.tobytes()


def test_export_says_what_it_is(bench, config):
    found = exports.read(bench.snapshot, bench.wanted)

    assert (found.student, found.step, found.incarnation) == (1, 50, 2)
    assert (found.config, found.vocab_size) == (config, 12)
    assert found.vocabulary == bench.vocabulary.fingerprint
    assert found.reset_at_documents
    vocabulary = exports.vocabulary_of(bench.snapshot)
    assert vocabulary.model == bench.vocabulary.model


def test_model_built_from_an_export_predicts_the_same_and_is_frozen(bench, config):
    model = language_model.LanguageModel(config, 12, bench.weights)
    teacher = exports.read(bench.snapshot).build()
    tokens, is_start = tf.constant([[3, 4, 5]]), tf.constant([[True, False, False]])

    expected, _ = model(tokens, is_start, model.initial_state(1))
    actual, _ = teacher(tokens, is_start, teacher.initial_state(1))

    np.testing.assert_array_equal(actual, expected)
    assert teacher.trainable_variables == ()


def test_header_carries_all_but_the_weights(bench):
    found = exports.read(bench.snapshot)

    header = json.loads(json.dumps(found.header()))
    blank = exports.blank(header)

    assert dataclasses.replace(blank, weights=found.weights) == found
    assert {n: (w.shape, w.dtype) for n, w in blank.weights.items()} == {
        n: (w.shape, w.dtype) for n, w in found.weights.items()
    }


def test_model_of_double_precision_has_zeros_of_it(make_export, config):
    double = dataclasses.replace(config, compute_dtype="float64")

    blank = exports.blank(make_export(student=1, step=50, config=double).header())

    assert {w.dtype for w in blank.weights.values()} == {np.dtype("float64")}


def copy(snapshot, step, incarnation):
    """Publishes the same again under another name; returns where."""
    name = publication.name_of("export", step, incarnation)
    shutil.copytree(snapshot.path, snapshot.path.with_name(name))
    return publication.Snapshot(snapshot.path.with_name(name), step, incarnation)


def test_find_takes_an_export_a_students_folder_or_a_folder_of_exports(bench, tmp_path):
    folder = tmp_path / "students" / "1" / "exports"
    shutil.copytree(bench.spoilt, folder / bench.spoilt.name)
    older = publication.Snapshot(folder / bench.spoilt.name, 50, 2)
    newer = copy(older, 100, 2)

    assert lookup.find(str(older.path)) == older
    assert lookup.find(str(folder)) == newer
    assert lookup.find(str(folder.parent)) == newer


@pytest.mark.parametrize("name", ["export-000000007-i1", "export-latest", "nothing"])
def test_find_says_what_to_give_where_there_is_none(tmp_path, name):
    (tmp_path / name).mkdir()
    if name == "export-latest":
        (tmp_path / name / publication.MARKER).write_text("x")

    with pytest.raises(errors.SnapshotError, match="no committed export. Give an exp"):
        lookup.find(str(tmp_path / name))


def test_newer_ones_are_by_incarnation_then_step_and_come_newest_first(bench):
    first = bench.snapshot
    later_life = copy(first, 40, 3)
    further = copy(first, 60, 2)

    assert lookup.newer_than(first.path.parent, None) == [later_life, further, first]
    assert lookup.newer_than(first.path.parent, (2, 50)) == [later_life, further]
    assert lookup.newer_than(first.path.parent, (3, 40)) == []
    assert lookup.newer_than(first.path.parent / "not there", None) == []


def test_export_of_a_step_is_that_of_the_latest_life_first(bench):
    first = bench.snapshot
    again = copy(first, 50, 3)
    copy(first, 60, 3)

    assert lookup.of_step(first.path.parent, 50) == [again, first]
