"""What the tests of the data room share: a vocabulary and a small data folder."""

import hashlib
import io
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import sentencepiece

from lmcodistill.data import shards
from lmcodistill.storage import files, layout


@pytest.fixture(scope="session")
def vocabulary_model() -> bytes:
    """A SentencePiece model of 12 word pieces, of which `</s>` is id 2."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["one two three four five six seven eight nine"] * 3),
        model_writer=model,
        model_type="word",
        vocab_size=12,
        minloglevel=2,
    )
    return model.getvalue()


@pytest.fixture
def data_folder(tmp_path, vocabulary_model) -> Callable[..., pathlib.Path]:
    """Writes a data folder from lists of shards, as `lmcodistill prep` would."""

    def write_split(root: pathlib.Path, name: str, parts: Sequence[Sequence[int]]):
        (root / name).mkdir(parents=True)
        found = []
        for index, tokens in enumerate(parts):
            content = np.asarray(tokens, "<u2").tobytes()
            file = layout.DataLayout.shard_name(index)
            (root / name / file).write_bytes(content)
            found.append(
                shards.Shard(
                    file=file,
                    tokens=len(tokens),
                    documents=list(tokens).count(2),
                    sha256=hashlib.sha256(content).hexdigest(),
                )
            )
        tokens = sum(s.tokens for s in found)
        return shards.Split(name, tuple(found), 1, tokens, words=0, bytes=0)

    def write(
        train: Sequence[Sequence[Sequence[int]]], validation: Sequence[Sequence[int]]
    ) -> pathlib.Path:
        root = tmp_path / "data"
        names = [layout.DataLayout.train_name(k, len(train)) for k in range(len(train))]
        manifest = shards.Manifest(
            vocabulary=hashlib.sha256(vocabulary_model).hexdigest(),
            vocab_size=12,
            end_id=2,
            train=tuple(
                write_split(root, name, parts)
                for name, parts in zip(names, train, strict=True)
            ),
            held_out={"validation": write_split(root, "validation", validation)},
        )
        files.write_text(root / "manifest.json", files.to_json(manifest.to_json()))
        (root / "vocabulary.model").write_bytes(vocabulary_model)
        return root

    return write
