"""One LSTM layer over one window, with its own backward pass.

Automatic differentiation through T steps would make T small matmuls and T
accumulations for the recurrent weights. Here only the two matmuls that are
truly sequential stay in the loops, `h @ Wh` and `dz @ Wh^T`; the gradients of
the weights and of the input are one large matmul each, afterwards.

The cell, per step, with gates i, f, o and candidate j side by side in 4H:

    z = x Wx + h Wh                         (plain: + shift)
    a = gain * (z - mean(z)) / std(z) + shift    per gate, if layer-normalised
    c = sigmoid(a_f + forget_bias) * c + sigmoid(a_i) * tanh(a_j)
    h = sigmoid(a_o) * tanh(c)

Layer normalisation follows Ba et al. 2016 (arXiv:1607.06450). Differs from
theirs: the sum of the two matmuls is normalised once, per gate, and the cell
is not, which is what the recurrent toolkits of the paper's time did.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from lmcodistill.model import mixed_precision

NORM_EPSILON = 1e-5


class State(NamedTuple):
    """What a layer carries from token to token.

    Attributes:
        h: [B, H], the output.
        c: [B, H], the cell.
    """

    h: tf.Tensor
    c: tf.Tensor


class Weights(NamedTuple):
    """The tensors of one layer.

    Attributes:
        input_kernel: [D, 4H].
        recurrent_kernel: [H, 4H].
        shift: [4H], the bias (added after normalisation, if there is any).
        gain: [4H], or None for the plain LSTM.
    """

    input_kernel: tf.Tensor
    recurrent_kernel: tf.Tensor
    shift: tf.Tensor
    gain: tf.Tensor | None = None


class _Step(NamedTuple):
    """What one step leaves for the backward pass; in a loop, a TensorArray of it."""

    c_before: tf.Tensor  # [B, H], already zeroed.
    sigmoids: tf.Tensor  # [B, 3H], of i, f, o.
    candidate: tf.Tensor  # [B, H], tanh of j.
    tanh_c: tf.Tensor  # [B, H].
    normal: tf.Tensor  # [B, 4, H], normalised pre-activations; else [B, 0, H].
    inverse_std: tf.Tensor  # [B, 4, 1]; else [B, 0, 1].


# A row of 2^n numbers puts all rows of a kernel into the same few places of the
# cache: [32, 1024] by [1024, 4096] ran at half the rate of the same matmul with 32
# more columns (35 against 68 GFLOPs per CPU second, 2026-11-22).
_PADDING = 32


def _times(
    kernel: tf.Tensor, compute_dtype: tf.DType
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns a function that multiplies [B, K] by `kernel` [K, N], again and again.

    What can be done once for all of them is done here: the cast, which would read
    the kernel each time, and padding its rows.
    """
    padded = tf.pad(tf.cast(kernel, compute_dtype), [[0, 0], [0, _PADDING]])
    return lambda x: mixed_precision.matmul(x, padded, compute_dtype)[
        :, : kernel.shape[1]
    ]


