"""Manifests: what is written of the LSTM stays as it was; families are named."""

import hashlib

import pytest

from lmcodistill import errors
from lmcodistill.exports import manifest, reader
from lmcodistill.settings import model as settings
from lmcodistill.storage import files
from tests.support.gru import family as gru


def described(config, dtype="float32"):
    return manifest.Description(
        source="s",
        student=1,
        step=2,
        config=config,
        vocab_size=12,
        vocabulary="a" * 64,
        reset_at_documents=True,
        generation=3,
        dtype=dtype,
    )


@pytest.mark.parametrize(
    ("dtype", "digest"),
    [
        ("float32", "7a4ebf94146abe4348b2d683fa39dc150ba9166ccf915c2e062e82f26f485d80"),
        ("int8", "24b1fa000a48cdef2cb22cee6eedf2660375daeea2048a619aa48cc1390a2625"),
    ],
)
def test_manifest_of_an_lstm_is_what_it_was_before_there_were_families(dtype, digest):
    config = settings.LanguageModel(embedding_size=3, num_layers=2, hidden_size=4)

    text = files.to_json(described(config, dtype).to_manifest())

    # Of the manifests that the program wrote on 2026-11-28; older programs read them.
    assert hashlib.sha256(text.encode()).hexdigest() == digest


@pytest.mark.parametrize("name", ["gru", "LSTM", "", 3, None, ["lstm"], {"a": 1}])
def test_family_that_is_not_installed_is_refused(bench, name):
    bench.change(model_family=name)

    with pytest.raises(errors.SnapshotError, match="is installed here") as refusal:
        reader.read(bench.snapshot)

    assert refusal.value.reason == "model"


def test_configuration_of_another_family_is_refused(bench, monkeypatch):
    monkeypatch.setattr(manifest.registry, "families", lambda: {"gru": gru.FAMILY})
    bench.change(model_family="gru")

    with pytest.raises(errors.SnapshotError, match="it lacks or adds") as refusal:
        reader.read(bench.snapshot)

    assert refusal.value.reason == "model"


def test_more_layers_than_any_model_has_are_refused_at_once(bench):
    config = bench.manifest()["model"] | {"num_layers": 1 << 24}
    fingerprint = settings.LanguageModel(**config).fingerprint()
    bench.change(model=config, model_fingerprint=fingerprint)

    with pytest.raises(errors.SnapshotError, match="more than 4,096") as refusal:
        reader.read(bench.snapshot)

    assert refusal.value.reason == "model"


def test_header_brings_the_family_along(monkeypatch):
    config = gru.Gru(width=3)
    monkeypatch.setattr(manifest.registry, "families", lambda: {"gru": gru.FAMILY})
    export = described(config)

    blank = reader.blank(export.header())

    assert blank.config == config
    assert blank.weights["cell/input"].shape == (3, 9)
