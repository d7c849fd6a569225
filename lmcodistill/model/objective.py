"""The training objective in one pass over chunks of positions.

For position n with weight m_n:  m_n * (v * phi_n + w * psi_n), where v is 1.0 but for
a mix, and psi_n is zero if a gate is closed to it. Value and gradient are made
together, chunk by chunk, so that no more than one chunk's `[n, V]` exists at a time:
not for the student, not for a teacher, not going back.

The one place where positions are reduced: sums here, division by the number of
tokens of the *global* batch by the caller, who knows it.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from lmcodistill.model import losses, output_head


class SoftTargets(NamedTuple):
    """The targets that psi compares the student with.

    Attributes:
        teachers: The teachers' output heads, positions as the student's; their
            mean is the target. Empty: `fixed` is.
        fixed: [V] float, one distribution for every position (label smoothing).
        loss: Name of psi.
        temperature: Divides the logits of student and teachers inside psi.
        gate: Name of what says at which positions psi counts; with teachers only.
        gate_confidence: See `Distillation`.
    """

    teachers: Sequence[output_head.OutputHead]
    fixed: tf.Tensor | None
    loss: str
    temperature: float | tf.Tensor
    gate: str = "none"
    gate_confidence: float = 0.0


class Sums(NamedTuple):
    """Weighted sums over positions; scalars.

    Attributes:
        label_loss: Sum of phi, nats.
        soft_loss: Sum of psi where it counts, nats (but for `logit_mse`).
        teacher_label_loss: Sum of the soft targets' own phi, nats; 0.0 without
            teachers.
        agreement: Weight of the positions where student and target have the
            same most likely token.
        open: Weight of the positions where psi counts.
    """

    label_loss: tf.Tensor
    soft_loss: tf.Tensor
    teacher_label_loss: tf.Tensor
    agreement: tf.Tensor
    open: tf.Tensor


def training_objective(
    student: output_head.OutputHead,
    targets: tf.Tensor,
    weights: tf.Tensor,
    soft: SoftTargets | None,
    distillation_weight: tf.Tensor,
    label_weight: float | tf.Tensor = 1.0,
) -> tuple[tf.Tensor, Sums]:
    """Returns the objective of one replica's positions, summed, and its parts.

    Algorithm 1 of arXiv:1804.03235. No gradient reaches the soft targets.

    Args:
        student: The student's output head; gradients flow into all its tensors.
        targets: [N] int32, labels.
        weights: [N] float, weight of each position.
        soft: The soft targets, or None for labels alone.
        distillation_weight: Scalar, w; None of psi's gradient flows into it.
        label_weight: Scalar, v; likewise.

    Returns:
        Scalar `sum_n weights_n * (v * phi_n + w * psi_n)`, psi_n being zero where the
        gate is closed, and its parts.
    """
    num_positions, vocab_size = student.hidden.shape[0], student.kernel.shape[0]
    num_chunks, rows = output_head.chunking(
        num_positions, vocab_size, student.hidden.dtype.size
    )
    length = num_chunks * rows
    targets = output_head.padded(targets, length)
    weights = output_head.padded(weights, length)
    teachers = [
        t._replace(
            hidden=output_head.padded(tf.stop_gradient(t.hidden), length),
            kernel=tf.cast(tf.stop_gradient(t.kernel), t.compute_dtype),
            bias=tf.stop_gradient(t.bias),
        )
        for t in (soft.teachers if soft else ())
    ]

    @tf.custom_gradient
    def run(hidden: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple:
        head = student._replace(
            kernel=tf.cast(kernel, student.compute_dtype),
            hidden=output_head.padded(hidden, length),
            bias=bias,
        )
        positions = _Positions(
            head,
            targets,
            weights,
            soft._replace(teachers=teachers) if soft else None,
            distillation_weight,
            label_weight,
            rows,
        )
        if num_chunks == 1:
            part = positions.part(0)
        else:
            part = _all_parts(positions, num_chunks, kernel, bias)
        dhidden = part.dhidden[:num_positions]
        sums = part.sums
        total = _times(label_weight, sums.label_loss)
        total += distillation_weight * sums.soft_loss

        def backward(dtotal: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return dtotal * dhidden, dtotal * part.dkernel, dtotal * part.dbias

        return (total, *sums), backward

    total, *sums = run(student.hidden, student.kernel, student.bias)
    return total, Sums(*(tf.stop_gradient(s) for s in sums))


class _Part(NamedTuple):
    """What some positions give: their sums, and gradients of the objective."""

    sums: Sums
    dhidden: tf.Tensor  # [n, H]
    dkernel: tf.Tensor  # [V, H]
    dbias: tf.Tensor  # [V]


class _Soft(NamedTuple):
    """Psi of some positions."""

    psi: losses.ValueAndGradient  # Zero where the gate is closed.
    is_open: tf.Tensor  # [n], 1.0 or 0.0.
    target_loss: tf.Tensor  # [n], the targets' own phi; zeros without teachers.
    targets: tf.Tensor  # [n, V], at temperature 1.0.


@dataclasses.dataclass(frozen=True)
class _Positions:
    """All positions, ready to be read in chunks.

    Output heads have their hidden states padded to whole chunks, and their kernel in
    the type of the product.
    """

    student: output_head.OutputHead
    targets: tf.Tensor  # [length] int32.
    weights: tf.Tensor  # [length].
    soft: SoftTargets | None
    distillation_weight: tf.Tensor
    label_weight: float | tf.Tensor
    rows: int  # Of a chunk.

    def part(self, start: tf.Tensor | int) -> _Part:
        """Returns the sums and gradients of the chunk that begins at `start`."""
        dtype, compute_dtype = self.student.hidden.dtype, self.student.compute_dtype
        hidden = output_head.rows_at(self.student.hidden, start, self.rows)
        targets = output_head.rows_at(self.targets, start, self.rows)
        weights = output_head.rows_at(self.weights, start, self.rows)
        logits = output_head.logits_at(self.student, hidden, self.student.kernel, dtype)
        prediction = losses.predict(logits)
        phi, dlogits = losses.label_cross_entropy(prediction, targets)
        dlogits = _times(self.label_weight, dlogits)
        zero = tf.zeros([], dtype)
        sums = Sums(tf.reduce_sum(phi * weights), zero, zero, zero, zero)
        if self.soft is not None:
            soft = self._soft(self.soft, prediction, targets, start)
            dlogits += self.distillation_weight * soft.psi.gradient
            logit = tf.gather(logits, tf.argmax(soft.targets, -1), batch_dims=1)
            agrees = tf.cast(logit == tf.reduce_max(logits, -1), dtype)
            sums = sums._replace(
                soft_loss=tf.reduce_sum(soft.psi.value * weights),
                teacher_label_loss=tf.reduce_sum(soft.target_loss * weights),
                agreement=tf.reduce_sum(agrees * weights),
                open=tf.reduce_sum(soft.is_open * weights),
            )
        dlogits *= weights[:, None]
        operand = tf.cast(dlogits, compute_dtype)
        dhidden = tf.matmul(operand, self.student.kernel)
        dkernel = tf.matmul(operand, tf.cast(hidden, compute_dtype), transpose_a=True)
        return _Part(
            sums,
            tf.cast(dhidden, dtype),
            tf.cast(dkernel, dtype),
            tf.reduce_sum(dlogits, 0),
        )

    def _soft(
        self,
        soft: SoftTargets,
        prediction: losses.Softmax,
        targets: tf.Tensor,
        start: tf.Tensor | int,
    ) -> _Soft:
        loss, dtype = losses.SOFT_LOSSES[soft.loss], prediction.logits.dtype
        cooled, all_open = prediction, tf.ones([self.rows], dtype)
        is_cooled = not (loss.is_of_logits or losses.is_one(soft.temperature))
        if is_cooled:
            cooled = losses.predict(prediction.logits, soft.temperature)
        if not soft.teachers:
            q = tf.broadcast_to(tf.cast(soft.fixed, dtype), tf.shape(prediction.logits))
            psi = loss.of(cooled, q)
            return _Soft(psi, all_open, tf.zeros([self.rows], dtype), q)
        logits = [
            output_head.logits_at(
                t, output_head.rows_at(t.hidden, start, self.rows), t.kernel, dtype
            )
            for t in soft.teachers
        ]
        q = output_head.mean_probs(logits)
        at_label = tf.gather(q, targets, batch_dims=1)
        target_loss = -tf.math.log(tf.maximum(at_label, 1e-37))
        soft_targets = q
        if loss.is_of_logits:
            soft_targets = tf.add_n(logits) / len(logits)
        elif is_cooled:
            cooler = [z / soft.temperature for z in logits]
            soft_targets = output_head.mean_probs(cooler)
        psi = loss.of(cooled, soft_targets)
        if soft.gate == "none":
            return _Soft(psi, all_open, target_loss, q)
        gate = losses.GATES[soft.gate]
        is_open = tf.cast(gate(q, targets, soft.gate_confidence), dtype)
        psi = losses.ValueAndGradient(
            psi.value * is_open, psi.gradient * is_open[:, None]
        )
        return _Soft(psi, is_open, target_loss, q)


def _times(weight: float | tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Returns the product; nothing is computed where it is `x`."""
    return x if losses.is_one(weight) else weight * x


