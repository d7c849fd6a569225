"""Held-out cross entropy against the whole text read at once."""

from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.data import shards, windows
from lmcodistill.inference import evaluation
from lmcodistill.model import registry, weights
from lmcodistill.settings import model as settings

VOCAB_SIZE, END = 8, 2
CONFIG = settings.LanguageModel(
    embedding_size=3, num_layers=1, hidden_size=4, compute_dtype="float64"
)
TEXT = np.array([3, 4, 5, END, 6, 7, 3, 3, END, 4, 5], np.uint16)


def a_model(seed):
    values = weights.initial(CONFIG, VOCAB_SIZE, seed)
    return registry.build(CONFIG, VOCAB_SIZE, values)


def held_out(streams, window, reset_at_documents=True):
    return windows.EvaluationWindows(
        shards.SplitTokens([TEXT]),
        streams=streams,
        window=window,
        end_id=END,
        reset_at_documents=reset_at_documents,
    )


def all_probs_at_once(model, is_start):
    """Returns [N, V] predictions, the text read as one window."""
    inputs = np.concatenate([[END], TEXT[:-1]]).astype(np.int32)
    hidden, _ = model(
        tf.constant(inputs[None]),
        tf.constant(is_start[None]),
        model.initial_state(1),
    )
    head = model.output_head(hidden)
    logits = head.hidden @ tf.transpose(head.kernel) + head.bias
    return tf.nn.softmax(logits).numpy()


def probs_at_once(model, is_start):
    """Returns the probability of every token."""
    return all_probs_at_once(model, is_start)[np.arange(len(TEXT)), TEXT]


def starts(reset_at_documents):
    inputs = np.concatenate([[END], TEXT[:-1]])
    return (inputs == END) if reset_at_documents else np.arange(len(TEXT)) == 0


@pytest.mark.parametrize("reset_at_documents", [True, False])
def test_windows_of_one_stream_score_what_one_reading_does(reset_at_documents):
    model = a_model(0)

    [nats], tokens = evaluation.Evaluator([model]).totals(
        held_out(1, 4, reset_at_documents), 0, 1
    )

    probs = probs_at_once(model, starts(reset_at_documents))
    assert tokens == len(TEXT)
    assert nats == pytest.approx(-np.log(probs).sum(), rel=1e-12)


def test_ensemble_is_the_mean_of_probabilities():
    models = [a_model(0), a_model(1)]

    [nats], _ = evaluation.Evaluator(models).totals(held_out(1, 4), 0, 1)

    probs = np.mean([probs_at_once(m, starts(True)) for m in models], 0)
    assert nats == pytest.approx(-np.log(probs).sum(), rel=1e-12)


def test_student_is_measured_against_each_teacher_on_the_same_tokens():
    student, *teachers = models = [a_model(seed) for seed in range(3)]

    sums, tokens = evaluation.Evaluator(models, evaluation.against_teachers).totals(
        held_out(1, 4), 0, 1
    )

    at_once = [probs_at_once(m, starts(True)) for m in models]
    of_mean, *of_teachers = np.asarray(sums) / tokens
    assert of_mean == pytest.approx(-np.log(np.mean(at_once, 0)).mean(), rel=1e-12)
    for teacher, probs, found in zip(
        teachers, at_once[1:], np.reshape(of_teachers, [2, 4]), strict=True
    ):
        measures = evaluation.TeacherMeasures(*found)
        p, q = (all_probs_at_once(m, starts(True)) for m in (student, teacher))
        flips = p.argmax(-1) != q.argmax(-1)
        assert measures.cross_entropy == pytest.approx(-np.log(probs).mean(), rel=1e-12)
        assert measures.absolute == pytest.approx(
            np.abs(at_once[0] - probs).mean(), rel=1e-9
        )
        assert measures.total_variation == pytest.approx(
            np.abs(p - q).sum(-1).mean() / 2, rel=1e-9
        )
        assert measures.flip == flips.mean()


def test_shares_of_workers_add_up_to_the_whole():
    # 3 streams for 2 workers of 2: the last stream is empty.
    evaluator, text = evaluation.Evaluator([a_model(0)]), held_out(3, 2)

    whole = evaluator.totals(text, 0, 3)
    shares = [evaluator.totals(text, first, 2) for first in (0, 2)]

    assert sum(tokens for _, tokens in shares) == whole[1] == len(TEXT)
    assert sum(nats for [nats], _ in shares) == pytest.approx(*whole[0], rel=1e-12)


def test_progress_is_told_window_by_window():
    told = []

    evaluation.Evaluator([a_model(0)]).totals(held_out(1, 4), 0, 1, told.append)

    assert told == [1, 2, 3]


class Trained(NamedTuple):
    """What an export says of its training."""

    label: str
    reset_at_documents: bool


@pytest.mark.parametrize("resets", [True, False])
def test_exports_that_were_trained_alike_are_scored_together(resets):
    exports = [Trained("a", resets), Trained("b", resets)]

    assert evaluation.reset_at_documents(exports) is resets


def test_exports_that_read_documents_differently_are_not_scored_together():
    with pytest.raises(errors.UsageError, match="b was trained with .* True and a"):
        evaluation.reset_at_documents([Trained("a", False), Trained("b", True)])
