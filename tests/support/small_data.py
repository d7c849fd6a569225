"""Data folders of a few tokens, as `lmcodistill prep` would write them."""

import dataclasses
import functools
import hashlib
import io
import pathlib
from collections.abc import Sequence

import numpy as np
import sentencepiece
from numpy.typing import ArrayLike

from lmcodistill.data import shards
from lmcodistill.storage import files, layout

VOCAB_SIZE = 12
# <unk>, <s>, </s>; the last ends documents.
SPECIAL, END = 3, 2
_SENTENCES = ("one two three four five six seven eight nine",) * 3


@functools.cache
def vocabulary_model(
    sentences: tuple[str, ...] = _SENTENCES, vocab_size: int = VOCAB_SIZE
) -> bytes:
    """Returns a SentencePiece model of the words of sentences."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        model_type="word",
        vocab_size=vocab_size,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def write(
    root: pathlib.Path,
    train: Sequence[Sequence[ArrayLike]],
    validation: Sequence[ArrayLike],
    model: bytes = b"",
    vocab_size: int = VOCAB_SIZE,
    guide: Sequence[ArrayLike] = (),
    num_words: int = 0,
    num_bytes: int = 0,
) -> pathlib.Path:
    """Writes a data folder and returns it.

    Args:
        root: Where.
        train: Of each partition, of each shard, the tokens.
        validation: Of each shard, the tokens.
        model: The vocabulary; else that of 12 words.
        vocab_size: How many pieces it has.
        guide: Of each shard, the tokens; none makes no guide.
        num_words: Of the validation text.
        num_bytes: Likewise.
    """
    model = model or vocabulary_model()
    dtype = shards.token_dtype(vocab_size)
    names = [layout.DataLayout.train_name(k, len(train)) for k in range(len(train))]
    splits = [
        _write_split(root, n, p, dtype) for n, p in zip(names, train, strict=True)
    ]
    held_out = {"validation": validation} | ({"guide": guide} if guide else {})
    written = {n: _write_split(root, n, x, dtype) for n, x in held_out.items()}
    written["validation"] = dataclasses.replace(
        written["validation"], words=num_words, bytes=num_bytes
    )
    manifest = shards.Manifest(
        vocabulary=hashlib.sha256(model).hexdigest(),
        vocab_size=vocab_size,
        end_id=END,
        train=tuple(splits),
        held_out=written,
    )
    files.write_text(root / "manifest.json", files.to_json(manifest.to_json()))
    (root / "vocabulary.model").write_bytes(model)
    return root


def _write_split(
    root: pathlib.Path, name: str, parts: Sequence[ArrayLike], dtype: np.dtype
) -> shards.Split:
    (root / name).mkdir(parents=True)
    written = []
    for index, tokens in enumerate(np.asarray(part, dtype) for part in parts):
        file = layout.DataLayout.shard_name(index)
        (root / name / file).write_bytes(tokens.tobytes())
        documents = int((tokens == END).sum())
        digest = hashlib.sha256(tokens.tobytes()).hexdigest()
        written.append(shards.Shard(file, len(tokens), documents, digest))
    num_tokens = sum(shard.tokens for shard in written)
    num_documents = sum(shard.documents for shard in written)
    return shards.Split(name, tuple(written), num_documents, num_tokens, 0, 0)
