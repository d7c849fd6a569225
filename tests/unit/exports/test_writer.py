"""Exports as they are written: served by anyone, of exactly the weights given."""

import dataclasses
import resource

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.exports import probe, quantized, reader
from lmcodistill.exports import writer as writer_lib
from lmcodistill.model import quantization, registry, scoring, weights
from lmcodistill.settings import model as model_settings
from lmcodistill.storage import publication

END = 2


@pytest.fixture(scope="module")
def writer(config, vocabulary):
    return writer_lib.Exporter(config, vocabulary, student=1, reset_at_documents=True)


@pytest.fixture(scope="module")
def quantizing_writer(config, vocabulary):
    """Makes exporters in a narrower type; each type's graph is saved once."""
    text = np.random.default_rng(0).integers(3, 12, [4, 9], np.int32)
    judge = probe.Probe(text[:, :-1], text[:, 1:], np.zeros([4, 8], bool), None)
    made = {}

    def make(dtype, max_loss=1.0):
        if dtype not in made:
            made[dtype] = writer_lib.Exporter(
                config,
                vocabulary,
                student=1,
                reset_at_documents=True,
                quantizer=quantized.Quantizer(dtype, judge, max_loss),
            )
        made[dtype].quantizer = quantized.Quantizer(dtype, judge, max_loss)
        return made[dtype]

    return make


@pytest.fixture
def owner():
    return publication.Owner(1, lambda: None)


def values(config, seed):
    return weights.initial(config, 12, seed)


def scores(path, texts):
    """Returns what plain TensorFlow makes of texts with an export."""
    loaded = tf.saved_model.load(str(path / "saved_model"))
    return loaded.signatures["score"](tokens=texts)["cross_entropy"]


def test_plain_tensorflow_serves_exactly_the_weights_of_each_export(
    writer, owner, tmp_path, config
):
    texts = tf.constant([[3, 4, 5, 6, 7], [8, 9, 3, 3, 10]])
    # The same through the training objective's evaluation: every text starts
    # from `</s>` and zero state.
    inputs = tf.concat([tf.fill([2, 1], END), texts[:, :-1]], 1)
    targets = tf.reshape(tf.transpose(texts), [-1])

    for step in (50, 100):
        given = values(config, seed=step)
        snapshot = writer.publish(tmp_path, step, given, owner)

        model = registry.build(config, 12, given)
        hidden, _ = model(inputs, inputs == END, model.initial_state(2))
        expected = scoring.label_losses([model.output_head(hidden)], targets)
        np.testing.assert_allclose(
            scores(snapshot.path, texts),
            tf.transpose(tf.reshape(expected, [5, 2])),
            rtol=1e-5,
        )


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_plain_tensorflow_serves_narrow_weights_as_readers_find_them(
    quantizing_writer, owner, tmp_path, config, dtype
):
    texts = tf.constant([[3, 4, 5, 6, 7], [8, 9, 3, 3, 10]])
    inputs = tf.concat([tf.fill([2, 1], END), texts[:, :-1]], 1)

    for step in (50, 100):
        given = values(config, seed=step)
        snapshot = quantizing_writer(dtype).publish(tmp_path, step, given, owner)

        found = reader.read(snapshot)
        expected = quantization.dequantized(
            quantization.quantized(config, 12, given, dtype), config.weight_dtype
        )
        assert found.dtype == dtype
        assert found.weights.keys() == given.keys()
        assert all(np.array_equal(found.weights[n], expected[n]) for n in given)
        np.testing.assert_allclose(
            scores(snapshot.path, texts),
            scoring.token_losses(found.build(), inputs, texts),
            rtol=1e-6,
        )


