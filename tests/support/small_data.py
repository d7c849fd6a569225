"""Data folders of a few tokens, as `lmcodistill prep` would write them."""

import functools
import hashlib
import io
import pathlib
from collections.abc import Sequence

import numpy as np
import sentencepiece

from lmcodistill.data import shards
from lmcodistill.storage import files, layout

VOCAB_SIZE, END = 12, 2
_WORDS = "one two three four five six seven eight nine"


@functools.cache
def vocabulary_model() -> bytes:
    """Returns a SentencePiece model of 12 words, of which `</s>` is id 2."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([_WORDS] * 3),
        model_writer=model,
        model_type="word",
        vocab_size=VOCAB_SIZE,
        minloglevel=2,
    )
    return model.getvalue()


def write(
    root: pathlib.Path,
    train: Sequence[Sequence[Sequence[int]]],
    validation: Sequence[Sequence[int]],
) -> pathlib.Path:
    """Writes a data folder and returns it.

    Args:
        root: Where.
        train: Of each partition, of each shard, the tokens.
        validation: Of each shard, the tokens.
    """
    names = [layout.DataLayout.train_name(k, len(train)) for k in range(len(train))]
    splits = [_write_split(root, n, p) for n, p in zip(names, train, strict=True)]
    manifest = shards.Manifest(
        vocabulary=hashlib.sha256(vocabulary_model()).hexdigest(),
        vocab_size=VOCAB_SIZE,
        end_id=END,
        train=tuple(splits),
        held_out={"validation": _write_split(root, "validation", validation)},
    )
    files.write_text(root / "manifest.json", files.to_json(manifest.to_json()))
    (root / "vocabulary.model").write_bytes(vocabulary_model())
    return root


def _write_split(
    root: pathlib.Path, name: str, parts: Sequence[Sequence[int]]
) -> shards.Split:
    (root / name).mkdir(parents=True)
    written = []
    for index, tokens in enumerate(parts):
        content = np.asarray(tokens, "<u2").tobytes()
        file = layout.DataLayout.shard_name(index)
        (root / name / file).write_bytes(content)
        documents = list(tokens).count(END)
        digest = hashlib.sha256(content).hexdigest()
        written.append(shards.Shard(file, len(tokens), documents, digest))
    num_tokens = sum(shard.tokens for shard in written)
    return shards.Split(name, tuple(written), 1, num_tokens, words=0, bytes=0)
