"""One LSTM layer over one window, with its own backward pass.

Automatic differentiation through T steps would make T small products and T
accumulations for the recurrent weights. Here only the two products that are
truly sequential stay in the loops, `h @ Wh` and `dz @ Wh^T`; the gradients of
the weights and of the input are one large product each, afterwards.

The cell, per step, with gates i, f, o and candidate j side by side in 4H:

    z = x Wx + h Wh                         (plain: + shift)
    a = gain * (z - mean(z)) / std(z) + shift    per gate, if layer-normalised
    c = sigmoid(a_f + forget_bias) * c + sigmoid(a_i) * tanh(a_j)
    h = sigmoid(a_o) * tanh(c)

Layer normalisation follows Ba et al. 2016 (arXiv:1607.06450). Differs from
theirs: the sum of the two products is normalised once, per gate, and the cell
is not, which is what the recurrent toolkits of the paper's time did.
"""

from typing import NamedTuple

import tensorflow as tf

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
    gain: tf.Tensor | None


class _Step(NamedTuple):
    """What one step leaves for the backward pass; all [B, ...]."""

    keep: tf.Tensor  # [B, 1], 0.0 where the state was zeroed before the step.
    h_before: tf.Tensor  # [B, H], already zeroed.
    c_before: tf.Tensor  # [B, H], already zeroed.
    normal: tf.Tensor | None  # [B, 4, H], normalised pre-activations.
    inverse_std: tf.Tensor | None  # [B, 4, 1].
    sigmoids: tf.Tensor  # [B, 3H], gates i, f, o.
    candidate: tf.Tensor  # [B, H], j.
    tanh_c: tf.Tensor  # [B, H].


def _matmul(a, b, compute_dtype, **transpose):
    """Multiplies in `compute_dtype`, returns the type of `a`."""
    product = tf.matmul(
        tf.cast(a, compute_dtype), tf.cast(b, compute_dtype), **transpose
    )
    return tf.cast(product, a.dtype)