def test_manifest_of_an_int8_export_says_so_and_what_was_lost(
    quantizing_writer, owner, tmp_path, config
):
    given = values(config, seed=1)

    manifest = quantizing_writer("int8").publish(tmp_path, 50, given, owner).manifest()

    assert (manifest["format_version"], manifest["dtype"]) == (3, "int8")
    assert manifest["tensors"]["projection/kernel:values"] == {
        "shape": [12, 4],
        "dtype": "int8",
    }
    told = manifest["quantization"]
    assert told["dtype"] == "int8"
    assert abs(told["cross_entropy_loss"]) < 0.01
    assert told["agreement"] > 0.9


def test_export_that_would_lose_too_much_is_written_in_full_and_counted(
    quantizing_writer, owner, tmp_path, config, caplog
):
    writer = quantizing_writer("int8", max_loss=-1.0)
    given = values(config, seed=1)

    snapshots = [writer.publish(tmp_path, at, given, owner) for at in (50, 50, 100)]

    for snapshot in snapshots:
        found = reader.read(snapshot)
        assert found.dtype == "float32"
        assert all(found.weights[n].tobytes() == w.tobytes() for n, w in given.items())
        assert snapshot.manifest()["quantization"]["dtype"] == "int8"
    assert writer.quantizer.refused == {50, 100}
    assert "step=100 event=export_written_in_full dtype=int8" in caplog.text
    assert "max_quantization_loss=-1 refused=2" in caplog.text


@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_narrow_exports_of_the_same_weights_are_the_same_bytes(
    quantizing_writer, owner, tmp_path, config, dtype
):
    given = values(config, seed=1)

    paths = [
        quantizing_writer(dtype).publish(tmp_path / name, 50, given, owner).path
        for name in ("once", "again")
    ]

    once, again = (
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in paths
    )
    assert once == again


def test_tensors_have_the_names_that_tensorflow_gives_them(
    writer, owner, tmp_path, config
):
    given = values(config, seed=1)
    model = registry.build(config, 12, given)
    tf.saved_model.save(model, str(tmp_path / "theirs"))

    snapshot = writer.publish(tmp_path / "ours", 50, given, owner)

    variables = "variables/variables"
    ours = tf.train.list_variables(str(snapshot.path / "saved_model" / variables))
    theirs = tf.train.list_variables(str(tmp_path / "theirs" / variables))
    assert sorted(ours) == sorted(theirs)


def test_manifest_lists_every_tensor_and_file(writer, owner, tmp_path, config):
    snapshot = writer.publish(tmp_path, 50, values(config, seed=1), owner)

    manifest = snapshot.manifest()
    assert manifest["format_version"] == 2
    assert (manifest["step"], manifest["incarnation"]) == (50, 1)
    assert manifest["tensors"]["layer_1/gain"] == {"shape": [16], "dtype": "float32"}
    assert manifest["tensors"].keys() == weights.shapes(config, 12).keys()
    assert manifest["model_fingerprint"] == config.fingerprint()
    on_disk = {
        path.relative_to(snapshot.path).as_posix()
        for path in snapshot.path.rglob("*")
        if path.is_file()
    }
    assert on_disk - manifest["files"].keys() == {"manifest.json", "COMMITTED"}


@pytest.mark.parametrize(
    "changes",
    [
        {"compute_dtype": "float64"},
        {"compute_dtype": "bfloat16"},
        {"layer_norm": False},
        {"tie_embeddings": True, "embedding_size": 4},
        {"num_layers": 1, "vocab_size": 12},
    ],
    ids=str,
)
def test_model_of_every_kind_comes_back(owner, tmp_path, config, vocabulary, changes):
    config = dataclasses.replace(config, **changes)
    kind = np.dtype(config.weight_dtype)
    given = {n: v.astype(kind) for n, v in values(config, seed=3).items()}
    one = writer_lib.Exporter(config, vocabulary, student=0, reset_at_documents=False)

    found = reader.read(one.publish(tmp_path, 50, given, owner))

    assert (found.config, found.reset_at_documents) == (config, False)
    assert {n: w.tobytes() for n, w in found.weights.items()} == {
        n: w.tobytes() for n, w in given.items()
    }


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_diverged_weights_are_not_published(writer, owner, tmp_path, config, value):
    given = values(config, seed=4)
    given["layer_1/shift"][3] = value

    with pytest.raises(errors.DivergedError, match="layer_1/shift .* after step 50"):
        writer.publish(tmp_path / "exports", 50, given, owner)

    assert not (tmp_path / "exports").exists()


