"""What the tests of codistillation share: a vocabulary, small models, exports."""

from collections.abc import Callable

import pytest

from lmcodistill.data import vocabulary as vocabulary_lib
from lmcodistill.exports import reader
from lmcodistill.model import weights
from lmcodistill.settings import model as settings
from tests.support import spoilt_exports

VOCAB_SIZE = 12


@pytest.fixture(scope="session")
def vocabulary() -> vocabulary_lib.Vocabulary:
    """12 word pieces, of which `</s>` is id 2."""
    return spoilt_exports.make_vocabulary()


@pytest.fixture(scope="session")
def config() -> settings.LanguageModel:
    """Two layers, and a name with a slash in it for every one of their weights."""
    return settings.LanguageModel(embedding_size=3, num_layers=2, hidden_size=4)


@pytest.fixture
def make_export(vocabulary, config) -> Callable[..., reader.Export]:
    """Makes exports that were never on disk; the seed decides their weights."""

    def make(student: int, step: int, seed: int = 0, **changes) -> reader.Export:
        given = {
            "source": f"students/{student}/exports/export-{step:09d}-i1",
            "student": student,
            "step": step,
            "config": config,
            "vocab_size": VOCAB_SIZE,
            "vocabulary": vocabulary.fingerprint,
            "reset_at_documents": True,
            "generation": 1,
            **changes,
        }
        values = weights.initial(given["config"], given["vocab_size"], seed)
        return reader.Export(**{"weights": values, **given})

    return make


@pytest.fixture(scope="session")
def whole_bench(tmp_path_factory):
    return spoilt_exports.Bench(tmp_path_factory.mktemp("bench"), seed=4)


@pytest.fixture
def bench(whole_bench):
    """An export on disk to spoil, whole when a test begins."""
    whole_bench.repair()
    return whole_bench
