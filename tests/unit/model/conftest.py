"""What the tests of the model share: the layer that TensorFlow differentiates."""

from collections.abc import Callable

import pytest
import tensorflow as tf

from lmcodistill.model.families.lstm import layer as lstm


@pytest.fixture
def plain_layer() -> Callable[..., tuple[tf.Tensor, lstm.State]]:
    """The layer of the LSTM family in plain operations, with an automatic gradient."""

    def plain_layer(x, keep, state, weights, forget_bias=1.0):
        """The layer in plain operations, which TensorFlow differentiates itself."""
        h, c = state
        outputs = []
        for x_t, keep_t in zip(tf.unstack(x), tf.unstack(keep), strict=True):
            h, c = h * keep_t, c * keep_t
            z = x_t @ weights.input_kernel + h @ weights.recurrent_kernel
            gates = tf.split(z, 4, axis=1)
            if weights.gain is not None:
                for index, gain in enumerate(tf.split(weights.gain, 4)):
                    mean, variance = tf.nn.moments(gates[index], [1], keepdims=True)
                    deviation = tf.sqrt(variance + 1e-5)
                    gates[index] = gain * (gates[index] - mean) / deviation
            shifts = tf.split(weights.shift, 4)
            i, f, o, j = (a + b for a, b in zip(gates, shifts, strict=True))
            c = tf.sigmoid(f + forget_bias) * c + tf.sigmoid(i) * tf.tanh(j)
            h = tf.sigmoid(o) * tf.tanh(c)
            outputs.append(h)
        return tf.stack(outputs), lstm.State(h, c)

    return plain_layer
