"""Churn: sums by document and kind, intervals, and the reading of a text."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.commands import churn as command
from lmcodistill.data import shards, windows
from lmcodistill.experiments import churn, comparer
from lmcodistill.model import output_head, registry, weights
from lmcodistill.settings import model as model_settings

VOCAB_SIZE, END_ID = 7, 1
CONFIG = model_settings.LanguageModel(embedding_size=3, hidden_size=4, num_layers=1)
# Two documents, the second one long enough to run over a window's end.
TEXT = np.array([2, 3, 4, END_ID, 5, 6, 2, 3, 4, 5, END_ID], np.int32)


def model_of(seed):
    return registry.build(
        CONFIG, VOCAB_SIZE, weights.initial(CONFIG, VOCAB_SIZE, seed), trainable=False
    )


def text_in(streams, reset=True):
    return windows.EvaluationWindows(
        shards.SplitTokens([TEXT]),
        streams=streams,
        window=4,
        end_id=END_ID,
        reset_at_documents=reset,
    )


def probs_of(model):
    """Returns [tokens, V] without windows: the text in one piece, one stream."""
    inputs = np.array([[END_ID, *TEXT[:-1]]])
    starts = inputs == END_ID
    hidden, _ = model(inputs, starts, model.initial_state(1))
    logits = output_head.logits_of(model.output_head(hidden))
    return np.asarray(tf.nn.softmax(logits))


OCCURRENCES = np.array([0, 5, 50, 500, 5_000, 50_000, 500_000])


def test_pairs_are_compared_token_by_token_and_added_by_document():
    models = [model_of(seed) for seed in (0, 1, 2)]

    sums = comparer.Comparer([[m] for m in models]).sums(text_in(1), OCCURRENCES)

    p = [probs_of(m) for m in models]
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = [np.abs(p[a] - p[b]).sum(1) / 2 for a, b in pairs]
    assert sums.counts[:, 0].tolist() == [4.0, 7.0]
    assert sums.pairs == pairs
    np.testing.assert_allclose(
        sums.sums[:, :, 0, churn.MEASURES.index("total_variation")],
        [[e[:4].sum(), e[4:].sum()] for e in expected],
        rtol=1e-4,
    )


@pytest.mark.parametrize("streams", [1, 2, 3, 5])
@pytest.mark.parametrize("reset", [True, False])
def test_documents_are_whole_wherever_streams_cut_them(streams, reset):
    models = [model_of(0), model_of(1)]
    text = text_in(streams, reset)

    documents, places = text.documents()
    sums = comparer.Comparer([[m] for m in models]).sums(text, OCCURRENCES)

    assert documents.tolist() == [0] * 4 + [1] * 7
    assert places.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6]
    assert sums.counts[:, 0].tolist() == [4.0, 7.0]


def test_a_model_does_not_differ_from_itself_and_an_ensemble_of_it():
    model = model_of(0)

    sums = comparer.Comparer([[model], [model, model]]).sums(text_in(1), OCCURRENCES)

    np.testing.assert_allclose(sums.sums, 0.0, atol=1e-6)


def test_tokens_are_counted_by_position_and_by_how_often_they_are_trained_on():
    models = [model_of(0), model_of(1)]

    sums = comparer.Comparer([[m] for m in models]).sums(text_in(1), OCCURRENCES)

    counts = dict(zip(churn.KINDS, sums.counts.sum(0), strict=True))
    assert counts["position in the document 0 to 7"] == 11
    assert counts["occurrences in training 0 to 99"] == 4  # </s> twice, 2 twice.
    assert counts["occurrences in training 100,000 and more"] == 1


def test_every_token_is_in_one_kind_of_each_sort():
    models = [model_of(0), model_of(1)]

    sums = comparer.Comparer([[m] for m in models]).sums(text_in(3), OCCURRENCES)

    assert sums.counts[:, 0].sum() == len(TEXT)
    assert sums.counts[:, 1:6].sum() == len(TEXT)
    assert sums.counts[:, 6:].sum() == len(TEXT)


def sums_of(*values, pairs=((0, 1),)):
    """Returns documents of ten tokens with these differences: [documents] or of pairs.

    Given [pairs] for each document, every pair has its own.
    """
    by_pair = np.asarray(values, float).reshape(len(values), -1).T
    differences = np.repeat(np.broadcast_to(by_pair, (len(pairs), len(values))), 10, 1)
    sums = churn.ChurnSums.zeros(pairs, len(values))
    tokens = np.arange(10 * len(values))
    sums.add(
        tokens // 10,
        tokens % 10,
        np.zeros(len(tokens)),
        np.tile(differences[:, :, None], len(churn.MEASURES)),
    )
    return sums


def test_interval_holds_the_mean_and_what_documents_differ_by():
    found = churn.estimates(sums_of(*np.linspace(0.0, 1.0, 101)))

    estimate = found[churn.ALL]["absolute"]
    assert estimate.mean == pytest.approx(0.5)
    assert 0.43 < estimate.low < 0.46
    assert 0.54 < estimate.high < 0.57


def test_kinds_without_a_token_are_left_out():
    found = churn.estimates(sums_of(0.5, 0.5))

    assert "position in the document 8 to 31" in found
    assert "position in the document 32 to 127" not in found


def test_ratio_is_taken_on_the_same_documents():
    values = np.linspace(0.1, 1.0, 50)

    found = churn.ratios(sums_of(*(0.65 * values)), sums_of(*values))

    assert found["absolute"][:3] == pytest.approx((0.65, 0.65, 0.65))
    assert found["absolute"].retrains_low is None


THREE = ((0, 1), (0, 2), (1, 2))


def test_interval_over_retrains_leaves_out_model_after_model():
    # Pairs without model 0, 1, 2: 0.5, 0.3, 0.1. Variance 2/3 * 0.08, t of 2 degrees.
    found = churn.estimates(sums_of([0.1, 0.3, 0.5], [0.1, 0.3, 0.5], pairs=THREE))

    estimate = found[churn.ALL]["absolute"]
    half = 4.302653 * (2 / 3 * 0.08) ** 0.5
    assert estimate.mean == pytest.approx(0.3)
    assert estimate.retrains_low == pytest.approx(0.3 - half)
    assert estimate.retrains_high == pytest.approx(0.3 + half)


def test_two_models_say_nothing_of_other_retrains():
    found = churn.estimates(sums_of(0.1, 0.3))

    assert found[churn.ALL]["absolute"].retrains_high is None


def test_ratio_has_the_relative_spread_of_both_groups():
    sums = sums_of([0.19, 0.2, 0.21], pairs=THREE)
    same = sums_of([0.4, 0.4, 0.4], pairs=THREE)

    found = churn.ratios(sums, same)["absolute"]

    relative = (2 / 3 * 2e-4) ** 0.5 / 0.2
    assert found.mean == pytest.approx(0.5)
    assert found.retrains_high == pytest.approx(0.5 * np.exp(4.302653 * relative))
    assert found.retrains_low * found.retrains_high == pytest.approx(0.25)


def test_interval_over_retrains_holds_the_mean_19_times_of_20():
    # Models differ by how far each is from the others, and pairs by themselves.
    rng = np.random.default_rng(0)
    models, pairs = 5, tuple(itertools.combinations(range(5), 2))

    def holds():
        far = 0.3 + rng.normal(0.0, 0.03, size=models)
        values = [(far[a] + far[b]) / 2 + rng.normal(0.0, 0.01) for a, b in pairs]
        spread = sums_of(values, pairs=pairs).spread()[0, 0]
        return abs(np.mean(values) - 0.3) < 2.776445 * spread

    assert 0.92 < np.mean([holds() for _ in range(1_000)]) < 0.99


@pytest.mark.parametrize(
    ("groups", "arguments"),
    [
        ([], []),
        ([], ["A"]),
        (["single=A"], []),
        (["A,B"], []),
        (["single=A,"], []),
        (["single=A+,B"], []),
        (["single=A,B", "single=C,D"], []),
    ],
)
def test_groups_that_cannot_be_compared_are_refused(groups, arguments):
    with pytest.raises(errors.UsageError):
        command._groups(groups, arguments)


def test_ensembles_are_joined_by_plus():
    groups = command._groups(["pairs=A+B,C+D"], [])

    assert groups == {"pairs": [["A", "B"], ["C", "D"]]}


def test_one_model_alone_is_named():
    with pytest.raises(errors.UsageError, match="A is one"):
        command._groups([], ["A"])
