"""The GRU's arithmetic, with TensorFlow's own gradient."""

import tensorflow as tf

from lmcodistill.model import base
from lmcodistill.model import output_head as output_head_lib


class GruModel(base.BaseModel):
    """See `contract.Model`. Its state is one tensor [rows, 1, H], in a list."""

    def initial_state(self, rows):
        return [tf.zeros([rows, 1, self.config.width], self.dtype)]

    def __call__(self, tokens, is_start, state, dropout_seed=None):
        x = tf.cast(tf.gather(self.weights["embedding"], tokens), self.dtype)
        inputs = tf.transpose(self._matmul(x, "cell/input"), [1, 0, 2])
        keep = tf.transpose(1.0 - tf.cast(is_start, self.dtype))[..., None]

        def step(h, inputs_of_token):
            from_input, keep = inputs_of_token
            h *= keep
            from_input = from_input + self.weights["cell/bias"]
            i_reset, i_update, i_candidate = tf.split(from_input, 3, -1)
            reset, update, candidate = tf.split(
                self._matmul(h, "cell/recurrent"), 3, -1
            )
            update = tf.sigmoid(i_update + update)
            candidate = tf.tanh(i_candidate + tf.sigmoid(i_reset + reset) * candidate)
            return update * h + (1.0 - update) * candidate

        before = tf.stop_gradient(state[0][:, 0])
        hidden = tf.scan(step, (inputs, keep), before)
        # The state before is the state after a window without tokens.
        after = tf.concat([before[None], hidden], 0)[-1]
        return hidden, [after[:, None]]

    def output_head(self, hidden):
        return output_head_lib.OutputHead(
            tf.reshape(hidden, [-1, self.config.width]),
            tf.convert_to_tensor(self.weights["embedding"]),
            tf.convert_to_tensor(self.weights["head/bias"]),
            self.compute_dtype,
        )

    def _matmul(self, x, name):
        weight = tf.cast(tf.convert_to_tensor(self.weights[name]), self.compute_dtype)
        return tf.cast(tf.matmul(tf.cast(x, self.compute_dtype), weight), self.dtype)
