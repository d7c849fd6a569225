"""The language model: embedding, LSTM layers, projection to logits.

Two methods and a read-out are the whole contract: `initial_state`, `__call__`
from tokens to features, and `readout`, which leaves the product with the
vocabulary to whoever walks over positions in chunks.
"""

import numpy as np
import tensorflow as tf

from lmcodistill.model import lstm, objective
from lmcodistill.settings import model as settings

ModelState = tuple[lstm.State, ...]


def num_parameters(config: settings.LanguageModel, vocab_size: int) -> int:
    """Returns how many weights the model has."""
    return sum(int(np.prod(shape)) for shape in weight_shapes(config, vocab_size).values())


def weight_shapes(
    config: settings.LanguageModel, vocab_size: int
) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every weight, by the name it has in snapshots."""
    embedding, hidden = config.embedding_size, config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {"embedding": (vocab_size, embedding)}
    for layer in range(config.num_layers):
        prefix = f"layer_{layer}/"
        shapes[prefix + "input_kernel"] = (embedding if layer == 0 else hidden, 4 * hidden)
        shapes[prefix + "recurrent_kernel"] = (hidden, 4 * hidden)
        shapes[prefix + "shift"] = (4 * hidden,)
        if config.layer_norm:
            shapes[prefix + "gain"] = (4 * hidden,)
    if not config.tie_embeddings:
        shapes["projection/kernel"] = (vocab_size, hidden)
    shapes["projection/bias"] = (vocab_size,)
    return shapes


def initial_weights(
    config: settings.LanguageModel, vocab_size: int, seed: int
) -> dict[str, np.ndarray]:
    """Returns new float32 weights; the same for the same arguments, anywhere."""
    weights = {}
    for index, (name, shape) in enumerate(weight_shapes(config, vocab_size).items()):
        if name.endswith(("shift", "bias")):
            weights[name] = np.zeros(shape, np.float32)
        elif name.endswith("gain"):
            weights[name] = np.ones(shape, np.float32)
        else:
            width = config.init_scale
            if config.initializer == "glorot":
                # A gate's fan-out is H, not the 4H of the four side by side; an
                # embedding or a projection counts its row, not the vocabulary.
                fan_in, fan_out = shape if shape[0] != vocab_size else shape[1:] * 2
                fan_out = fan_out // 4 if name.startswith("layer_") else fan_out
                width *= (6.0 / (fan_in + fan_out)) ** 0.5
            generator = np.random.Generator(np.random.PCG64([seed, index]))
            values = generator.random(shape, np.float32)
            weights[name] = (2.0 * values - 1.0) * np.float32(width)
    return weights


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
            weights: Values of all weights, named and shaped as `weight_shapes`.
            trainable: False for a teacher.
        """
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.compute_dtype = tf.as_dtype(config.compute_dtype)
        self.dtype = tf.float64 if config.compute_dtype == "float64" else tf.float32
        self.weights = {
            name: tf.Variable(
                weights[name], name=name, dtype=self.dtype, trainable=trainable
            )
            for name in weight_shapes(config, vocab_size)
        }

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
        unroll = lstm.unroll if tokens.shape[1] is not None else lstm.unroll_dynamic
        keep = 1.0 - tf.cast(tf.transpose(is_start), self.dtype)[..., None]
        x = tf.gather(self.weights["embedding"], tf.transpose(tokens))
        new_state = []
        for index, layer_state in enumerate(state):
            x = self._dropped(x, dropout_seed, index)
            x, carried = unroll(
                x,
                keep,
                lstm.State(*(tf.stop_gradient(s) for s in layer_state)),
                self._layer(index),
                forget_bias=self.config.forget_bias,
                compute_dtype=self.compute_dtype,
            )
            new_state.append(carried)
        x = self._dropped(x, dropout_seed, len(state))
        return x, tuple(new_state)

    def readout(self, features: tf.Tensor) -> objective.Readout:
        """Returns what makes logits of features.

        Args:
            features: [T, B, H]; becomes [N, H], time-major.
        """
        name = "embedding" if self.config.tie_embeddings else "projection/kernel"
        return objective.Readout(
            tf.reshape(features, [-1, self.config.hidden_size]),
            tf.convert_to_tensor(self.weights[name]),
            tf.convert_to_tensor(self.weights["projection/bias"]),
            self.compute_dtype,
        )

    def _layer(self, index: int) -> lstm.Weights:
        prefix = f"layer_{index}/"
        tensors = [
            tf.convert_to_tensor(self.weights[prefix + name])
            for name in ("input_kernel", "recurrent_kernel", "shift")
        ]
        gain = self.weights.get(prefix + "gain")
        return lstm.Weights(
            *tensors, None if gain is None else tf.convert_to_tensor(gain)
        )

    def _dropped(self, x, seed, index):
        if seed is None or not self.config.dropout:
            return x
        return tf.nn.experimental.stateless_dropout(
            x, self.config.dropout, seed=seed + [index, 0]
        )
