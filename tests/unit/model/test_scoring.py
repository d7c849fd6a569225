"""What models say of a held-out text, by hand and against whole logits."""

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill.model import output_head, scoring

# N does not divide by the rows of a chunk, so the last chunk is padded.
NUM_POSITIONS, VOCAB_SIZE = 7, 5
ROWS_PER_CHUNK = 3
TARGETS = tf.constant([0, 4, 1, 2, 2, 3, 0])


@pytest.fixture
def many_chunks(monkeypatch):
    """Leaves room for 3 rows of float64 logits: chunks of 3, 3 and 1 + 2 padded."""
    monkeypatch.setattr(output_head, "CHUNK_BYTES", ROWS_PER_CHUNK * VOCAB_SIZE * 8)


def a_head(hidden, seed):
    generator = np.random.default_rng(seed)
    return output_head.OutputHead(
        tf.constant(generator.normal(size=[NUM_POSITIONS, hidden])),
        tf.constant(generator.normal(size=[VOCAB_SIZE, hidden])),
        tf.constant(generator.normal(size=[VOCAB_SIZE])),
        tf.float64,
    )


def by_logits(logits):
    """Returns an output head with these [N, V] logits: one-hot hidden states."""
    return output_head.OutputHead(
        tf.eye(len(logits), dtype=tf.float64),
        tf.constant(np.transpose(logits), tf.float64),
        tf.zeros([len(logits[0])], tf.float64),
        tf.float64,
    )


def test_label_losses_of_one_model_match_hand_calculation():
    model = by_logits([[np.log(3.0), 0.0], [0.0, 0.0], [0.0, np.log(3.0)]])

    actual = scoring.label_losses([model], tf.constant([0, 1, 0]))

    np.testing.assert_allclose(actual, np.log([4 / 3, 2.0, 4.0]), rtol=1e-12)


def test_label_losses_of_an_ensemble_are_of_its_mean_probabilities():
    # Means [5/8, 3/8] and [3/8, 5/8], label 0.
    log_3 = np.log(3.0)
    first = by_logits([[log_3, 0.0], [0.0, log_3]])
    second = by_logits([[0.0, 0.0], [0.0, 0.0]])

    actual = scoring.label_losses([first, second], tf.constant([0, 0]))

    np.testing.assert_allclose(actual, np.log([8 / 5, 8 / 3]), rtol=1e-12)


def test_label_losses_do_not_depend_on_chunks(many_chunks):
    models = [a_head(3, 10), a_head(4, 12)]

    actual = tf.function(scoring.label_losses, autograph=False)(models, TARGETS)

    probs = output_head.mean_probs([output_head.logits_of(m) for m in models])
    expected = -np.log(np.asarray(probs)[np.arange(NUM_POSITIONS), TARGETS])
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_label_losses_of_a_sure_model_stay_finite():
    # The mean of two probabilities of e^-2000 is no float64; its logarithm is.
    model = by_logits([[2000.0, 0.0]])

    actual = scoring.label_losses([model, model], tf.constant([1]))

    np.testing.assert_allclose(actual, [2000.0], rtol=1e-12)


def test_disagreement_matches_hand_calculation():
    # [3/4, 1/4] against [1/4, 3/4], then equal ones; the true token is the first.
    log_3 = np.log(3.0)
    first = by_logits([[log_3, 0.0], [0.0, 1.0]])
    second = by_logits([[0.0, log_3], [5.0, 6.0]])

    found = scoring.disagreement([first], [second], tf.constant([0, 0]))

    np.testing.assert_allclose(found.absolute, [0.5, 0.0], atol=1e-12)
    np.testing.assert_allclose(found.total_variation, [0.5, 0.0], atol=1e-12)
    np.testing.assert_allclose(found.kl, [0.5 * log_3, 0.0], atol=1e-12)
    np.testing.assert_allclose(found.kl_back, [0.5 * log_3, 0.0], atol=1e-12)
    np.testing.assert_array_equal(found.flip, [1.0, 0.0])


def test_disagreement_of_ensembles_is_of_their_mean_probabilities(many_chunks):
    models = [a_head(3, 10), a_head(4, 12), a_head(2, 13)]
    probs = [np.asarray(tf.nn.softmax(output_head.logits_of(m))) for m in models]
    p, q = (probs[0] + probs[1]) / 2, probs[2]

    found = tf.function(scoring.disagreement, autograph=False)(
        models[:2], models[2:], TARGETS
    )

    rows = np.arange(NUM_POSITIONS)
    np.testing.assert_allclose(found.absolute, np.abs(p - q)[rows, TARGETS])
    np.testing.assert_allclose(found.total_variation, np.abs(p - q).sum(1) / 2)
    np.testing.assert_allclose(found.kl, (p * np.log(p / q)).sum(1))
    np.testing.assert_allclose(found.kl_back, (q * np.log(q / p)).sum(1))
    np.testing.assert_array_equal(found.flip, p.argmax(1) != q.argmax(1))


def test_confirmation_matches_hand_calculation():
    # p = [3/4, 1/4], q = [1/4, 3/4]: q - p = [-1/2, 1/2], and labels on both sides.
    log_3 = np.log(3.0)
    student = by_logits([[log_3, 0.0], [log_3, 0.0]])
    teacher = by_logits([[0.0, log_3], [0.0, log_3]])

    found = scoring.confirmation(student, [teacher], tf.constant([0, 1]))

    # (1/4, -1/4) . (q - p), and (-3/4, 3/4) . (q - p).
    np.testing.assert_allclose(found.confirmed, [-0.25, 0.75], atol=1e-12)
    np.testing.assert_allclose(found.disagreement, [0.5, 0.5], atol=1e-12)
    # -ln of 3/4 and of 1/4.
    log_4 = np.log(4.0)
    np.testing.assert_allclose(found.student_loss, [log_4 - log_3, log_4])
    np.testing.assert_allclose(found.teacher_loss, [log_4, log_4 - log_3])


def test_confirmation_is_of_the_teachers_mean(many_chunks):
    models = [a_head(3, 10), a_head(4, 12), a_head(2, 13)]
    p, *theirs = [np.asarray(tf.nn.softmax(output_head.logits_of(m))) for m in models]
    difference = (theirs[0] + theirs[1]) / 2 - p

    found = scoring.confirmation(models[0], models[1:], TARGETS)

    labels = np.eye(VOCAB_SIZE)[np.asarray(TARGETS)]
    np.testing.assert_allclose(found.confirmed, ((labels - p) * difference).sum(1))
    np.testing.assert_allclose(found.disagreement, (difference**2).sum(1))
    # Their losses are their own: a peer's is what a student is compared with.
    rows = np.arange(NUM_POSITIONS)
    own = [-np.log(q[rows, TARGETS]) for q in theirs]
    np.testing.assert_allclose(found.teacher_loss, (own[0] + own[1]) / 2)
