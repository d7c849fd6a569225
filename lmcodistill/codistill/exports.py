"""Exports: a student's published weights, and how a peer's are read.

An export is a true SavedModel that any TensorFlow program can serve, with a
manifest that says what it is. Readers here never load its graph, which would
run a stranger's code: they verify a copy, read the tensors, and check them
against the configuration in the manifest.
"""

import dataclasses
import pathlib
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.data import vocabulary as vocabulary_lib
from lmcodistill.model import language_model
from lmcodistill.model import weights as weights_lib
from lmcodistill.settings import model as model_settings
from lmcodistill.storage import layout, publication, tensors

FORMAT_VERSION = 1
_SAVED_MODEL = "saved_model"
_VARIABLES = "saved_model/variables/"
_VOCABULARY = "vocabulary.model"
# Who serves a model does not train it; the backward pass stays out.
SAVE_OPTIONS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)


@dataclasses.dataclass(frozen=True)
class Export:
    """An export that was read and found whole.

    Attributes:
        source: The folder it came from.
        student: Who published it.
        step: After how many updates.
        config: The model's configuration.
        vocab_size: V.
        vocabulary: Fingerprint of the vocabulary its ids mean.
        reset_at_documents: Whether it was trained with zero state at the start
            of every document.
        weights: Its tensors by name.
    """

    source: pathlib.Path
    student: int
    step: int
    config: model_settings.LanguageModel
    vocab_size: int
    vocabulary: str
    reset_at_documents: bool
    weights: dict[str, np.ndarray]

    @property
    def label(self) -> str:
        """What people call it: whose it is, and of which step."""
        return f"student {self.student}, step {self.step}"

    def header(self) -> dict[str, Any]:
        """Returns all but the weights, as JSON."""
        return {
            "source": str(self.source),
            "student": self.student,
            "step": self.step,
            "config": self.config.to_json(),
            "vocab_size": self.vocab_size,
            "vocabulary": self.vocabulary,
            "reset_at_documents": self.reset_at_documents,
        }

    def build(self) -> language_model.LanguageModel:
        """Returns the model with these weights, frozen."""
        return language_model.LanguageModel(
            self.config, self.vocab_size, self.weights, trainable=False
        )


def blank(header: dict[str, Any]) -> Export:
    """Returns an export with a header's description and zeros for weights."""
    config = model_settings.LanguageModel(**header["config"])
    shapes = weights_lib.shapes(config, header["vocab_size"])
    zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    return Export(
        **{**header, "source": pathlib.Path(header["source"]), "config": config},
        weights=zeros,
    )


def refuse_non_finite(model: language_model.LanguageModel, step: int) -> None:
    """Refuses weights that nobody should load, a pupil or the student itself.

    Raises:
        DivergedError: a weight is not finite.
    """
    for name, variable in model.weights.items():
        if not np.isfinite(variable.numpy()).all():
            raise errors.DivergedError(
                f"Weight {name} is not finite after step {step}: training diverged. "
                "Nothing was saved. Lower LEARNING_RATE or Optimizer.clip_norm and go "
                "on from the last checkpoint, which is from before."
            )


def publish(
    folder: pathlib.Path,
    step: int,
    model: language_model.LanguageModel,
    vocabulary: vocabulary_lib.Vocabulary,
    *,
    student: int,
    reset_at_documents: bool,
) -> publication.Snapshot:
    """Publishes a model for its peers.

    Args:
        folder: The student's folder of exports.
        step: After how many updates.
        model: Whose weights.
        vocabulary: What its ids mean; a copy goes into the export.
        student: Index of the publishing student.
        reset_at_documents: How it was trained; evaluation does the same.

    Raises:
        DivergedError: a weight is not finite; nothing is published.
    """
    refuse_non_finite(model, step)

    def write(path: pathlib.Path) -> None:
        (path / _VOCABULARY).write_bytes(vocabulary.model)
        tf.saved_model.save(
            model,
            str(path / _SAVED_MODEL),
            signatures={"score": _score_function(model, vocabulary.end_id)},
            options=SAVE_OPTIONS,
        )

    manifest = {
        "format_version": FORMAT_VERSION,
        "kind": "export",
        "student": student,
        "vocabulary": vocabulary.fingerprint,
        "vocab_size": model.vocab_size,
        "reset_at_documents": reset_at_documents,
        "model": model.config.to_json(),
        "model_fingerprint": model.config.fingerprint(),
        "tensors": {
            name: {"shape": list(v.shape), "dtype": v.dtype.name}
            for name, v in model.weights.items()
        },
        "tensorflow": tf.__version__,
    }
    return publication.publish(folder, layout.EXPORT, step, write, manifest)