def test_weights_are_copied_before_training_goes_on(config):
    model = registry.build(config, 12, values(config, seed=1))

    found = writer_lib.weights_of(model)
    for variable in model.weights.values():
        variable.assign(variable * 0.0 + 7.0)

    expected = values(config, seed=1)
    assert all(np.array_equal(found[n], expected[n]) for n in expected)


def test_process_that_was_replaced_publishes_nothing(writer, tmp_path, config):
    def check():
        raise errors.GroupLostError("taken over")

    with pytest.raises(errors.GroupLostError):
        given = values(config, seed=1)
        writer.publish(tmp_path, 50, given, publication.Owner(1, check))

    assert publication.committed(tmp_path, "export") == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def only_so_many_bytes():
    """Makes every file of this process end at a size, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Python writes the graph, TensorFlow the tensors.
@pytest.mark.parametrize(("hidden_size", "limit"), [(4, 20_000), (128, 300_000)])
def test_export_that_does_not_fit_leaves_nothing_behind(
    only_so_many_bytes, owner, tmp_path, config, vocabulary, hidden_size, limit
):
    config = dataclasses.replace(config, hidden_size=hidden_size)
    one = writer_lib.Exporter(config, vocabulary, student=0, reset_at_documents=True)
    given = values(config, seed=1)
    only_so_many_bytes(limit)

    with pytest.raises((OSError, tf.errors.OpError)):
        one.publish(tmp_path, 50, given, owner)
    left = list(tmp_path.iterdir())
    only_so_many_bytes(1 << 30)
    one.publish(tmp_path, 50, given, owner)

    assert left == []
    assert len(publication.committed(tmp_path, "export")) == 1


@pytest.mark.parametrize("point", ["written", "before_rename", "before_marker"])
def test_storage_that_fails_at_any_point_leaves_nothing_behind(
    monkeypatch, writer, owner, tmp_path, config, point
):
    monkeypatch.setenv("LMCODISTILL_FAULT", f"export.{point}@1:fail")
    given = values(config, seed=1)

    with pytest.raises(OSError, match="No space left"):
        writer.publish(tmp_path, 50, given, owner)

    assert list(tmp_path.iterdir()) == []


TRANSFORMER = model_settings.Transformer(
    width=8, num_layers=2, num_heads=2, feed_forward_width=6, memory=3, init_scale=1.3
)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_transformer_is_served_as_it_is_read(vocabulary, owner, tmp_path, dtype):
    text = np.random.default_rng(0).integers(3, 12, [4, 9], np.int32)
    judge = probe.Probe(text[:, :-1], text[:, 1:], np.zeros([4, 8], bool), None)
    quantizer = quantized.Quantizer(dtype, judge, 1.0) if dtype != "float32" else None
    exporter = writer_lib.Exporter(TRANSFORMER, vocabulary, 1, True, quantizer)
    given = values(TRANSFORMER, seed=3)

    snapshot = exporter.publish(tmp_path, 50, given, owner)

    export = reader.read(snapshot)
    assert (export.config, export.dtype) == (TRANSFORMER, dtype)
    largest = {
        name: np.abs(given[name] - w).max() for name, w in export.weights.items()
    }
    assert largest["norm/gain"] == 0.0
    assert (largest["embedding"] == 0.0) == (dtype == "float32")
    assert max(largest.values()) < 0.01
    inputs = np.concatenate([np.full([4, 1], END), text[:, :-1]], 1).astype(np.int32)
    expected = scoring.token_losses(export.build(), inputs, text)
    np.testing.assert_allclose(scores(snapshot.path, text), expected, rtol=1e-5)
