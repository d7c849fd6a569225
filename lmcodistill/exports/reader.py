"""Exports as readers see them: verified, their tensors read, nothing of them run.

An export is a true SavedModel that any TensorFlow program can serve, with a
manifest that says what it is. Readers here never load its graph, which would
run untrusted code: they check the manifest, verify a copy of the tensors, and
put those into a model that is built here. `writer` writes them.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from lmcodistill import errors
from lmcodistill.data import vocabulary as vocabulary_lib
from lmcodistill.exports import manifest as manifest_lib
from lmcodistill.model import contract, quantization, registry
from lmcodistill.settings import model as model_settings
from lmcodistill.storage import files, publication, scratch, tensors

_VARIABLES = pathlib.PurePath(manifest_lib.VARIABLES).name


@dataclasses.dataclass(frozen=True)
class Export(manifest_lib.Description):
    """An export whose tensors were read and verified.

    Attributes:
        weights: Its tensors by name.
    """

    weights: dict[str, np.ndarray]

    def description(self) -> manifest_lib.Description:
        """Returns all of it but the weights."""
        return manifest_lib.Description.from_header(self.header())

    def build(self) -> contract.Model:
        """Returns the model with these weights, frozen."""
        return registry.build(
            self.config, self.vocab_size, self.weights, trainable=False
        )


def blank(header: dict[str, Any]) -> Export:
    """Returns an export with a header's description and zeros for weights."""
    described = manifest_lib.Description.from_header(header)
    weights = zeros(described.config, described.vocab_size)
    return Export(**vars(described), weights=weights)


def zeros(config: model_settings.ModelConfig, vocab_size: int) -> dict[str, np.ndarray]:
    """Returns zeros for weights."""
    table = quantization.table(config, vocab_size, "float32")
    return {name: np.zeros(*row) for name, row in table.items()}


def read(
    snapshot: publication.Snapshot, expected: manifest_lib.Expected | None = None
) -> Export:
    """Reads and verifies one export.

    Args:
        snapshot: Where it is.
        expected: Whose exports can be used; None: anybody's.

    Raises:
        SnapshotError: it is damaged, tampered with, of another kind, or not finite;
            `reason` says which in one word.
    """
    manifest = snapshot.manifest()
    described = manifest_lib.parse(snapshot, manifest, expected)
    keys = {key_of(name): spec for name, spec in described.tensors.items()}
    with scratch.folder() as local:
        publication.verify(snapshot, manifest, "", local)
        contents = tensors.read(local / _VARIABLES, keys)
    stored = {name: contents[key_of(name)] for name in described.tensors}
    quantization.refuse_tampered(stored, snapshot.path)
    tensors.refuse_non_finite(stored, snapshot.path)
    weights = quantization.dequantized(stored, described.config.weight_dtype)
    return Export(**vars(described), weights=weights)


def key_of(name: str) -> str:
    """Returns the key in a SavedModel's bundle for a tensor's name."""
    path = name.replace("/", ".S").replace(":", "/")
    return f"weights/{path}/.ATTRIBUTES/VARIABLE_VALUE"


def vocabulary_of(snapshot: publication.Snapshot) -> vocabulary_lib.Vocabulary:
    """Returns the vocabulary that travels with an export.

    Raises:
        SnapshotError: it is damaged, or not the one of the export's ids.
        DataError: it is not a vocabulary.
    """
    manifest = snapshot.manifest()
    described = manifest_lib.parse(snapshot, manifest)
    name = manifest_lib.VOCABULARY
    with scratch.folder() as local:
        publication.verify(snapshot, manifest, name, local)
        copy = local / name
        digest = files.sha256_of(copy)
        if digest != described.vocabulary:
            raise errors.SnapshotError(
                f"{snapshot.path} holds the vocabulary {digest[:12]}; its ids mean "
                f"those of {described.vocabulary[:12]}. Use another export.",
                reason="vocabulary",
            )
        vocabulary = vocabulary_lib.Vocabulary.load(copy)
    if vocabulary.size != described.vocab_size:
        raise errors.SnapshotError(
            f"{snapshot.path} predicts {described.vocab_size:,} token ids; its "
            f"vocabulary has {vocabulary.size:,}.",
            reason="vocab_size",
        )
    return vocabulary
