"""The training objective in one pass over chunks of positions.

For position n with weight m_n:  m_n * (phi_n + w * psi_n). Value and gradient
are made together, chunk by chunk, so that no more than one chunk's `[n, V]`
exists at a time: not for the student, not for a teacher, not going back.

The one place where positions are reduced: sums here, division by the number of
tokens of the *global* batch by the caller, who knows it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from lmcodistill.model import losses, output_head


class SoftTargets(NamedTuple):
    """What psi compares the student with.

    Attributes:
        teachers: The teachers' read-outs, positions as the student's; their
            mean is the target. Empty: `fixed` is.
        fixed: [V] float, one distribution for every position (label smoothing).
        loss: Name of psi.
        temperature: Divides the logits of student and teachers inside psi.
    """

    teachers: Sequence[output_head.Readout]
    fixed: tf.Tensor | None
    loss: str
    temperature: float


class Sums(NamedTuple):
    """Weighted sums over positions; scalars.

    Attributes:
        label_loss: Sum of phi, nats.
        soft_loss: Sum of psi, nats (but for `logit_mse`).
        teacher_label_loss: Sum of the soft targets' own phi, nats; 0.0 without
            teachers.
        agreement: Weight of the positions where student and target have the
            same most likely token.
    """

    label_loss: tf.Tensor
    soft_loss: tf.Tensor
    teacher_label_loss: tf.Tensor
    agreement: tf.Tensor


def training_objective(
    student: output_head.Readout,
    targets: tf.Tensor,
    weights: tf.Tensor,
    soft: SoftTargets | None,
    distillation_weight: tf.Tensor,
) -> tuple[tf.Tensor, Sums]:
    """Returns the objective of one replica's positions, summed, and its parts.

    Algorithm 1 of arXiv:1804.03235. No gradient reaches the soft targets.

    Args:
        student: The student's read-out; gradients flow into all its tensors.
        targets: [N] int32, labels.
        weights: [N] float, weight of each position.
        soft: The soft targets, or None for labels alone.
        distillation_weight: Scalar, w; None of psi's gradient flows into it.

    Returns:
        Scalar `sum_n weights_n * (phi_n + w * psi_n)`, and its parts.
    """
    dtype = student.features.dtype
    num_positions = student.features.shape[0]
    vocab_size = student.kernel.shape[0]
    num_chunks, rows = output_head.chunking(num_positions, vocab_size, dtype.size)
    length = num_chunks * rows
    targets, weights = (
        output_head.padded(targets, length),
        output_head.padded(weights, length),
    )
    teachers = [
        t._replace(
            features=output_head.padded(tf.stop_gradient(t.features), length),
            kernel=tf.cast(tf.stop_gradient(t.kernel), t.compute_dtype),
            bias=tf.stop_gradient(t.bias),
        )
        for t in (soft.teachers if soft else ())
    ]

    def psi(prediction, chunk_targets, start):
        """Returns psi, the targets' phi and the targets."""
        assert soft is not None
        ours = prediction
        if soft.temperature != 1.0:
            ours = losses.predict(prediction.logits, soft.temperature)
        if not teachers:
            q = tf.broadcast_to(tf.cast(soft.fixed, dtype), tf.shape(prediction.logits))
            result = losses.SOFT_LOSSES[soft.loss](ours, q)
            return result, tf.zeros([rows], dtype), q
        their_logits = [
            output_head.logits_at(
                t, output_head.rows_at(t.features, start, rows), t.kernel, dtype
            )
            for t in teachers
        ]
        q = output_head.mean_probs(their_logits)
        at_label = tf.gather(q, chunk_targets, batch_dims=1)
        their_loss = -tf.math.log(tf.maximum(at_label, 1e-37))
        if soft.loss == "logit_mse":
            mean_logits = tf.add_n(their_logits) / len(their_logits)
            return losses.logit_mse(prediction.logits, mean_logits), their_loss, q
        cooled = q
        if soft.temperature != 1.0:
            cooled = output_head.mean_probs(their_logits, soft.temperature)
        result = losses.SOFT_LOSSES[soft.loss](ours, cooled)
        return result, their_loss, q

    @tf.custom_gradient
    def run(features, kernel, bias):
        compute_kernel = tf.cast(kernel, student.compute_dtype)
        features = output_head.padded(features, length)
        readout = student._replace(bias=bias)

        def chunk(start):
            """Returns the sums and gradients of one chunk."""
            chunk_features = output_head.rows_at(features, start, rows)
            chunk_targets = output_head.rows_at(targets, start, rows)
            chunk_weights = output_head.rows_at(weights, start, rows)
            logits = output_head.logits_at(
                readout, chunk_features, compute_kernel, dtype
            )
            prediction = losses.predict(logits)
            phi, dlogits = losses.label_cross_entropy(prediction, chunk_targets)
            zero = tf.zeros([], dtype)
            sums = Sums(tf.reduce_sum(phi * chunk_weights), zero, zero, zero)
            if soft is not None:
                result, their_loss, q = psi(prediction, chunk_targets, start)
                dlogits += distillation_weight * result.gradient
                at_theirs = tf.gather(logits, tf.argmax(q, -1), batch_dims=1)
                same = at_theirs == tf.reduce_max(logits, -1)
                sums = Sums(
                    sums.label_loss,
                    tf.reduce_sum(result.value * chunk_weights),
                    tf.reduce_sum(their_loss * chunk_weights),
                    tf.reduce_sum(tf.cast(same, dtype) * chunk_weights),
                )
            dlogits *= chunk_weights[:, None]
            narrow = tf.cast(dlogits, student.compute_dtype)
            dfeatures = tf.cast(tf.matmul(narrow, compute_kernel), dtype)
            dkernel = tf.matmul(
                narrow,
                tf.cast(chunk_features, student.compute_dtype),
                transpose_a=True,
            )
            return sums, dfeatures, tf.cast(dkernel, dtype), tf.reduce_sum(dlogits, 0)

        if num_chunks == 1:
            sums, dfeatures, dkernel, dbias = chunk(0)
        else:
            sums, dfeatures, dkernel, dbias = _over_chunks(
                chunk, num_chunks, rows, features, kernel, bias
            )
        dfeatures = dfeatures[:num_positions]
        total = sums.label_loss + distillation_weight * sums.soft_loss

        def backward(dtotal, *_):
            return dtotal * dfeatures, dtotal * dkernel, dtotal * dbias

        return (total, *sums), backward

    total, *sums = run(student.features, student.kernel, student.bias)
    return total, Sums(*(tf.stop_gradient(s) for s in sums))


def _over_chunks(chunk, num_chunks, rows, features, kernel, bias):
    """Runs `chunk` over all positions, one at a time, and adds up."""
    zero = tf.zeros([], features.dtype)

    def body(k, sums, dfeatures, dkernel, dbias):
        part, dfeatures_k, dkernel_k, dbias_k = chunk(k * rows)
        return (
            k + 1,
            Sums(*(a + b for a, b in zip(sums, part, strict=True))),
            dfeatures.write(k, dfeatures_k),
            dkernel + dkernel_k,
            dbias + dbias_k,
        )

    _, sums, dfeatures, dkernel, dbias = tf.while_loop(
        lambda k, *_: k < num_chunks,
        body,
        (
            0,
            Sums(zero, zero, zero, zero),
            tf.TensorArray(
                features.dtype, num_chunks, element_shape=[rows, features.shape[1]]
            ),
            tf.zeros_like(kernel),
            tf.zeros_like(bias),
        ),
        parallel_iterations=1,  # One chunk of logits at a time is the point.
        maximum_iterations=num_chunks,
    )
    return sums, dfeatures.concat(), dkernel, dbias