def _score_function(model: language_model.LanguageModel, end_id: int):
    """Returns the serving signature: ids in, nats per token out."""

    @tf.function(
        input_signature=[tf.TensorSpec([None, None], tf.int32, name="tokens")],
        autograph=False,
    )
    def score(tokens):
        first = tf.fill([tf.shape(tokens)[0], 1], end_id)
        inputs = tf.concat([first, tokens[:, :-1]], 1)
        return {"cross_entropy": language_model.token_losses(model, inputs, tokens)}

    return score


def read(snapshot: publication.Snapshot) -> Export:
    """Reads and verifies one export.

    Raises:
        SnapshotError: it is damaged, of another format, or not finite.
    """
    manifest = snapshot.manifest()
    described = _checked_description(snapshot, manifest)
    with tempfile.TemporaryDirectory(prefix="lmcodistill-") as local:
        publication.copy_verified(snapshot, manifest, _VARIABLES, pathlib.Path(local))
        found = tensors.read(pathlib.Path(local) / "variables")
    weights = {_name_of(key): value for key, value in found.items()}
    config, vocab_size = described["config"], described["vocab_size"]
    # Before a table of so many is made: the number is a stranger's.
    if config.num_layers > len(weights):
        raise errors.SnapshotError(
            f"{snapshot.path} describes {config.num_layers} layers and holds "
            f"{len(weights)} tensors. It belongs to a model of another configuration."
        )
    expected = weights_lib.shapes(config, vocab_size)
    tensors.check_table(weights, expected, snapshot.path)
    return Export(**described, weights=weights)


def _checked_description(
    snapshot: publication.Snapshot, manifest: dict[str, Any]
) -> dict[str, Any]:
    """Returns all of an export but its weights."""
    version, kind = manifest.get("format_version"), manifest.get("kind")
    if kind != "export" or version != FORMAT_VERSION:
        raise errors.SnapshotError(
            f"{snapshot.path} is a {kind!r} of format {version!r}; this program reads "
            f"exports of format {FORMAT_VERSION}."
        )
    try:
        return {
            "source": snapshot.path,
            "student": int(manifest["student"]),
            "step": snapshot.step,
            "config": model_settings.LanguageModel(**manifest["model"]),
            "vocab_size": int(manifest["vocab_size"]),
            "vocabulary": str(manifest["vocabulary"]),
            "reset_at_documents": bool(manifest["reset_at_documents"]),
        }
    except (KeyError, TypeError, ValueError, errors.UsageError) as error:
        raise errors.SnapshotError(
            f"{snapshot.path} describes a model that this program cannot build: "
            f"{error!r}"
        ) from error


def _name_of(key: str) -> str:
    """Returns a weight's name for its key in the SavedModel's bundle."""
    name = key.removeprefix("weights/").removesuffix("/.ATTRIBUTES/VARIABLE_VALUE")
    return name.replace(".S", "/")


def vocabulary_of(snapshot: publication.Snapshot) -> vocabulary_lib.Vocabulary:
    """Returns the vocabulary that travels with an export.

    Raises:
        SnapshotError: it is damaged.
        DataError: it is not a vocabulary.
    """
    with tempfile.TemporaryDirectory(prefix="lmcodistill-") as local:
        publication.copy_verified(
            snapshot, snapshot.manifest(), _VOCABULARY, pathlib.Path(local)
        )
        return vocabulary_lib.Vocabulary.load(pathlib.Path(local) / _VOCABULARY)
