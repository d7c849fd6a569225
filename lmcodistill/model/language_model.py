"""The language model: embedding, LSTM layers, projection to logits.

Two methods and a read-out are the whole contract: `initial_state`, `__call__`
from tokens to features, and `readout`, which leaves the product with the
vocabulary to whoever walks over positions in chunks.
"""

import numpy as np
import tensorflow as tf

from lmcodistill.model import lstm, output_head
from lmcodistill.model import weights as weights_lib
from lmcodistill.settings import model as settings

ModelState = tuple[lstm.State, ...]


class LanguageModel(tf.Module):
    """An LSTM language model over token ids.

    Attributes:
        config: What it is.
        vocab_size: V.
        weights: Its variables by the name they have in snapshots.
    """

    def __init__(
        self,
        config: settings.LanguageModel,
        vocab_size: int,
        weights: dict[str, np.ndarray],
        *,
        trainable: bool = True,
    ):
        """Makes the variables; inside a strategy's scope they are mirrored.

        Args:
            config: What to build.
            vocab_size: V.
            weights: Values of all weights, named and shaped as `weights.shapes`.
            trainable: False for a teacher.
        """
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self._is_trained = trainable
        self.compute_dtype = tf.as_dtype(config.compute_dtype)
        self.dtype = tf.as_dtype(config.weight_dtype)
        self.weights = {
            name: self._variable(name, weights[name])
            for name in weights_lib.shapes(config, vocab_size)
        }

    def _variable(self, name: str, value: np.ndarray) -> tf.Variable:
        # What nothing updates may as well be kept in the type that it is multiplied
        # in: a teacher's matrices are cast once per swap and not in every step.
        is_kept_narrow = np.ndim(value) == 2 and not self._is_trained
        dtype = self.compute_dtype if is_kept_narrow else self.dtype
        return tf.Variable(tf.cast(value, dtype), name=name, trainable=self._is_trained)

    def initial_state(self, batch_size: int) -> ModelState:
        """Returns zeros: per layer, h and c [B, H]."""
        zeros = tf.zeros([batch_size, self.config.hidden_size], self.dtype)
        return tuple(lstm.State(zeros, zeros) for _ in range(self.config.num_layers))

    def __call__(
        self,
        tokens: tf.Tensor,
        is_start: tf.Tensor,
        state: ModelState,
        dropout_seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, ModelState]:
        """Reads a window.

        Args:
            tokens: [B, T] int32.
            is_start: [B, T] bool, True where the state is zeroed before the
                token is read.
            state: The state carried into the window; no gradient leaves the
                window through it.
            dropout_seed: [2] int32; None switches dropout off.

        Returns:
            [T, B, H] features, time-major, and the state to carry on.
        """
        keep = tf.transpose(1.0 - tf.cast(is_start, self.dtype))[..., None]
        # Embedded first: oneDNN complains when it is asked to transpose integers.
        x = tf.transpose(tf.gather(self.weights["embedding"], tokens), [1, 0, 2])
        x = tf.cast(x, self.dtype)
        new_state = []
        for index, layer_state in enumerate(state):
            x = self._dropped(x, dropout_seed, index)
            x, carried = lstm.unroll(
                x,
                keep,
                lstm.State(*(tf.stop_gradient(s) for s in layer_state)),
                self._layer(index),
                forget_bias=self.config.forget_bias,
                compute_dtype=self.compute_dtype,
                is_trained=self._is_trained,
            )
            new_state.append(carried)
        x = self._dropped(x, dropout_seed, len(state))
        return x, tuple(new_state)

    def readout(self, features: tf.Tensor) -> output_head.Readout:
        """Returns what makes logits of features.

        Args:
            features: [T, B, H]; becomes [N, H], time-major.
        """
        name = "embedding" if self.config.tie_embeddings else "projection/kernel"
        return output_head.Readout(
            tf.reshape(features, [-1, self.config.hidden_size]),
            tf.convert_to_tensor(self.weights[name]),
            tf.convert_to_tensor(self.weights["projection/bias"]),
            self.compute_dtype,
        )

    def _layer(self, index: int) -> lstm.Weights:
        def tensor(name):
            variable = self.weights.get(f"layer_{index}/{name}")
            return None if variable is None else tf.convert_to_tensor(variable)

        return lstm.Weights(*(tensor(name) for name in lstm.Weights._fields))

    def _dropped(self, x, seed, index):
        if seed is None or not self.config.dropout:
            return x
        return tf.nn.experimental.stateless_dropout(
            x, self.config.dropout, seed=seed + [index, 0]
        )


def token_losses(
    model: LanguageModel, inputs: tf.Tensor, targets: tf.Tensor
) -> tf.Tensor:
    """Returns the cross entropy of whole texts, for serving.

    Holds `[B, T, V]`: windows of training and evaluation go through
    `objective.py`.

    Args:
        model: What predicts.
        inputs: [B, T] int32; the first of each row is `</s>`.
        targets: [B, T] int32, the token after each.

    Returns:
        [B, T], nats.
    """
    batch_size, length = tf.shape(inputs)[0], tf.shape(inputs)[1]
    starts = tf.one_hot(0, length, True, False, dtype=tf.bool)
    is_start = tf.broadcast_to(starts, [batch_size, length])
    features, _ = model(inputs, is_start, model.initial_state(batch_size))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.reshape(targets, [-1]),
        output_head.logits_of(model.readout(tf.transpose(features, [1, 0, 2]))),
    )
    return tf.reshape(losses, [batch_size, length])
