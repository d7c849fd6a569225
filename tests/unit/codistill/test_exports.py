"""Exports: published whole, served by anyone, read without running anything."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.codistill import exports, lookup
from lmcodistill.model import language_model, objective, weights
from lmcodistill.storage import files, layout, publication, tensors

END = 2


@pytest.fixture(scope="module")
def model(config):
    values = weights.initial(config, 12, seed=4)
    return language_model.LanguageModel(config, 12, values)


@pytest.fixture(scope="module")
def published(tmp_path_factory, model, vocabulary):
    """One export, for tests that leave it as it is."""
    return exports.publish(
        tmp_path_factory.mktemp("exports"),
        50,
        model,
        vocabulary,
        student=1,
        reset_at_documents=True,
    )


@pytest.fixture
def snapshot(published, tmp_path):
    """A copy of it, for tests that damage it."""
    path = tmp_path / "students" / "1" / "exports" / published.path.name
    shutil.copytree(published.path, path)
    return publication.Snapshot(path, 50)


def forge(snapshot, **changes):
    """Changes a manifest as its writer could: the marker fits it."""
    manifest = {**snapshot.manifest(), **changes}
    removed = [name for name, value in manifest.items() if value is ...]
    for name in removed:
        del manifest[name]
    content = files.to_json(manifest).encode()
    (snapshot.path / publication.MANIFEST).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    (snapshot.path / publication.MARKER).write_text(digest)


def forge_weights(snapshot, tmp_path, **changes):
    """Publishes other tensors under the same description, past all checks."""
    found = {**exports.read(snapshot).weights, **changes}
    bundle = {
        f"weights/{name.replace('/', '.S')}/.ATTRIBUTES/VARIABLE_VALUE": value
        for name, value in found.items()
    }

    def write(path):
        (path / "saved_model" / "variables").mkdir(parents=True)
        tensors.write(path / "saved_model" / "variables" / "variables", bundle)

    return publication.publish(
        tmp_path / "forged", layout.EXPORT, 50, write, snapshot.manifest()
    )


def test_export_gives_back_its_weights_bit_for_bit(published, model):
    found = exports.read(published)

    assert found.weights.keys() == model.weights.keys()
    for name, variable in model.weights.items():
        assert found.weights[name].dtype == np.float32
        assert found.weights[name].tobytes() == variable.numpy().tobytes()


def test_export_says_what_it_is(published, config, vocabulary):
    found = exports.read(published)

    assert (found.student, found.step, found.config) == (1, 50, config)
    assert (found.vocab_size, found.vocabulary) == (12, vocabulary.fingerprint)
    assert found.reset_at_documents
    assert exports.vocabulary_of(published).fingerprint == vocabulary.fingerprint


def test_manifest_lists_every_tensor_and_file(published, config):
    manifest = published.manifest()

    assert manifest["tensors"]["layer_1/gain"] == {"shape": [16], "dtype": "float32"}
    assert manifest["tensors"].keys() == weights.shapes(config, 12).keys()
    assert manifest["model_fingerprint"] == config.fingerprint()
    on_disk = {
        path.relative_to(published.path).as_posix()
        for path in published.path.rglob("*")
        if path.is_file()
    }
    assert on_disk - manifest["files"].keys() == {"manifest.json", "COMMITTED"}


def test_model_built_from_an_export_predicts_the_same_and_is_frozen(published, model):
    teacher = exports.read(published).build()
    tokens, is_start = tf.constant([[3, 4, 5]]), tf.constant([[True, False, False]])

    expected, _ = model(tokens, is_start, model.initial_state(1))
    actual, _ = teacher(tokens, is_start, teacher.initial_state(1))

    np.testing.assert_array_equal(actual, expected)
    assert teacher.trainable_variables == ()


def test_plain_tensorflow_serves_the_export(published, model):
    texts = tf.constant([[3, 4, 5, 6, 7], [8, 9, 3, 3, 10]])
    loaded = tf.saved_model.load(str(published.path / "saved_model"))

    served = loaded.signatures["score"](tokens=texts)["cross_entropy"]

    # The same through the training objective's evaluation: every text starts
    # from `</s>` and zero state.
    inputs = tf.concat([tf.fill([2, 1], END), texts[:, :-1]], 1)
    features, _ = model(inputs, inputs == END, model.initial_state(2))
    targets = tf.reshape(tf.transpose(texts), [-1])
    expected = objective.label_losses([model.readout(features)], targets)
    assert served.shape == [2, 5]
    np.testing.assert_allclose(
        served, tf.transpose(tf.reshape(expected, [5, 2])), rtol=1e-5
    )


def test_header_carries_all_but_the_weights(published):
    found = exports.read(published)

    header = json.loads(json.dumps(found.header()))
    blank = exports.blank(header)

    assert dataclasses.replace(blank, weights=found.weights) == found
    assert {n: w.shape for n, w in blank.weights.items()} == {
        n: w.shape for n, w in found.weights.items()
    }


class Trap(tf.Module):
    """A model whose graph writes a file as soon as it is loaded."""

    def __init__(self, values: dict[str, np.ndarray], path: str):
        super().__init__()
        self.weights = {n: tf.Variable(v, name=n) for n, v in values.items()}
        self.resource = TrapResource(path)

    @tf.function(input_signature=[])
    def spring(self):
        return self.resource.resource_handle


class TrapResource(tf.saved_model.experimental.TrackableResource):
    def __init__(self, path: str):
        super().__init__()
        self._path = path

    def _create_resource(self):
        return tf.raw_ops.VarHandleOp(shape=[], dtype=tf.int32, shared_name="trap")

    def _initialize(self):
        tf.io.write_file(self._path, "sprung")


def test_reading_an_export_runs_nothing_of_it(snapshot, tmp_path):
    sprung = tmp_path / "sprung"
    values = exports.read(snapshot).weights

    def write(path):
        trap = Trap(values, str(sprung))
        signatures = {"score": trap.spring}
        tf.saved_model.save(trap, str(path / "saved_model"), signatures=signatures)

    trapped = publication.publish(
        tmp_path / "trapped", layout.EXPORT, 50, write, snapshot.manifest()
    )
    sprung.unlink(missing_ok=True)

    found = exports.read(trapped)
    sprung_by_reading = sprung.exists()
    tf.saved_model.load(str(trapped.path / "saved_model"))

    assert not sprung_by_reading
    assert sprung.exists()  # It was a trap.
    for name, value in values.items():
        np.testing.assert_array_equal(found.weights[name], value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_diverged_model_is_not_published(tmp_path, config, vocabulary, value):
    values = weights.initial(config, 12, seed=4)
    values["layer_1/shift"][3] = value
    model = language_model.LanguageModel(config, 12, values)

    with pytest.raises(errors.DivergedError, match="layer_1/shift .* after step 50"):
        exports.publish(
            tmp_path / "exports",
            50,
            model,
            vocabulary,
            student=0,
            reset_at_documents=True,
        )

    assert not (tmp_path / "exports").exists()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("layer_1/shift", np.full([16], np.nan, np.float32), "not finite"),
        ("layer_1/shift", np.zeros([8], np.float32), r"has shape \(8,\)"),
        ("layer_1/shift", np.zeros([16], np.int32), "has type int32"),
        ("layer_7/shift", np.zeros([16], np.float32), "unexpected ones"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(snapshot, tmp_path, name, value, reason):
    forged = forge_weights(snapshot, tmp_path, **{name: value})

    with pytest.raises(errors.SnapshotError, match=reason):
        exports.read(forged)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format_version": 2}, "'export' of format 2; this program reads"),
        ({"format_version": ...}, "of format None"),
        ({"kind": "checkpoint"}, "is a 'checkpoint'"),
        ({"model": {"hidden_size": 4, "wings": 2}}, "cannot build.*wings"),
        ({"model": {"hidden_size": -4}}, "cannot build.*hidden_size"),
        ({"model": {"hidden_size": "4"}}, "cannot build"),
        ({"model": {"compute_dtype": "float16"}}, "cannot build.*compute_dtype"),
        ({"model": [4]}, "cannot build"),
        ({"model": ...}, "cannot build.*model"),
        ({"vocab_size": ...}, "cannot build.*vocab_size"),
        ({"vocab_size": "twelve"}, "cannot build.*twelve"),
        ({"student": None}, "cannot build"),
        ({"vocabulary": ...}, "cannot build.*vocabulary"),
        ({"vocab_size": 13}, r"embedding has shape \(12, 3\); \(13, 3\)"),
    ],
)
def test_manifest_that_does_not_fit_is_refused(snapshot, changes, reason):
    forge(snapshot, **changes)

    with pytest.raises(errors.SnapshotError, match=reason):
        exports.read(snapshot)


@pytest.mark.parametrize(
    ("field", "value"), [("num_layers", 3), ("hidden_size", 5), ("layer_norm", False)]
)
def test_configuration_of_another_model_is_refused(snapshot, config, field, value):
    forge(snapshot, model={**config.to_json(), field: value})

    with pytest.raises(errors.SnapshotError, match="lacks tensors|has shape"):
        exports.read(snapshot)


def test_layers_without_end_are_refused_at_once(snapshot, config):
    forge(snapshot, model={**config.to_json(), "num_layers": 10**12})

    with pytest.raises(errors.SnapshotError, match="1000000000000 layers"):
        exports.read(snapshot)


@pytest.mark.parametrize(
    "file", ["saved_model/variables/variables.index", "vocabulary.model"]
)
def test_damaged_file_is_refused(snapshot, file):
    content = bytearray((snapshot.path / file).read_bytes())
    content[len(content) // 2] ^= 1
    (snapshot.path / file).write_bytes(content)
    reader = exports.read if "variables" in file else exports.vocabulary_of

    with pytest.raises(errors.SnapshotError, match="has SHA-256"):
        reader(snapshot)


def test_export_without_variables_is_refused(snapshot):
    listed = snapshot.manifest()["files"]
    kept = {n: v for n, v in listed.items() if "variables" not in n}
    forge(snapshot, files=kept)

    with pytest.raises(errors.SnapshotError, match="lists no files below"):
        exports.read(snapshot)


def test_find_takes_an_export_a_students_folder_or_a_folder_of_exports(snapshot):
    newer = snapshot.path.with_name("export-000000100")
    shutil.copytree(snapshot.path, newer)
    folder = snapshot.path.parent

    assert lookup.find(snapshot.path) == snapshot
    assert lookup.find(folder) == publication.Snapshot(newer, 100)
    assert lookup.find(folder.parent) == publication.Snapshot(newer, 100)


@pytest.mark.parametrize("name", ["export-000000007", "export-latest", "nothing"])
def test_find_says_what_to_give_where_there_is_none(tmp_path, name):
    (tmp_path / name).mkdir()
    if name == "export-latest":
        (tmp_path / name / publication.MARKER).write_text("x")

    with pytest.raises(errors.SnapshotError, match="no committed export. Give an exp"):
        lookup.find(tmp_path / name)


def test_newest_is_by_step(snapshot):
    shutil.copytree(snapshot.path, snapshot.path.with_name("export-000000040"))

    assert lookup.newest(snapshot.path.parent) == snapshot
    assert lookup.newest(snapshot.path.parent / "not there") is None


def test_waiting_ends_when_the_export_is_committed(snapshot):
    folder, marker = snapshot.path.parent, snapshot.path / publication.MARKER
    content = marker.read_text()
    marker.unlink()
    asked = []

    def commit_when_asked_twice():
        asked.append(marker.exists())
        if len(asked) == 2:
            marker.write_text(content)
        return False

    found = lookup.wait_for(folder, 50, 60.0, commit_when_asked_twice)

    assert found == snapshot
    assert asked == [False, False]


def test_waiting_ends_when_asked_to_stop_or_at_the_deadline(tmp_path):
    assert lookup.wait_for(tmp_path, 50, 60.0, lambda: True) is None
    assert lookup.wait_for(tmp_path, 50, 0.0, lambda: False) is None


def test_committed_export_is_not_waited_for(snapshot):
    found = lookup.wait_for(snapshot.path.parent, 50, 0.0, lambda: True)

    assert found == snapshot
