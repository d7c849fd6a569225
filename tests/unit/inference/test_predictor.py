"""Students in use, against the model read in one window, and against each other."""

import math
import random

import numpy as np
import pytest
import tensorflow as tf

import lmcodistill
from lmcodistill import errors
from lmcodistill.model import scoring
from tests.support import small_data, untrained_run

TEXTS = list(untrained_run.TEXTS)


@pytest.fixture(scope="module")
def student(run_dir):
    return lmcodistill.load(run_dir / "students" / "0")


@pytest.fixture(scope="module")
def ensemble(run_dir):
    return lmcodistill.load(run_dir)


def read_at_once(predictor, text):
    """Returns [members, tokens] nats of a text that is read as one window."""
    end_id = predictor.vocabulary.end_id
    ids = [*predictor.vocabulary.encode(text), end_id]
    inputs, targets = tf.constant([[end_id, *ids[:-1]]]), tf.constant([ids])
    return np.concatenate(
        [scoring.token_losses(m.model, inputs, targets) for m in predictor.members]
    )


def test_text_has_the_nats_of_one_reading_its_end_included(student):
    scores = student.score(TEXTS)

    for text, score in zip(TEXTS, scores, strict=True):
        [nats] = read_at_once(student, text)
        assert score.num_tokens == len(text.split()) + 1
        assert score.num_bytes == len(text)
        assert score.nats == pytest.approx(nats.sum(), rel=1e-5)


def test_ensemble_averages_probabilities_token_by_token(ensemble):
    [score] = ensemble.score(TEXTS[:1], per_token=True)

    probs = np.exp(-read_at_once(ensemble, TEXTS[0])).mean(0)
    found = [token.nats for token in score.tokens]
    np.testing.assert_allclose(found, -np.log(probs), rtol=1e-5)
    assert math.fsum(found) == pytest.approx(score.nats, rel=1e-12)


def test_each_token_is_named_by_its_piece(student):
    [score] = student.score(["one two"], per_token=True)

    assert [token.piece for token in score.tokens] == ["\u2581one", "\u2581two", "</s>"]


def test_tokens_are_left_out_unless_asked_for(student):
    assert student.score(["one"])[0].tokens is None


def test_score_of_a_text_does_not_depend_on_the_texts_beside_it(student):
    # More than are read at once, and some that several windows cover.
    random_text = random.Random(0)
    words = small_data._SENTENCES[0].split()
    texts = [" ".join(random_text.choices(words, k=k)) for k in (*range(35), 70, 100)]
    random_text.shuffle(texts)

    together = student.score(texts)

    alone = [student.score([text])[0] for text in texts]
    for one, other in zip(together, alone, strict=True):
        assert one.num_tokens == other.num_tokens
        assert one.nats == pytest.approx(other.nats, rel=1e-5)


def test_no_texts_have_no_scores(student):
    assert student.score([]) == []


def test_units_are_those_of_the_definition(student):
    [score] = student.score(["one two three"])

    assert score.cross_entropy == score.nats / 4
    assert score.perplexity == math.exp(score.nats / 4)
    assert score.bits_per_byte == pytest.approx(score.nats / math.log(2) / 13)
    assert student.score([""])[0].bits_per_byte is None


@pytest.mark.parametrize("name", ["student", "ensemble"])
def test_split_has_the_nats_of_its_texts(request, data_dir, name):
    predictor = request.getfixturevalue(name)

    found = predictor.evaluate(data_dir, lanes=1)

    texts = predictor.score(TEXTS)
    nats = math.fsum(text.nats for text in texts)
    assert found.num_tokens == sum(text.num_tokens for text in texts)
    assert found.num_words == sum(len(text.split()) for text in TEXTS)
    assert found.nats == pytest.approx(nats, rel=1e-6)
    assert found.perplexity == math.exp(found.cross_entropy)
    assert found.word_perplexity == math.exp(found.nats / found.num_words)
    assert found.bits_per_byte == pytest.approx(
        nats / math.log(2.0) / sum(map(len, TEXTS)), rel=1e-6
    )


def test_of_a_part_nobody_knows_the_words_and_bytes(student, data_dir):
    found = student.evaluate(data_dir, first_token=4, max_tokens=4)

    assert found.num_tokens == 4
    assert found.word_perplexity is found.bits_per_byte is None


