"""What the tests of codistillation share: a vocabulary and small models."""

import io
import pathlib
from collections.abc import Callable

import pytest
import sentencepiece

from lmcodistill.codistill import exports
from lmcodistill.data import vocabulary as vocabulary_lib
from lmcodistill.model import weights
from lmcodistill.settings import model as settings

VOCAB_SIZE = 12


@pytest.fixture(scope="session")
def vocabulary() -> vocabulary_lib.Vocabulary:
    """12 word pieces, of which `</s>` is id 2."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["one two three four five six seven eight nine"] * 3),
        model_writer=model,
        model_type="word",
        vocab_size=VOCAB_SIZE,
        minloglevel=2,
    )
    return vocabulary_lib.Vocabulary(model.getvalue())


@pytest.fixture(scope="session")
def config() -> settings.LanguageModel:
    """Two layers, and a name with a slash in it for every one of their weights."""
    return settings.LanguageModel(embedding_size=3, num_layers=2, hidden_size=4)


@pytest.fixture
def make_export(vocabulary, config) -> Callable[..., exports.Export]:
    """Makes exports that were never on disk; the seed decides their weights."""

    def make(student: int, step: int, seed: int = 0, **changes) -> exports.Export:
        given = {
            "source": pathlib.Path(f"students/{student}/exports/export-{step:09d}"),
            "student": student,
            "step": step,
            "config": config,
            "vocab_size": VOCAB_SIZE,
            "vocabulary": vocabulary.fingerprint,
            "reset_at_documents": True,
            **changes,
        }
        values = weights.initial(given["config"], given["vocab_size"], seed)
        return exports.Export(**given, weights=values)

    return make