def _normalise(z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Normalises [B, 4H] per gate; returns [B, 4, H] and 1/std [B, 4, 1]."""
    z = tf.reshape(z, [-1, 4, z.shape[-1] // 4])
    centred = z - tf.reduce_mean(z, -1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
    inverse_std = tf.math.rsqrt(variance + NORM_EPSILON)
    return centred * inverse_std, inverse_std


def _forward_step(
    z: tf.Tensor,  # [B, 4H], both matmuls summed.
    c_before: tf.Tensor,  # [B, H], the cell before, zeroed where it must be.
    gain: tf.Tensor | None,  # [4H].
    bias: tf.Tensor,  # [4H], shift and forget bias.
) -> tuple[tf.Tensor, tf.Tensor, _Step]:
    """Returns the new h and c, and what the backward pass needs."""
    hidden_size = c_before.shape[-1]
    if gain is None:
        normal = tf.reshape(z[:, :0], [-1, 0, hidden_size])
        inverse_std = normal[:, :, :1]
    else:
        normal, inverse_std = _normalise(z)
        z = tf.reshape(normal, tf.shape(z)) * gain
    z += bias
    sigmoids = tf.sigmoid(z[:, : 3 * hidden_size])
    candidate = tf.tanh(z[:, 3 * hidden_size :])
    i, f, o = tf.split(sigmoids, 3, axis=-1)
    c = f * c_before + i * candidate
    tanh_c = tf.tanh(c)
    saved = _Step(c_before, sigmoids, candidate, tanh_c, normal, inverse_std)
    return o * tanh_c, c, saved


def _backward_step(
    saved: _Step,
    dh: tf.Tensor,  # [B, H], of the step's output, all its uses summed.
    dc: tf.Tensor,  # [B, H], of the step's cell, from the step after.
    gain: tf.Tensor | None,  # [4H].
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns dz and da [B, 4H], and the gradient of the zeroed cell before."""
    # The slopes' own kernels: one launch each. Written as tensors they took up to four,
    # and the step of 64 units 1.00 to 1.05 of the time (2026-12-01).
    slope_of_sigmoid, slope_of_tanh = tf.raw_ops.SigmoidGrad, tf.raw_ops.TanhGrad
    i, f, o = tf.split(saved.sigmoids, 3, axis=-1)
    dc += slope_of_tanh(y=saved.tanh_c, dy=dh * o)
    dsigmoids = tf.concat(
        [dc * saved.candidate, dc * saved.c_before, dh * saved.tanh_c], -1
    )
    da = tf.concat(
        [
            slope_of_sigmoid(y=saved.sigmoids, dy=dsigmoids),
            slope_of_tanh(y=saved.candidate, dy=dc * i),
        ],
        -1,
    )
    dz = da
    if gain is not None:
        dnormal = tf.reshape(da * gain, tf.shape(saved.normal))
        mean = tf.reduce_mean(dnormal, -1, keepdims=True)
        slope = tf.reduce_mean(dnormal * saved.normal, -1, keepdims=True)
        dz = (dnormal - mean - saved.normal * slope) * saved.inverse_std
        dz = tf.reshape(dz, tf.shape(da))
    return dz, da, dc * f


def unroll(
    x: tf.Tensor,
    keep: tf.Tensor,
    state: State,
    weights: Weights,
    *,
    forget_bias: float,
    compute_dtype: tf.DType,
    is_trained: bool,
) -> tuple[tf.Tensor, State]:
    """Runs the layer over a window.

    Args:
        x: [T, B, D] float; T and B may be known only when it runs.
        keep: [T, B, 1], 0.0 where the state is zeroed before the token is read.
        state: The state carried into the window.
        weights: The layer's tensors.
        forget_bias: Added to the forget gate's pre-activation.
        compute_dtype: Type of the operands of the matmuls.
        is_trained: Whether a gradient will be asked for; what it needs is kept
            from every step, about 11 times the outputs.

    Returns:
        [T, B, H] outputs in the type of `x`, and the state to carry on.
    """
    hidden_size = state.h.shape[-1]
    zeros = tf.zeros([hidden_size], x.dtype)
    forget = tf.concat([zeros, zeros + forget_bias, zeros, zeros], 0)

    def forward(x: tf.Tensor, state: State, weights: Weights) -> tuple[tuple, Any]:
        from_input = tf.reshape(
            mixed_precision.matmul(_flat(x), weights.input_kernel, compute_dtype),
            [tf.shape(x)[0], tf.shape(x)[1], 4 * hidden_size],
        )
        from_input, keeps = _array_of(from_input), _array_of(keep)
        times_kernel = _times(weights.recurrent_kernel, compute_dtype)
        bias = weights.shift + forget

        def read_token(t: tf.Tensor, *carried: Any) -> tuple:
            h, c, outputs, saved = carried
            keep_t = keeps.read(t)
            z = from_input.read(t) + times_kernel(h * keep_t)
            h, c, step = _forward_step(z, c * keep_t, weights.gain, bias)
            if is_trained:
                written = (a.write(t, s) for a, s in zip(saved, step, strict=True))
                saved = _Step(*written)
            return t + 1, h, c, outputs.write(t, h), saved

        num_steps = tf.shape(x)[0]
        outputs = tf.TensorArray(x.dtype, num_steps)
        saved: Any = ()
        if is_trained:
            saved = _Step(*(_array(x.dtype, num_steps) for _ in _Step._fields))
        _, h, c, outputs, saved = tf.while_loop(
            lambda t, *_: t < num_steps, read_token, (0, *state, outputs, saved)
        )
        return (outputs.stack(), h, c), saved

    @tf.custom_gradient
    def run(x: tf.Tensor, h: tf.Tensor, c: tf.Tensor, *tensors: tf.Tensor) -> tuple:
        weights = Weights(*tensors)
        results, saved = forward(x, State(h, c), weights)
        outputs, *_ = results

        def backward(
            doutputs: tf.Tensor, dh_last: tf.Tensor, dc_last: tf.Tensor
        ) -> list[tf.Tensor]:
            # Transposed once: `transpose_b` in every matmul costs more.
            transposed = tf.transpose(weights.recurrent_kernel)
            times_transposed = _times(transposed, compute_dtype)
            doutputs, keeps = _array_of(doutputs), _array_of(keep)
            num_steps = tf.shape(x)[0]

            def step_back(t: tf.Tensor, *carried: Any) -> tuple:
                dh, dc, dzs, das = carried
                step = _Step(*(a.read(t) for a in saved))
                dz, da, dc = _backward_step(
                    step, doutputs.read(t) + dh, dc, weights.gain
                )
                keep_t = keeps.read(t)
                dh = times_transposed(dz) * keep_t
                if weights.gain is not None:
                    das = das.write(t, da)
                return t - 1, dh, dc * keep_t, dzs.write(t, dz), das

            empty = [tf.TensorArray(x.dtype, num_steps) for _ in range(2)]
            _, dh, dc, dzs, das = tf.while_loop(
                lambda t, *_: t >= 0,
                step_back,
                (num_steps - 1, dh_last, dc_last, *empty),
            )
            dz = _flat(dzs.stack(), 4 * hidden_size)
            h_before = _flat(tf.concat([h[None], outputs[:-1]], 0) * keep)
            gradients = [
                tf.reshape(
                    mixed_precision.matmul(
                        dz, weights.input_kernel, compute_dtype, transpose_b=True
                    ),
                    tf.shape(x),
                ),
                dh,
                dc,
                mixed_precision.matmul(_flat(x), dz, compute_dtype, transpose_a=True),
                mixed_precision.matmul(h_before, dz, compute_dtype, transpose_a=True),
            ]
            if weights.gain is None:
                return [*gradients, tf.reduce_sum(dz, 0)]
            da = _flat(das.stack(), 4 * hidden_size)
            normal = _flat(saved.normal.stack(), 4 * hidden_size)
            return [*gradients, tf.reduce_sum(da, 0), tf.reduce_sum(da * normal, 0)]

        return results, backward

    if is_trained:
        tensors = [weight for weight in weights if weight is not None]
        outputs, h, c = run(x, *state, *tensors)
    else:
        outputs, h, c = forward(x, state, weights)[0]
    outputs = tf.ensure_shape(outputs, [*x.shape[:2], hidden_size])
    return outputs, State(h, c)


def _flat(x: tf.Tensor, width: int | None = None) -> tf.Tensor:
    """Returns [T, ..., width] as [N, width]."""
    return tf.reshape(x, [-1, width or x.shape[-1]])


def _array(dtype: tf.DType, size: tf.Tensor) -> tf.TensorArray:
    """Returns an array that can be read after it was read."""
    return tf.TensorArray(dtype, size, clear_after_read=False)


def _array_of(x: tf.Tensor) -> tf.TensorArray:
    return _array(x.dtype, tf.shape(x)[0]).unstack(x)
