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


_NAMES = ["<unk>", "</s>"]


def trained(**options):
    """Returns a vocabulary of letters and pairs of them, other characters as bytes."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        **{
            "sentence_iterator": iter(["one two\tthree 3 ", " four  five"] * 9),
            "model_writer": model,
            "model_type": "bpe",
            "vocab_size": 290,
            "normalization_rule_name": "identity",
            "remove_extra_whitespaces": False,
            "byte_fallback": True,
            "user_defined_symbols": ["\n"],
            "hard_vocab_limit": False,
            "minloglevel": 2,
            **options,
        }
    )
    return vocabulary.Vocabulary(model.getvalue())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"add_dummy_prefix": False},
        {"treat_whitespace_as_suffix": True},
        {"remove_extra_whitespaces": True},
        {"denormalization_rule_tsv": "rules.tsv"},
    ],
)
def test_text_that_its_ids_give_back_is_told_as_decoding_tells_it(
    tmp_path, monkeypatch, options
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.tsv").write_text(f"{ord('o'):X}\t{ord('u'):X}\n")
    pieces = trained(**options)
    texts = ["", "one", " one", "  one two  ", "\n\nfive\n", "\u00e9\U0001f600\u4e2d o"]
    encoded = pieces.encode_many(texts)
    # Pieces that stand for no text, and texts that are their names.
    space = pieces.pieces.index("\u2581")
    encoded += [np.array([space, i]) for i in (pieces.unknown_id, pieces.end_id)]
    texts += _NAMES

    found = [pieces.gives_back(ids, text) for ids in encoded for text in texts]

    assert found == [pieces.decode(ids) == text for ids in encoded for text in texts]
    if not options:
        read = texts[: -len(_NAMES)]
        assert found[: len(read) * len(texts)] == [a == b for a in read for b in texts]


def test_ids_that_lack_a_piece_do_not_give_the_text_back():
    pieces = trained()
    ids = pieces.encode_many(["one two three"])[0]

    assert pieces.gives_back(ids, "one two three")
    assert not pieces.gives_back(ids[:-1], "one two three")
    assert not pieces.gives_back(ids, " one two three")
    assert not pieces.gives_back(ids, "one two thre\u00e9")


def test_text_that_comes_back_is_not_decoded(monkeypatch):
    pieces = trained()
    monkeypatch.setattr(pieces, "decode", None)

    for text in ["one", " two\n", "\u00e9\U0001f600"]:
        assert pieces.gives_back(pieces.encode_many([text])[0], text)