def _normalise(z):
    """Normalises [B, 4H] per gate; returns [B, 4, H] and 1/std [B, 4, 1]."""
    z = tf.reshape(z, [-1, 4, z.shape[-1] // 4])
    centred = z - tf.reduce_mean(z, -1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
    inverse_std = tf.math.rsqrt(variance + NORM_EPSILON)
    return centred * inverse_std, inverse_std


def _forward_step(z, keep, c, h_before, gain, shift, forget_bias):
    """Returns the new h and c, and what the backward pass needs.

    Args:
        z: [B, 4H], both products summed.
        keep: [B, 1].
        c: [B, H], the cell before the step, not yet zeroed.
        h_before: [B, H], the output before the step, zeroed.
        gain: [4H] or None.
        shift: [4H], forget bias not included.
        forget_bias: Scalar.
    """
    normal = inverse_std = None
    if gain is not None:
        normal, inverse_std = _normalise(z)
        z = tf.reshape(normal, tf.shape(z)) * gain
    z += shift + forget_bias
    hidden_size = c.shape[-1]
    sigmoids = tf.sigmoid(z[:, : 3 * hidden_size])
    candidate = tf.tanh(z[:, 3 * hidden_size :])
    i, f, o = tf.split(sigmoids, 3, axis=-1)
    c_before = c * keep
    c = f * c_before + i * candidate
    tanh_c = tf.tanh(c)
    saved = _Step(
        keep, h_before, c_before, normal, inverse_std, sigmoids, candidate, tanh_c
    )
    return o * tanh_c, c, saved


def _backward_step(saved: _Step, dh, dc, gain):
    """Returns dz and da [B, 4H], and dc for the step before.

    Args:
        saved: What the forward step left.
        dh: [B, H], the gradient of the step's output, all its uses summed.
        dc: [B, H], the gradient of the step's cell from the step after.
        gain: [4H] or None.
    """
    i, f, o = tf.split(saved.sigmoids, 3, axis=-1)
    dc += dh * o * (1.0 - tf.square(saved.tanh_c))
    dsigmoids = tf.concat(
        [dc * saved.candidate, dc * saved.c_before, dh * saved.tanh_c], -1
    )
    da = tf.concat(
        [
            dsigmoids * saved.sigmoids * (1.0 - saved.sigmoids),
            dc * i * (1.0 - tf.square(saved.candidate)),
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
    return dz, da, dc * f * saved.keep


def _forget_bias_vector(forget_bias, hidden_size, dtype):
    """Returns [4H]: the forget bias in the forget gate's place, else zero."""
    zeros = tf.zeros([hidden_size], dtype)
    return tf.concat([zeros, zeros + forget_bias, zeros, zeros], 0)


def unroll(
    x: tf.Tensor,
    keep: tf.Tensor,
    state: State,
    weights: Weights,
    *,
    forget_bias: float,
    compute_dtype: tf.DType,
) -> tuple[tf.Tensor, State]:
    """Runs the layer over a window.

    Args:
        x: [T, B, D] float; T must be static (see `unroll_dynamic`).
        keep: [T, B, 1], 0.0 where the state is zeroed before the token is read.
        state: The state carried into the window.
        weights: The layer's tensors.
        forget_bias: Added to the forget gate's pre-activation.
        compute_dtype: Type of the operands of the matrix products.

    Returns:
        [T, B, H] outputs in the type of `x`, and the state to carry on.
    """
    num_steps, input_size = x.shape[0], x.shape[2]
    hidden_size = weights.recurrent_kernel.shape[0]
    bias = _forget_bias_vector(forget_bias, hidden_size, x.dtype)

    @tf.custom_gradient
    def run(x, h, c, input_kernel, recurrent_kernel, shift, *maybe_gain):
        gain = maybe_gain[0] if maybe_gain else None
        # Cast once: a cast per step would read the kernel T times.
        recurrent = tf.cast(recurrent_kernel, compute_dtype)
        flat_x = tf.reshape(x, [-1, input_size])
        from_input = _matmul(flat_x, input_kernel, compute_dtype)
        from_input = tf.unstack(
            tf.reshape(from_input, [num_steps, -1, 4 * hidden_size])
        )
        steps: list[_Step] = []
        outputs = []
        for t, keep_t in enumerate(tf.unstack(keep)):
            h_before = h * keep_t
            z = from_input[t] + _matmul(h_before, recurrent, compute_dtype)
            h, c, saved = _forward_step(z, keep_t, c, h_before, gain, shift, bias)
            steps.append(saved)
            outputs.append(h)

        def backward(doutputs, dh_last, dc_last):
            dh, dc = dh_last, dc_last
            # Transposed once: with `transpose_b` every one of the T products
            # repacks the kernel (3.8 times the CPU time; [32, 4096] by
            # [4096, 1024], 2026-11-22). `ensure_shape` keeps the graph optimizer
            # from folding the transposition back into the products.
            transposed = tf.transpose(recurrent)
            transposed = tf.ensure_shape(transposed, [4 * hidden_size, hidden_size])
            doutputs = tf.unstack(doutputs)
            dzs, das = [], []
            for t in reversed(range(num_steps)):
                dz, da, dc = _backward_step(steps[t], doutputs[t] + dh, dc, gain)
                dh = _matmul(dz, transposed, compute_dtype)
                dh *= steps[t].keep
                dzs.append(dz)
                das.append(da)
            dz = tf.concat(dzs[::-1], 0)  # [N, 4H]
            h_before = tf.concat([step.h_before for step in steps], 0)
            dinput = _matmul(flat_x, dz, compute_dtype, transpose_a=True)
            drecurrent = _matmul(h_before, dz, compute_dtype, transpose_a=True)
            dx = _matmul(dz, input_kernel, compute_dtype, transpose_b=True)
            da = tf.concat(das[::-1], 0) if gain is not None else dz
            gradients = [
                tf.reshape(dx, tf.shape(x)),
                dh,
                dc,
                dinput,
                drecurrent,
                tf.reduce_sum(da, 0),
            ]
            if gain is not None:
                normal = tf.concat([step.normal for step in steps], 0)
                normal = tf.reshape(normal, tf.shape(da))
                gradients.append(tf.reduce_sum(da * normal, 0))
            return gradients

        return (tf.stack(outputs), h, c), backward

    gain = [] if weights.gain is None else [weights.gain]
    outputs, h, c = run(
        x,
        state.h,
        state.c,
        weights.input_kernel,
        weights.recurrent_kernel,
        weights.shift,
        *gain,
    )
    return outputs, State(h, c)


def unroll_dynamic(
    x: tf.Tensor,
    keep: tf.Tensor,
    state: State,
    weights: Weights,
    *,
    forget_bias: float,
    compute_dtype: tf.DType,
) -> tuple[tf.Tensor, State]:
    """Runs the layer over a window whose length T is known only when it runs.

    For serving. As `unroll`, without a gradient of its own.
    """
    bias = _forget_bias_vector(
        forget_bias, weights.recurrent_kernel.shape[0], x.dtype
    )
    from_input = tf.einsum(
        "tbd,dz->tbz",
        tf.cast(x, compute_dtype),
        tf.cast(weights.input_kernel, compute_dtype),
    )
    from_input = tf.cast(from_input, x.dtype)

    def step(carried, inputs):
        h, c = carried
        z, keep_t = inputs
        h_before = h * keep_t
        z += _matmul(h_before, weights.recurrent_kernel, compute_dtype)
        h, c, _ = _forward_step(
            z, keep_t, c, h_before, weights.gain, weights.shift, bias
        )
        return h, c

    h, c = tf.scan(step, (from_input, keep), initializer=(state.h, state.c))
    # An empty window has no last step; its state is the one it came with.
    h_all = tf.concat([state.h[None], h], 0)
    c_all = tf.concat([state.c[None], c], 0)
    return h, State(h_all[-1], c_all[-1])
