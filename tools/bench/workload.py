"""A real job on made-up text, for the benchmarks: sizes, data, settings.

Steps cost the same whatever the text says, so tokens are drawn at random. All the
rest is what `lmcodistill train` would make of the same flags.
"""

import argparse
import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from lmcodistill import tf_environment
from lmcodistill.training import job
from tests.support import small_data

MEAN_DOCUMENT_TOKENS = 400


@dataclasses.dataclass(frozen=True)
class Size:
    """A model's size.

    Attributes:
        vocab_size: V.
        embedding_size: D; of a Transformer its width.
        hidden_size: H; of a Transformer the hidden units of its feed-forward part.
        num_layers: Layers.
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

    def bindings(self, family: str) -> list[str]:
        """Returns the model's settings, as values of `--gin.`.

        A Transformer has heads of 64 and no memory, as most programs have it.
        """
        if family == "transformer":
            return [
                "MODEL_FAMILY='transformer'",
                f"Transformer.width={self.embedding_size}",
                f"Transformer.num_heads={max(1, self.embedding_size // 64)}",
                "Transformer.num_key_value_heads=None",
                f"Transformer.feed_forward_width={self.hidden_size}",
                f"Transformer.num_layers={self.num_layers}",
                "Transformer.memory=0",
            ]
        return [
            f"LanguageModel.embedding_size={self.embedding_size}",
            f"LanguageModel.hidden_size={self.hidden_size}",
            f"LanguageModel.num_layers={self.num_layers}",
        ]


FAMILIES = ("lstm", "transformer")
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
    words = tuple(f"w{index}" for index in range(vocab_size - small_data.SPECIAL))
    train = _random_text(vocab_size, num_tokens)
    held_out = _random_text(vocab_size, MEAN_DOCUMENT_TOKENS)
    model = small_data.vocabulary_model(words, vocab_size)
    return small_data.write(folder, [[train]], [held_out], model, vocab_size)


def _random_text(vocab_size: int, num_tokens: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    tokens = rng.integers(small_data.SPECIAL, vocab_size, num_tokens)
    is_end = rng.random(num_tokens) < 1.0 / MEAN_DOCUMENT_TOKENS
    is_end[-1] = True
    tokens[is_end] = small_data.END
    return tokens


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
    loaded = job.load(
        [], ["NUM_TRAIN_STEPS=1_000_000_000", "SAME_DATA=True", *bindings]
    )
    return job.Job(
        data_dir=data_dir,
        run_dir=run_dir,
        shared_dir=run_dir,
        student=0,
        num_students=num_students,
        config_text=loaded.text,
        **job.settings(loaded),
    )


def split_gin(unknown: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    """Returns the bindings among a parser's leftovers; refuses the rest."""
    for word in unknown:
        if not word.startswith("--gin."):
            parser.error(f"unknown flag {word}")
    return [word.removeprefix("--gin.") for word in unknown]


def start() -> None:
    """Imports TensorFlow as a worker that is alone on this machine has it."""
    threads = tf_environment.of_threads(len(os.sched_getaffinity(0)))
    for name, value in threads.items():
        os.environ.setdefault(name, value)  # Another number can be tried.
    tf_environment.start()
