"""The LSTM language model: embedding, LSTM layers, projection to logits."""

import functools

import tensorflow as tf

from lmcodistill.model import base, dropout
from lmcodistill.model import output_head as output_head_lib
from lmcodistill.model.families.lstm import layer as lstm
from lmcodistill.settings import model as settings

# By layer: `layer_0`.
State = dict[str, lstm.State]


class Lstm(base.BaseModel):
    """The LSTM family's `contract.Model`."""

    config: settings.LanguageModel

    def initial_state(self, rows: int) -> State:
        """Returns zeros: per layer, h and c [B, H]."""
        zeros = tf.zeros([rows, self.config.hidden_size], self.dtype)
        return {
            f"layer_{index}": lstm.State(zeros, zeros)
            for index in range(self.config.num_layers)
        }

    def __call__(
        self,
        tokens: tf.Tensor,
        is_start: tf.Tensor,
        state: State,
        dropout_seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, State]:
        """Reads a window; see `contract.Model`."""
        keep = tf.transpose(1.0 - tf.cast(is_start, self.dtype))[..., None]
        # Embedded first: oneDNN complains when it is asked to transpose integers.
        x = tf.transpose(tf.gather(self.weights["embedding"], tokens), [1, 0, 2])
        x = tf.cast(x, self.dtype)
        new_state = {}
        for index in range(self.config.num_layers):
            x = dropout.dropped(x, self.config.dropout, dropout_seed, index)
            layer = f"layer_{index}"
            before = (tf.stop_gradient(s) for s in state[layer])
            x, *after = self.layer(functools.partial(self._unrolled, keep))(
                x, *before, *self._weights_of(layer)
            )
            new_state[layer] = lstm.State(*after)
        last = self.config.num_layers
        x = dropout.dropped(x, self.config.dropout, dropout_seed, last)
        return x, new_state

    def output_head(self, hidden: tf.Tensor) -> output_head_lib.OutputHead:
        """Returns the projection to logits; see `contract.Model`."""
        name = "embedding" if self.config.tie_embeddings else "projection/kernel"
        return output_head_lib.OutputHead(
            tf.reshape(hidden, [-1, self.config.hidden_size]),
            tf.convert_to_tensor(self.weights[name]),
            tf.convert_to_tensor(self.weights["projection/bias"]),
            self.compute_dtype,
        )

    def _unrolled(
        self, keep: tf.Tensor, x: tf.Tensor, *tensors: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns the outputs and the state of a layer; see `lstm.unroll`."""
        size = len(lstm.State._fields)
        outputs, state = lstm.unroll(
            x,
            keep,
            lstm.State(*tensors[:size]),
            lstm.Weights(*tensors[size:]),
            forget_bias=self.config.forget_bias,
            compute_dtype=self.compute_dtype,
            is_trained=self.is_trained,
        )
        return outputs, *state

    def _weights_of(self, layer: str) -> list[tf.Tensor]:
        """Returns the tensors of `lstm.Weights` that a layer has, in order."""
        names = (f"{layer}/{name}" for name in lstm.Weights._fields)
        return [
            tf.convert_to_tensor(self.weights[n]) for n in names if n in self.weights
        ]
