"""What the tests of the data room share: a vocabulary and a small data folder."""

import pathlib
from collections.abc import Callable, Sequence

import pytest

from tests.support import small_data


@pytest.fixture(scope="session")
def vocabulary_model() -> bytes:
    """A SentencePiece model of 12 word pieces, of which `</s>` is id 2."""
    return small_data.vocabulary_model()


@pytest.fixture
def data_folder(tmp_path) -> Callable[..., pathlib.Path]:
    """Writes a data folder from lists of shards, as `lmcodistill prep` would."""

    def write(
        train: Sequence[Sequence[Sequence[int]]], validation: Sequence[Sequence[int]]
    ) -> pathlib.Path:
        return small_data.write(tmp_path / "data", train, validation)

    return write
