"""What several rooms' unit tests need; TensorFlow is imported where it is used."""

from collections.abc import Callable

import pytest

from lmcodistill.storage import faults


@pytest.fixture(autouse=True)
def count_passes_from_one():
    """Faults count the passes of a process, which all tests are in."""
    faults.forget()


@pytest.fixture(scope="session")
def vocabulary():
    """12 word pieces, of which `</s>` is id 2."""
    from tests.support import spoilt_exports

    return spoilt_exports.make_vocabulary()


@pytest.fixture(scope="session")
def config():
    """Two layers, and a name with a slash in it for every one of their weights."""
    from tests.support import spoilt_exports

    return spoilt_exports.CONFIG


@pytest.fixture
def make_export(vocabulary, config) -> Callable:
    """Makes exports that were never on disk; the seed decides their weights."""
    from lmcodistill.exports import reader
    from lmcodistill.model import weights

    def make(student: int, step: int, seed: int = 0, **changes) -> reader.Export:
        given = {
            "source": f"students/{student}/exports/export-{step:09d}-i1",
            "student": student,
            "step": step,
            "config": config,
            "vocab_size": vocabulary.size,
            "vocabulary": vocabulary.fingerprint,
            "reset_at_documents": True,
            "generation": 1,
            **changes,
        }
        values = weights.initial(given["config"], given["vocab_size"], seed)
        return reader.Export(**{"weights": values, **given})

    return make
