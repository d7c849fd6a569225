"""Single documents of a data folder, by number and by id."""

import os

import pytest

from lmcodistill import errors
from lmcodistill.data import document_reader
from tests.unit.data import proven_folder

DOCS = proven_folder.documents(12)


@pytest.fixture
def root(tmp_path, vocabulary_model):
    return proven_folder.write(
        tmp_path / "data",
        vocabulary_model,
        proven_folder.splits_of(DOCS),
        proven_folder.kept_of(DOCS),
    )


def test_documents_are_numbered_through_all_shards(root):
    reader = document_reader.DocumentReader(root)

    found = [reader.read(number) for number in range(reader.num_documents)]

    assert [int(document.id, 16) for document in found] == [doc.id for doc in DOCS]
    for document, doc in zip(found, DOCS, strict=True):
        assert len(document.text.split()) == len(doc.tokens) == document.tokens - 1
        assert (document.source, document.source_number) == (
            f"{doc.file}.txt",
            doc.number,
        )
    assert found[11].split == "validation"
    assert found[11].shard == "shard-00001.tokens"


def test_document_is_found_by_its_id_and_by_its_number(root):
    reader = document_reader.DocumentReader(root)

    assert reader.find(f"{DOCS[7].id:032x}") == reader.find("7") == reader.read(7)


@pytest.mark.parametrize("wanted", ["12", "-1", "0" * 32, "x", ""])
def test_document_that_is_not_there_says_what_is(root, wanted):
    with pytest.raises(errors.UsageError, match="has no document .*; it has 12, found"):
        document_reader.DocumentReader(root).find(wanted)


@pytest.mark.parametrize(("count", "numbers"), [(3, [2, 6, 10]), (50, range(12))])
def test_sample_is_spread_over_the_folder(root, count, numbers):
    found = document_reader.DocumentReader(root).spread(count)

    assert [document.number for document in found] == list(numbers)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: os.truncate(path, 44),
        lambda path: os.truncate(path, 45),
        lambda path: path.write_bytes(b"\xff" * path.stat().st_size),
    ],
)
def test_damaged_index_says_how_to_learn_more(root, damage):
    damage(root / "train-00000-of-00002" / "shard-00000.documents")

    with pytest.raises(errors.DataError, match="inspect .* --verify"):
        document_reader.DocumentReader(root).read(1)


def test_tokens_that_mean_nothing_are_refused(root):
    path = root / "train-00000-of-00002" / "shard-00000.tokens"
    path.write_bytes(b"\xff" * path.stat().st_size)

    with pytest.raises(errors.DataError, match="inspect .* --verify"):
        document_reader.DocumentReader(root).read(1)


def test_folder_of_version_1_has_no_documents_to_find(root):
    proven_folder.as_version_1(root)

    with pytest.raises(errors.DataError, match="version 1, which has no index"):
        document_reader.DocumentReader(root)