def test_progress_is_told_by_windows(student, data_dir):
    told = []

    def begin(total):
        told.append(("in all", total))
        return told.append

    student.evaluate(data_dir, lanes=1, window=8, progress=begin)

    assert told == [("in all", 3), 1, 2, 3]  # 17 tokens.


def test_same_seed_gives_the_same_texts_and_another_others(ensemble):
    once, again, other = (
        ensemble.generate("one", num_samples=3, num_tokens=8, seed=seed)
        for seed in (1, 1, 2)
    )

    assert once == again != other
    assert all(text.startswith("one") for text in once)


def test_most_likely_token_is_that_of_the_mean_probabilities(ensemble):
    # Nothing is sampled, so every token must be the argmax over all continuations.
    [text] = ensemble.generate("one two", num_tokens=3, temperature=0.0)

    ids = ensemble.vocabulary.encode("one two")
    end_id = ensemble.vocabulary.end_id
    for _ in range(3):
        tokens = tf.constant([[end_id, *ids]])
        starts = tf.constant([[True] + [False] * len(ids)])
        probs = [
            tf.nn.softmax(
                scoring.next_logits(m.model, tokens, starts, m.model.initial_state(1))[
                    0
                ]
            ).numpy()
            for m in ensemble.members
        ]
        chosen = int(np.mean(probs, 0).argmax())
        if chosen == end_id:
            break
        ids.append(chosen)
    assert ensemble.vocabulary.encode(text) == ids


def test_ensemble_of_one_student_twice_says_what_the_student_says(run_dir, student):
    path = run_dir / "students" / "0"

    twice = lmcodistill.load(path, path)

    assert twice.score(TEXTS)[3].nats == pytest.approx(
        student.score(TEXTS)[3].nats, rel=1e-6
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"num_samples": 0}, "num_samples = 0"),
        ({"num_tokens": 0}, "num_tokens = 0"),
        ({"temperature": -1.0}, "temperature = -1.0"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"temperature": float("inf")}, "temperature = inf"),
        ({"seed": -1}, "seed = -1"),
        ({"prompt": "gr\udcfc\udcdfe"}, "no UTF-8"),
    ],
)
def test_what_cannot_be_generated_is_refused(student, given, words):
    with pytest.raises(errors.UsageError, match=words):
        student.generate(**given)


def test_text_in_place_of_texts_is_refused(student):
    with pytest.raises(errors.UsageError, match=r"Write score\(\[text\]\)"):
        student.score("one two")


def test_text_that_is_no_unicode_is_refused(student):
    with pytest.raises(errors.UsageError, match="no UTF-8"):
        student.score(["one", "tw\udcff"])


@pytest.mark.parametrize("given", ["lanes", "window", "first_token", "max_tokens"])
def test_what_cannot_be_evaluated_is_refused(student, data_dir, given):
    with pytest.raises(errors.UsageError, match=f"{given} = -1"):
        student.evaluate(data_dir, **{given: -1})


def test_text_of_another_vocabulary_is_refused(student, tmp_path):
    other = small_data.vocabulary_model(("red green blue six",) * 3, 7)
    data = small_data.write(tmp_path, [[[3, 2]]], [[3, 2]], other, vocab_size=7)

    with pytest.raises(errors.SnapshotError, match="was trained with vocabulary"):
        student.evaluate(data)


def test_students_that_read_documents_differently_are_not_evaluated_together(
    run_dir, data_dir, tmp_path
):
    other = untrained_run.make(tmp_path / "other", 1, reset_at_documents=False)
    mixed = lmcodistill.load(run_dir / "students" / "0", other)

    with pytest.raises(errors.UsageError, match="cannot read one text together"):
        mixed.evaluate(data_dir)


def test_exports_are_loaded_from_a_url(ensemble, tmp_path):
    untrained_run.make(tmp_path / "RUN", shared="memory://predictor/run")

    remote = lmcodistill.load("memory://predictor/run")

    assert remote.score(TEXTS) == ensemble.score(TEXTS)


def test_signed_exports_need_their_key(student, tmp_path):
    key = b"k" * 32
    run = untrained_run.make(tmp_path / "RUN", 1, key=key)

    assert lmcodistill.load(run, key=key).score(TEXTS) == student.score(TEXTS)
    with pytest.raises(errors.SnapshotError, match="no key was given"):
        lmcodistill.load(run)


def test_nothing_there_is_said_before_tensorflow_is_asked(tmp_path):
    with pytest.raises(errors.SnapshotError, match="holds no committed export"):
        lmcodistill.load(tmp_path)
