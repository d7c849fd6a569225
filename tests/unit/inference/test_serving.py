"""Text as served models and prompts read it: as training text was read."""

import dataclasses
import random

import numpy as np
import pytest
import tensorflow as tf

from data_prep import work
from data_prep.tokens import vocabulary_training
from lmcodistill.data import shards, text_forms, vocabulary, windows
from lmcodistill.inference import evaluation, sampling, serving
from lmcodistill.model import registry, weights
from lmcodistill.settings import model as model_settings
from lmcodistill.settings import prep
from tests.support import crawl

TEXT = [
    f"The {a} of the {b} was near, {c} said in {n}. Then \u201cwe\u201d left!"
    for n, (a, b, c) in enumerate(
        zip(crawl.WORDS, crawl.WORDS[7:], crawl.WORDS[31:], strict=False)
    )
]
DOCUMENTS = [
    "The river\nThe stone",
    "zzz qqq www the",
    "word " * 50,
    "garden  winter\t\u00a0river\r\n\r\nThe captain. The sister? \u201cNo.\u201d Yes",
    "",
    " \n ",
    "In 1984 it was 0 \0 nul\0s and \u2581 and \ue000 marks \ue003.",
    "  leading and trailing  ",
    "\u65e5\u672c\u8a9e \U0001f600 e\u0301 <unk> </s> <0x41> \u2047",
    "A.\nB. C! \n\n D.  ",
]
SETTINGS = {
    "unigram": {"type": "unigram", "size": 340},
    "bpe": {"type": "bpe", "size": 340},
    "generic": {"type": "bpe", "size": 340, "digits": "generic"},
    "paragraphs": {"type": "bpe", "size": 340, "marks": "paragraphs"},
    "sentences": {"type": "unigram", "size": 340, "marks": "sentences"},
    "word": {"type": "word", "size": 60},
}
LSTM = model_settings.LanguageModel(embedding_size=4, num_layers=1, hidden_size=6)
TRANSFORMER = model_settings.Transformer(
    width=8,
    num_layers=2,
    num_heads=2,
    feed_forward_width=8,
    memory=6,
    init_scale=1.3,
)
WITHOUT_MEMORY = dataclasses.replace(TRANSFORMER, memory=0)


def of_models(*transformers):
    """Repeats a test with LSTMs of every vocabulary and with Transformers of one."""
    lstms = [(name, LSTM) for name in SETTINGS]
    cases = [*lstms, *(("unigram", config) for config in transformers)]
    return pytest.mark.parametrize(("pieces", "config"), cases, indirect=True)


def train(folder, settings):
    if settings.type == "word":
        words = " ".join(text_forms.apply(text_forms.WORDS, t) for t in TEXT).split(" ")
        counts = {word: words.count(word) for word in words} | {"\n": 99}
        return vocabulary.Vocabulary(
            vocabulary_training.word_model(counts, settings.size)
        )
    of_run = work.WorkFolder(folder)
    of_run.make()
    (folder / "sample").write_text("\n".join(TEXT), encoding="utf-8")
    model = vocabulary_training.train_pieces(
        settings, (folder / "sample",), of_run, lambda progress: None
    )
    return vocabulary.Vocabulary(model)


@pytest.mark.parametrize(
    "rules",
    [
        text_forms.CLEAN,
        text_forms.WORDS,
        *text_forms.MARKING.values(),
        text_forms.MARKING["sentences"] + text_forms.OPENING,
        text_forms.PLAIN,
        text_forms.DIGITS["generic"],
    ],
)
def test_graph_changes_text_as_python_does(rules):
    characters = [*"ab.!?\"')]90 \t\n\r\0\x1c\x85", *"\u00a0\u2019\u201d\u2028\u3000"]
    characters += ["\n", " ", *"\ue000\ue001\ue002\ue003\u2581\u200b\U0001f600"]
    draw = random.Random(0)
    texts = ["".join(draw.choices(characters, k=n % 30)) for n in range(3_000)]

    changed = serving._apply(rules, tf.constant(texts))

    expected = [text_forms.apply(rules, text) for text in texts]
    assert [text.decode() for text in changed.numpy()] == expected


