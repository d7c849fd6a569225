"""Vocabularies: what is none, or cannot end a document, is refused."""

import io

import numpy as np
import pytest
import sentencepiece

from lmcodistill import errors
from lmcodistill.data import vocabulary


def test_vocabulary_encodes_and_decodes(tmp_path, vocabulary_model):
    (tmp_path / "vocabulary.model").write_bytes(vocabulary_model)

    found = vocabulary.Vocabulary.load(tmp_path / "vocabulary.model")

    assert (found.size, found.end_id, len(found.pieces)) == (12, 2, 12)
    assert found.pieces[2] == "</s>"
    assert found.decode(found.encode("six two nine")) == "six two nine"
    ids = found.encode_many(["one two", "", "two"])
    assert [x.dtype for x in ids] == [np.int32] * 3
    assert [x.tolist() for x in ids] == [found.encode("one two"), [], [ids[0][1]]]
    assert found.decode(ids[0]) == "one two"
    assert found.encode("eleven twelve") == [found.unknown_id] * 2


def test_missing_vocabulary_is_refused(tmp_path):
    with pytest.raises(errors.DataError, match="No such file.*the folder that prep"):
        vocabulary.Vocabulary.load(tmp_path / "vocabulary.model")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"not a model", "not a SentencePiece model"), (b"", "no end piece")],
)
def test_file_that_is_no_model_is_refused(tmp_path, content, reason):
    (tmp_path / "vocabulary.model").write_bytes(content)

    with pytest.raises(errors.DataError, match=reason):
        vocabulary.Vocabulary.load(tmp_path / "vocabulary.model")


def test_damaged_model_is_refused(tmp_path, vocabulary_model):
    # The message of SentencePiece quotes the piece, which is no text any more.
    damaged = vocabulary_model.replace(b"<unk>", b"\xf8unk>", 1)
    (tmp_path / "vocabulary.model").write_bytes(damaged)

    with pytest.raises(errors.DataError, match="is not a SentencePiece model"):
        vocabulary.Vocabulary.load(tmp_path / "vocabulary.model")


def test_vocabulary_without_end_piece_is_refused(tmp_path):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["one two three"]),
        model_writer=model,
        model_type="word",
        vocab_size=5,
        eos_id=-1,
        minloglevel=2,
    )
    (tmp_path / "vocabulary.model").write_bytes(model.getvalue())

    with pytest.raises(errors.DataError, match="no end piece `</s>`"):
        vocabulary.Vocabulary.load(tmp_path / "vocabulary.model")
