"""What models say of a text that is only read: for evaluation, not for training."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from lmcodistill.model import contract, output_head


class Disagreement(NamedTuple):
    """How two predictions of the same token differ; one value per position.

    Attributes:
        absolute: Absolute difference of the true token's probability, what Anil
            et al. (arXiv:1804.03235, section 4) call prediction churn.
        total_variation: Half the sum of absolute differences over all tokens.
        kl: Of the first against the second, nats.
        kl_back: Of the second against the first, nats.
        flip: 1.0 where the most likely token is another.
    """

    absolute: tf.Tensor
    total_variation: tf.Tensor
    kl: tf.Tensor
    kl_back: tf.Tensor
    flip: tf.Tensor


class Confirmation(NamedTuple):
    """How far labels confirm teachers against their student; one per position.

    Attributes:
        confirmed: (y - p) . (q - p), p the student's prediction, q the teachers'
            mean, y the label, each a vector over all tokens.
        disagreement: |q - p|^2.
        student_loss: The student's cross entropy, nats.
        teacher_loss: The mean of the teachers' own, nats: not that of their mean.
    """

    confirmed: tf.Tensor
    disagreement: tf.Tensor
    student_loss: tf.Tensor
    teacher_loss: tf.Tensor


def token_losses(
    model: contract.Model, inputs: tf.Tensor, targets: tf.Tensor
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
    hidden, _ = model(inputs, is_start, model.initial_state(batch_size))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.reshape(targets, [-1]),
        output_head.logits_of(model.output_head(tf.transpose(hidden, [1, 0, 2]))),
    )
    return tf.reshape(losses, [batch_size, length])


def next_logits(
    model: contract.Model, tokens: tf.Tensor, is_start: tf.Tensor, state: contract.State
) -> tuple[tf.Tensor, contract.State]:
    """Reads [B, T] tokens; returns [B, V] logits after the last, and the state."""
    hidden, state = model(tokens, is_start, state)
    return output_head.logits_of(model.output_head(hidden[-1:])), state


def next_mean_logits(
    models: Sequence[contract.Model],
    tokens: tf.Tensor,
    is_start: tf.Tensor,
    states: Sequence[contract.State],
) -> tuple[tf.Tensor, tuple[contract.State, ...]]:
    """Reads [B, T] tokens with one model or several, whose probabilities are averaged.

    Returns:
        [B, V] logits after the last token, and each model's state.
    """
    logits, new_states = zip(
        *(
            next_logits(model, tokens, is_start, state)
            for model, state in zip(models, states, strict=True)
        ),
        strict=True,
    )
    return (logits[0] if len(logits) == 1 else _log_mean_probs(logits)), new_states


def label_losses(
    models: Sequence[output_head.OutputHead], targets: tf.Tensor
) -> tf.Tensor:
    """Returns the cross entropy of the models' mean probabilities at the labels.

    Args:
        models: Output heads of one model or several, positions alike.
        targets: [N] int32.

    Returns:
        [N], nats, in the type of the hidden states.
    """

    def losses(logits: list[tf.Tensor], labels: tf.Tensor) -> tuple[tf.Tensor]:
        at_targets = [
            -tf.nn.sparse_softmax_cross_entropy_with_logits(labels, z) for z in logits
        ]
        # log of the mean of probabilities, without leaving the log domain.
        log_sum = tf.reduce_logsumexp(tf.stack(at_targets), 0)
        return (math.log(len(models)) - log_sum,)

    return _over_chunks(models, targets, losses, 1)[0]


def disagreement(
    first: Sequence[output_head.OutputHead],
    second: Sequence[output_head.OutputHead],
    targets: tf.Tensor,
) -> Disagreement:
    """Compares the predictions of two models, or of two ensembles.

    Args:
        first: Output heads of one model or of several whose probabilities are averaged.
        second: Likewise, positions alike.
        targets: [N] int32, the true tokens.
    """

    def compare(logits: list[tf.Tensor], labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        log_p = _log_mean_probs(logits[: len(first)])
        log_q = _log_mean_probs(logits[len(first) :])
        p, q = tf.exp(log_p), tf.exp(log_q)
        at_label = tf.gather(p - q, labels, batch_dims=1)
        return (
            tf.abs(at_label),
            0.5 * tf.reduce_sum(tf.abs(p - q), -1),
            tf.reduce_sum(p * (log_p - log_q), -1),
            tf.reduce_sum(q * (log_q - log_p), -1),
            tf.cast(tf.argmax(log_p, -1) != tf.argmax(log_q, -1), p.dtype),
        )

    count = len(Disagreement._fields)
    return Disagreement(*_over_chunks([*first, *second], targets, compare, count))


def confirmation(
    student: output_head.OutputHead,
    teachers: Sequence[output_head.OutputHead],
    targets: tf.Tensor,
) -> Confirmation:
    """Returns what the labels say of a student and of its teachers' mean.

    Args:
        student: The student's output head.
        teachers: The teachers', positions alike.
        targets: [N] int32, labels.
    """

    def compare(logits: list[tf.Tensor], labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        p = tf.nn.softmax(logits[0])
        difference = output_head.mean_probs(logits[1:]) - p
        at_label = tf.gather(difference, labels, batch_dims=1)
        confirmed = at_label - tf.reduce_sum(p * difference, -1)
        student_loss, *losses = (
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels, z) for z in logits
        )
        return (
            confirmed,
            tf.reduce_sum(tf.square(difference), -1),
            student_loss,
            tf.add_n(losses) / len(losses),
        )

    count = len(Confirmation._fields)
    return Confirmation(*_over_chunks([student, *teachers], targets, compare, count))


def _log_mean_probs(logits: Sequence[tf.Tensor]) -> tf.Tensor:
    logs = tf.stack([tf.nn.log_softmax(z) for z in logits])
    return tf.reduce_logsumexp(logs, 0) - math.log(len(logits))


def _over_chunks(
    models: Sequence[output_head.OutputHead],
    targets: tf.Tensor,
    function: Callable[[list[tf.Tensor], tf.Tensor], tuple[tf.Tensor, ...]],
    num_results: int,
) -> list[tf.Tensor]:
    """Calls `function` with all models' logits of a chunk and its targets."""
    dtype = models[0].hidden.dtype
    num_positions = models[0].hidden.shape[0]
    num_chunks, rows = output_head.chunking(
        num_positions, models[0].kernel.shape[0], dtype.size
    )
    length = num_chunks * rows
    targets = output_head.padded(targets, length)
    models = [
        m._replace(
            hidden=output_head.padded(m.hidden, length),
            kernel=tf.cast(m.kernel, m.compute_dtype),
        )
        for m in models
    ]

    def chunk(start: tf.Tensor) -> tuple[tf.Tensor, ...]:
        logits = [
            output_head.logits_at(
                m, output_head.rows_at(m.hidden, start, rows), m.kernel, dtype
            )
            for m in models
        ]
        return function(logits, output_head.rows_at(targets, start, rows))

    parts = tf.map_fn(
        chunk,
        tf.range(0, length, rows),
        fn_output_signature=(tf.TensorSpec([rows], dtype),) * num_results,
        parallel_iterations=1,
    )
    return [tf.reshape(part, [-1])[:num_positions] for part in parts]
