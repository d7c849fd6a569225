"""A real job on made-up text, for the benchmarks: sizes, data, settings.

Steps cost the same whatever the text says, so tokens are drawn at random. All the
rest is what `lmcodistill train` would make of the same flags.
"""

import argparse
import dataclasses
import hashlib
import io
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import sentencepiece

from lmcodistill import tf_environment
from lmcodistill.commands import start_tensorflow
from lmcodistill.config import loading
from lmcodistill.data import shards
from lmcodistill.storage import files, layout
from lmcodistill.training import job

MEAN_DOCUMENT_TOKENS = 400
_SPECIAL_PIECES = 3  # <unk>, <s>, </s>


@dataclasses.dataclass(frozen=True)
class Size:
    """A model's size.

    Attributes:
        vocab_size: V.
        embedding_size: D.
        hidden_size: H.
        num_layers: LSTM layers.
    """

    vocab_size: int
    embedding_size: int
    hidden_size: int
    num_layers: int

    def __str__(self) -> str:
        names = [name for name, size in SIZES.items() if size == self]
        return names[0] if names else "x".join(map(str, dataclasses.astuple(self)))

    @classmethod
    def parse(cls, text: str) -> "Size":
        """Returns a named size, or one given as VxDxHxLAYERS."""
        try:
            return SIZES.get(text) or cls(*map(int, text.split("x")))
        except (TypeError, ValueError):
            raise argparse.ArgumentTypeError(
                f"{text!r} is no size; expected {', '.join(SIZES)}, or numbers such as "
                "24006x256x1024x2: vocabulary, embedding, units, layers"
            ) from None

    @property
    def bindings(self) -> list[str]:
        """The model's settings, as values of `--gin.`."""
        return [
            f"LanguageModel.embedding_size={self.embedding_size}",
            f"LanguageModel.hidden_size={self.hidden_size}",
            f"LanguageModel.num_layers={self.num_layers}",
        ]


SIZES = {
    "tiny": Size(1_000, 64, 128, 1),
    "small": Size(8_000, 256, 512, 2),
    "paper": Size(24_006, 256, 1_024, 2),
}


def make_data(folder: pathlib.Path, vocab_size: int, num_tokens: int) -> pathlib.Path:
    """Fills a data folder with random documents of a made-up vocabulary.

    Args:
        folder: Does not exist yet.
        vocab_size: V.
        num_tokens: Of the one training partition.
    """
    folder.mkdir(parents=True)
    vocabulary = io.BytesIO()
    words = [f"w{index}" for index in range(vocab_size - _SPECIAL_PIECES)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(words),
        model_writer=vocabulary,
        model_type="word",
        vocab_size=vocab_size,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "vocabulary.model").write_bytes(vocabulary.getvalue())
    train = _split(folder, layout.DataLayout.train_name(0, 1), vocab_size, num_tokens)
    held_out = _split(folder, "validation", vocab_size, MEAN_DOCUMENT_TOKENS)
    manifest = shards.Manifest(
        vocabulary=hashlib.sha256(vocabulary.getvalue()).hexdigest(),
        vocab_size=vocab_size,
        end_id=_SPECIAL_PIECES - 1,
        train=(train,),
        held_out={"validation": held_out},
    )
    files.write_text(folder / "manifest.json", files.to_json(manifest.to_json()))
    return folder


def _split(
    folder: pathlib.Path, name: str, vocab_size: int, num_tokens: int
) -> shards.Split:
    rng = np.random.default_rng(0)
    tokens = rng.integers(_SPECIAL_PIECES, vocab_size, num_tokens)
    tokens[rng.random(num_tokens) < 1.0 / MEAN_DOCUMENT_TOKENS] = _SPECIAL_PIECES - 1
    tokens[-1] = _SPECIAL_PIECES - 1
    documents = int((tokens == _SPECIAL_PIECES - 1).sum())
    content = tokens.astype(shards.token_dtype(vocab_size)).tobytes()
    file = layout.DataLayout.shard_name(0)
    (folder / name).mkdir()
    (folder / name / file).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    shard = shards.Shard(file, num_tokens, documents, digest)
    return shards.Split(name, (shard,), documents, num_tokens, words=0, bytes=0)


def make_job(
    data_dir: pathlib.Path,
    run_dir: pathlib.Path,
    bindings: Sequence[str],
    num_students: int = 1,
) -> job.Job:
    """Returns the job of student 0; all students read the same text.

    Args:
        data_dir: What it reads.
        run_dir: Where it writes.
        bindings: `NAME=VALUE` of each `--gin.NAME=VALUE`; what comes later wins.
        num_students: Students in the run.

    Raises:
        UsageError: a binding cannot be used.
    """
    loaded = loading.load(
        [],
        ["NUM_TRAIN_STEPS=1_000_000_000", "SAME_DATA=True", *bindings],
        classes=tuple(job.SETTINGS.values()),
        default="defaults/train.gin",
    )
    return job.Job(
        data_dir=data_dir,
        run_dir=run_dir,
        shared_dir=run_dir,
        student=0,
        num_students=num_students,
        config_text=loaded.text,
        **job.settings(loaded.get),
    )


def split_gin(unknown: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Returns the bindings among a parser's leftovers; refuses the rest."""
    for word in unknown:
        if not word.startswith("--gin."):
            parser.error(f"unknown flag {word}")
    return [word.removeprefix("--gin.") for word in unknown]


def start() -> None:
    """Imports TensorFlow as a worker that is alone on this machine has it."""
    tf_environment.prepare()
    threads = tf_environment.of_threads(len(os.sched_getaffinity(0)))
    for name, value in threads.items():
        os.environ.setdefault(name, value)  # Another number can be tried.
    start_tensorflow.start_tensorflow()