@pytest.fixture(scope="module", params=SETTINGS)
def pieces(request, tmp_path_factory):
    settings = prep.PrepVocabulary(**SETTINGS[request.param], num_threads=1)
    return train(tmp_path_factory.mktemp("vocabulary"), settings)


@pytest.fixture(scope="module")
def config(request):
    return getattr(request, "param", LSTM)


def a_model(pieces, config):
    return registry.build(config, pieces.size, weights.initial(config, pieces.size, 0))


@pytest.fixture(scope="module")
def made():
    """What was made for a vocabulary and a model, which pytest asks for in turns."""
    return {}


@pytest.fixture
def served(pieces, config, made, tmp_path_factory):
    key = ("served", pieces.fingerprint, config)
    if key not in made:
        target = tmp_path_factory.mktemp("served") / "1"
        serving.write(a_model(pieces, config), pieces, target, complete_tokens=12)
        made[key] = tf.saved_model.load(str(target))
    return made[key].signatures


@pytest.fixture
def sampler(pieces, config, made):
    key = ("sampler", pieces.fingerprint, config)
    if key not in made:
        made[key] = sampling.Sampler([a_model(pieces, config)], pieces)
    return made[key]


def ids_of(pieces, document):
    """Returns what prep writes of a document, `</s>` at its end."""
    return [*pieces.encode(pieces.form(text_forms.clean(document))), pieces.end_id]


@of_models(TRANSFORMER)
def test_served_scores_are_those_of_evaluation(pieces, config, served):
    scores = served["score"](texts=tf.constant(DOCUMENTS))
    evaluator = evaluation.Evaluator([a_model(pieces, config)])

    for document, nats, count in zip(
        DOCUMENTS, scores["cross_entropy"], scores["num_tokens"], strict=True
    ):
        ids = np.array(ids_of(pieces, document), np.uint16)
        held_out = windows.EvaluationWindows(
            *(shards.SplitTokens([ids]),), streams=1, window=4, end_id=pieces.end_id,
            reset_at_documents=True,
        )  # fmt: skip
        [expected], tokens = evaluator.totals(held_out, 0, 1)
        assert int(count) == tokens == len(ids), document
        np.testing.assert_allclose(nats, expected, rtol=1e-4, err_msg=document)


@pytest.mark.parametrize("pieces", ["word"], indirect=True)
def test_words_are_counted_one_by_one(served):
    counts = served["score"](texts=tf.constant(DOCUMENTS[:3]))["num_tokens"]

    assert list(counts.numpy()) == [6, 5, 51]


@of_models(TRANSFORMER, WITHOUT_MEMORY)
@pytest.mark.parametrize("prompt", [DOCUMENTS[i] for i in (0, 1, 3, 4, 6)])
def test_completion_keeps_the_prompt_and_is_the_greedy_one(sampler, served, prompt):
    [text] = sampler.continuations(prompt, num_tokens=12, temperature=0.0)

    completed = served["complete"](texts=tf.constant([prompt]))["texts"]

    assert completed.numpy()[0].decode() == text
    assert text.startswith(text_forms.clean(prompt))
    added = text[len(text_forms.clean(prompt)) :]
    assert not set(added) & {"\0", *"\ue000\ue001\ue002\ue003"}


@pytest.mark.parametrize("pieces", ["sentences"], indirect=True)
def test_open_prompt_lacks_only_the_ends_of_its_last_sentence(pieces):
    texts = [
        pieces.decode(pieces.encode_prompt(prompt))
        for prompt in ("One. Two", "One.", "One.\n", "")
    ]

    assert texts == [
        "\ue000\ue002One.\ue003\ue002 Two",
        "\ue000\ue002One.",
        "\ue000\ue002One.\ue003\ue001\n",
        "",
    ]


def test_bytes_that_are_no_text_are_served_as_replaced_ones(served):
    broken, whole = "a\udcffb c".encode(errors="surrogateescape"), "a\ufffdb c"

    scores = served["score"](texts=tf.constant([broken, whole.encode()]))

    assert scores["num_tokens"][0] == scores["num_tokens"][1]
    np.testing.assert_allclose(*scores["cross_entropy"], rtol=1e-5)
