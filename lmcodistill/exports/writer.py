"""Writes exports of one student: a SavedModel that anyone can serve.

The serving graph does not change while a student trains, so TensorFlow saves it
once, of a twin with zeros for weights. An export is that graph with other
tensors; writing one needs NumPy arrays and touches neither the student nor its
strategy, so it may happen in another thread.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.data import vocabulary as vocabulary_lib
from lmcodistill.exports import manifest, quantized, reader
from lmcodistill.model import contract, quantization, registry, scoring
from lmcodistill.settings import model as model_settings
from lmcodistill.storage import layout, places, publication, scratch, tensors

# Who serves a model does not train it; the backward pass stays out.
SAVE_OPTIONS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)

Weights = Mapping[str, np.ndarray]


def weights_of(model: contract.Model) -> dict[str, np.ndarray]:
    """Returns a copy of a model's weights that training does not change."""
    return {name: variable.numpy() for name, variable in model.weights.items()}


def refuse_non_finite(weights: Mapping[str, Any], step: int) -> None:
    """Refuses weights that nobody should load, neither peers nor the student itself.

    Args:
        weights: Arrays or variables by name.
        step: After how many updates.

    Raises:
        DivergedError: a weight is not finite.
    """
    for name, value in weights.items():
        if not np.isfinite(np.asarray(value)).all():
            raise errors.DivergedError(
                f"Weight {name} is not finite after step {step}: training diverged. "
                "Nothing was saved. Lower LEARNING_RATE or Optimizer.clip_norm and go "
                "on from the last checkpoint, which is from before."
            )


@dataclasses.dataclass
class Exporter:
    """What all exports of one student have in common.

    Making one saves the serving graph; it takes a second or two, so once per run.

    Attributes:
        config: The student's model.
        vocabulary: What its ids mean; a copy goes into every export.
        student: Index of the publishing student.
        reset_at_documents: How it is trained; evaluation does the same.
        quantizer: Quantizes the weights; None: they stay as they are.
    """

    config: model_settings.ModelConfig
    vocabulary: vocabulary_lib.Vocabulary
    student: int
    reset_at_documents: bool
    quantizer: quantized.Quantizer | None = None

    def __post_init__(self) -> None:
        dtype = self.quantizer.dtype if self.quantizer else "float32"
        # Another graph is seldom needed: for what would lose too much.
        self._saved = {dtype: self._save(dtype)}

    def publish(
        self,
        folder: places.Place,
        step: int,
        weights: Weights,
        owner: publication.Owner,
    ) -> publication.Snapshot:
        """Publishes weights for the student's peers; in any thread.

        Args:
            folder: The student's folder of exports.
            step: After how many updates.
            weights: By name; nobody may change them meanwhile.
            owner: Who may write for the student now.

        Raises:
            DivergedError: a weight is not finite; nothing is published.
            GroupLostError: another process took over; nothing is published.
            OSError: storage failed; nothing is published.
        """
        refuse_non_finite(weights, step)
        described = manifest.Description(
            source=str(folder),
            student=self.student,
            step=step,
            config=self.config,
            vocab_size=self.vocabulary.size,
            vocabulary=self.vocabulary.fingerprint,
            reset_at_documents=self.reset_at_documents,
            generation=owner.generation,
        )
        stored = quantized.Stored("float32", weights, {})
        if self.quantizer is not None:
            export = reader.Export(**vars(described), weights=dict(weights))
            stored = self.quantizer(export)
        described = dataclasses.replace(described, dtype=stored.dtype)
        return publication.publish(
            folder,
            layout.EXPORT,
            step,
            lambda path: self._write(path, stored),
            {
                **described.to_manifest(),
                **stored.manifest,
                "tensorflow": tf.__version__,
            },
            owner,
        )

    def _write(self, path: pathlib.Path, stored: quantized.Stored) -> None:
        """Fills a local folder with one export."""
        if stored.dtype not in self._saved:
            self._saved[stored.dtype] = self._save(stored.dtype)
        graph, object_graph = self._saved[stored.dtype]
        variables = path / manifest.VARIABLES
        variables.parent.mkdir(parents=True)
        (path / manifest.VOCABULARY).write_bytes(self.vocabulary.model)
        (path / manifest.GRAPH).write_bytes(graph)
        values = {reader.key_of(name): x for name, x in stored.tensors.items()}
        tensors.write(variables, values | {tensors.OBJECT_GRAPH: object_graph})

    def _save(self, dtype: str) -> tuple[bytes, np.ndarray]:
        """Returns the files of a SavedModel that do not depend on the weights.

        Its fingerprint.pb would: it has a digest of the tensors' index. Programs
        do without that file.
        """
        size = self.vocabulary.size
        with scratch.folder() as root:
            # The host's memory: the twin must take none of the accelerator's.
            with tf.device("CPU:0"):
                zeros = reader.zeros(self.config, size)
                twin = registry.build(self.config, size, zeros)
                if dtype != "float32":
                    stored = quantization.quantized(self.config, size, zeros, dtype)
                    twin.weights = dict(twin.weights) | {
                        name: _QuantizedWeight(name, twin.dtype, stored)
                        for name in twin.weights
                        if name + quantization.VALUES in stored
                    }
                tf.saved_model.save(
                    twin,
                    str(root / manifest.SAVED_MODEL),
                    signatures={"score": _score(twin, self.vocabulary.end_id)},
                    options=SAVE_OPTIONS,
                )
            saved = tf.train.load_checkpoint(str(root / manifest.VARIABLES))
            return (root / manifest.GRAPH).read_bytes(), saved.get_tensor(
                tensors.OBJECT_GRAPH
            )


class _QuantizedWeight(tf.Module):
    """A quantized weight, which is dequantized where it is used."""

    def __init__(self, name: str, dtype: tf.DType, stored: Weights):
        super().__init__()
        self._dtype = dtype
        values = stored[name + quantization.VALUES]
        self.values = tf.Variable(values, trainable=False)
        scale = stored.get(name + quantization.SCALE)
        if scale is not None:
            self.scale = tf.Variable(scale, trainable=False)

    def __tf_tensor__(
        self, dtype: tf.DType | None = None, name: str | None = None
    ) -> tf.Tensor:
        weight = tf.cast(self.values, self._dtype)
        return weight * self.scale if hasattr(self, "scale") else weight


def _score(model: contract.Model, end_id: int) -> Callable[..., dict[str, tf.Tensor]]:
    """Returns the serving signature: ids in, nats per token out."""

    @tf.function(
        input_signature=[tf.TensorSpec([None, None], tf.int32, name="tokens")],
        autograph=False,
    )
    def score(tokens: tf.Tensor) -> dict[str, tf.Tensor]:
        first = tf.fill([tf.shape(tokens)[0], 1], end_id)
        inputs = tf.concat([first, tokens[:, :-1]], 1)
        return {"cross_entropy": scoring.token_losses(model, inputs, tokens)}

    return score