def _all_parts(
    positions: _Positions, num_chunks: int, kernel: tf.Tensor, bias: tf.Tensor
) -> _Part:
    """Reads all positions, one chunk at a time, and adds up.

    `kernel` and `bias` are of the shapes and types of their gradients.
    """
    hidden, rows = positions.student.hidden, positions.rows
    zero = tf.zeros([], hidden.dtype)

    def body(k: tf.Tensor, *carried: Any) -> tuple:
        sums, dhidden, dkernel, dbias = carried
        part = positions.part(k * rows)
        return (
            k + 1,
            Sums(*(a + b for a, b in zip(sums, part.sums, strict=True))),
            dhidden.write(k, part.dhidden),
            dkernel + part.dkernel,
            dbias + part.dbias,
        )

    _, sums, dhidden, dkernel, dbias = tf.while_loop(
        lambda k, *_: k < num_chunks,
        body,
        (
            0,
            Sums(*[zero] * len(Sums._fields)),
            tf.TensorArray(
                hidden.dtype, num_chunks, element_shape=[rows, hidden.shape[1]]
            ),
            tf.zeros_like(kernel),
            tf.zeros_like(bias),
        ),
        parallel_iterations=1,  # One chunk of logits at a time is the point.
        maximum_iterations=num_chunks,
    )
    return _Part(sums, dhidden.concat(), dkernel, dbias)
