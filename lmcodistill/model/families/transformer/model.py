"""The Transformer language model: embedding, layers, a last norm, the output head."""

from collections.abc import Callable

import tensorflow as tf

from lmcodistill.model import base, dropout
from lmcodistill.model import output_head as output_head_lib
from lmcodistill.model.families.transformer import (
    attention,
    layer,
    memory,
    norm,
    rotary,
)
from lmcodistill.settings import model as settings

# By layer, `layer_0`; and `is_remembered`, see `memory.read_documents`. Empty without
# a memory.
State = dict[str, tf.Tensor | memory.Cache]


class Decoder(base.BaseModel):
    """The Transformer family's `contract.Model`."""

    config: settings.Transformer

    def initial_state(self, rows: int) -> State:
        """Returns a memory of nothing: zeros, none of which is attended to."""
        if not self.config.memory:
            return {}
        return self._blank_state(rows)

    def __call__(
        self,
        tokens: tf.Tensor,
        is_start: tf.Tensor,
        state: State,
        dropout_seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, State]:
        """Reads a window; see `contract.Model`."""
        config = self.config
        state = tf.nest.map_structure(tf.stop_gradient, state)
        if not config.memory:
            state = self._blank_state(tf.shape(tokens)[0])

        new_state: State = {}
        documents, new_state["is_remembered"] = memory.read_documents(
            state["is_remembered"], is_start
        )
        reading = attention.Reading(
            memory.mask(documents, config.memory, self.dtype),
            rotary.rotation(
                tf.range(tf.shape(documents)[1]),
                config.head_width,
                config.rotary_base,
                self.dtype,
            ),
            config.memory,
        )
        x = tf.gather(self.weights["embedding"], tokens)
        x = self._drop(dropout_seed, 0)(tf.cast(x, self.dtype), 0)
        for index in range(config.num_layers):
            name = f"layer_{index}"
            drop = self._drop(dropout_seed, 1 + 2 * index)
            x, *cache = self._layer(reading, drop)(
                x, *state[name], *self._weights_of(name)
            )
            new_state[name] = memory.Cache(*cache)
        x = norm.rms_norm(x, tf.convert_to_tensor(self.weights["norm/gain"]))
        hidden = tf.transpose(x, [1, 0, 2])
        hidden = tf.ensure_shape(hidden, [*tokens.shape[::-1], config.width])
        return hidden, new_state if config.memory else {}

    def output_head(self, hidden: tf.Tensor) -> output_head_lib.OutputHead:
        """Returns the projection to logits; see `contract.Model`."""
        name = "embedding" if self.config.tie_embeddings else "projection/kernel"
        return output_head_lib.OutputHead(
            tf.reshape(hidden, [-1, self.config.width]),
            tf.convert_to_tensor(self.weights[name]),
            tf.zeros([self.vocab_size], self.dtype),
            self.compute_dtype,
        )

    def _blank_state(self, rows: int | tf.Tensor) -> State:
        config = self.config
        blank = memory.empty(
            rows, config.key_value_heads, config.memory, config.head_width, self.dtype
        )
        layers = {f"layer_{index}": blank for index in range(config.num_layers)}
        return {"is_remembered": tf.zeros([rows, config.memory], self.dtype), **layers}

    def _layer(
        self, reading: attention.Reading, drop: Callable[[tf.Tensor, int], tf.Tensor]
    ) -> Callable[..., tuple[tf.Tensor, ...]]:
        """Returns `layer.read` as a function of the residual stream, cache, weights."""

        def compute(x: tf.Tensor, *tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
            size = len(memory.Cache._fields)
            x, cache = layer.read(
                x,
                memory.Cache(*tensors[:size]),
                layer.LayerWeights(*tensors[size:]),
                reading,
                compute_dtype=self.compute_dtype,
                drop=drop,
            )
            return x, *cache

        return self.layer(compute)

    def _drop(
        self, seed: tf.Tensor | None, first: int
    ) -> Callable[[tf.Tensor, int], tf.Tensor]:
        """Returns dropout at the places from `first` on, as `layer.read` takes it."""
        return lambda x, part: dropout.dropped(
            x, self.config.dropout, seed, first + part
        )

    def _weights_of(self, name: str) -> layer.LayerWeights:
        return layer.LayerWeights(
            *(
                tf.convert_to_tensor(self.weights[f"{name}/{part}/{tensor}"])
                for part in ("attention", "feed_forward")
                for tensor in ("gain", "input", "output")
            )
        )
