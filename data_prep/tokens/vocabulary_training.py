"""The vocabulary: SentencePiece's trainer with its traps closed, or word counts.

Settings that make a vocabulary exact, all measured 2026-11: identity
normalisation and no removal of white space (else no web page round-trips),
byte pieces for rare characters, a piece for the line end, a fixed number of
threads (a unigram vocabulary depends on it), lines under the length at which
the trainer skips. The trainer runs in a process of its own: it is the one stage
whose memory is not ours to bound, and it reports progress as log lines only.
"""

import collections
import io
import json
import math
import multiprocessing
import os
import pathlib
import re
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from data_prep import lifetime, progress, work
from data_prep.engines import engine
from data_prep.tokens import sampling
from lmcodistill import errors
from lmcodistill.data import text_forms
from lmcodistill.settings import prep
from lmcodistill.storage import files

_UNKNOWN, _END, _LINE_END = "<unk>", "</s>", "\n"
# Its classes are made when it is imported, where type checkers do not look.
_model_pb2: Any = sentencepiece_model_pb2
_POLL_SECONDS = 0.2
# The trainer skips longer lines and says so in its log only.
_MAX_LINE_BYTES = 4 * sampling.MAX_PARAGRAPH_BYTES
# Hexadecimal code points: 1 to 9 are read as 0.
_GENERIC_DIGITS = "".join(f"{ord(digit):X}\t30\n" for digit in "123456789")
_TOO_HIGH = re.compile(r"Vocabulary size too high.*?value <= (\d+)")
_TOO_LOW = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")
_SKIPPED = re.compile(r"[Ss]kipped (\d+) too long")
_EM_ROUND = re.compile(r"EM sub_iter=\d+ size=(\d+) obj=([\d.]+)")
_BPE_MERGE = re.compile(r"Added: freq=\d+ size=(\d+)|Completed (\d+) merge steps")


class Progress(NamedTuple):
    """How far the trainer is, between 0 and 1, and its last log line for people."""

    fraction: float
    detail: str


def train_pieces(
    settings: prep.PrepVocabulary,
    samples: tuple[pathlib.Path, ...],
    folder: work.WorkFolder,
    report: Callable[[Progress], None],
) -> bytes:
    """Trains a `unigram` or `bpe` vocabulary; returns the model file's content.

    Args:
        settings: Its type, size and number of threads.
        samples: Files of paragraphs, in order.
        folder: The work folder, where the trainer's log stays.
        report: Called now and then while the trainer runs.

    Raises:
        UsageError: the size does not fit the text.
        DataError: the trainer failed for another reason.
    """
    context = multiprocessing.get_context("spawn")
    failure = folder.vocabulary_log.with_suffix(".failure")
    failure.unlink(missing_ok=True)
    arguments = (settings, samples, folder, failure)
    process = context.Process(target=_train_in_child, args=arguments, daemon=True)
    process.start()
    while process.is_alive():
        process.join(_POLL_SECONDS)
        report(_read_progress(folder.vocabulary_log, settings))
    if failure.exists():
        _explain(failure.read_text(encoding="utf-8"), settings)
    if process.exitcode != 0:
        raise errors.DataError(
            f"The vocabulary trainer ended with code {process.exitcode}, probably for "
            f"want of memory. Lower VOCAB_SAMPLE_BYTES ({settings.sample_bytes:,}); "
            f"its log is {folder.vocabulary_log}."
        )
    log = folder.vocabulary_log.read_text(encoding="utf-8", errors="replace")
    if skipped := _SKIPPED.search(log):
        raise errors.DataError(
            f"SentencePiece skipped {int(skipped.group(1)):,} line(s) of the sample "
            f"that are longer than {_MAX_LINE_BYTES:,} bytes, so the vocabulary does "
            "not stand for the text. prep cuts lines before that: the sample was "
            f"changed. Remove {folder.root} and run the same command again."
        )
    return folder.vocabulary_model.read_bytes()


def word_model(counts: Mapping[str, int], size: int) -> bytes:
    """Returns a vocabulary of words, the most frequent first.

    A literal `<unk>` in the text is a word like any other; the piece for words
    outside the vocabulary is another one, id 0. `</s>` is id 1.

    Args:
        counts: Occurrences of each word of the training text.
        size: Ids in all; 0 keeps every word.
    """
    words = sorted(counts, key=lambda word: (-counts[word], word))
    words = words[: max(0, size - 2)] if size else words
    model = _model_pb2.ModelProto()
    types = _model_pb2.ModelProto.SentencePiece
    model.pieces.add(piece=_UNKNOWN, score=0.0, type=types.UNKNOWN)
    model.pieces.add(piece=_END, score=0.0, type=types.CONTROL)
    for rank, word in enumerate(words):
        model.pieces.add(piece=f"\u2581{word}", score=-float(rank))
    trainer = model.trainer_spec
    trainer.model_type = _model_pb2.TrainerSpec.WORD
    trainer.vocab_size = len(model.pieces)
    trainer.unk_id, trainer.eos_id, trainer.bos_id, trainer.pad_id = 0, 1, -1, -1
    normalizer = model.normalizer_spec
    normalizer.name = "identity"
    normalizer.add_dummy_prefix = True
    normalizer.remove_extra_whitespaces = True
    normalizer.escape_whitespaces = True
    return model.SerializeToString(deterministic=True)


def _train_in_child(
    settings: prep.PrepVocabulary,
    samples: tuple[pathlib.Path, ...],
    folder: work.WorkFolder,
    failure: pathlib.Path,
) -> None:
    lifetime.end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The trainer logs to the descriptor, not to sys.stderr.
    log = os.open(folder.vocabulary_log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(log, 2)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(
                line.decode().rstrip("\n")
                for path in samples
                for line in work.json_lines(path)
            ),
            model_writer=model,
            model_type=settings.type,
            vocab_size=settings.size,
            num_threads=settings.num_threads,
            max_sentence_length=_MAX_LINE_BYTES,
            **_normalization(settings, folder),
            split_digits=settings.digits != "keep",
            remove_extra_whitespaces=False,
            byte_fallback=True,
            user_defined_symbols=[_LINE_END, *text_forms.MARKS[settings.marks]],
            unk_id=0,
            eos_id=1,
            bos_id=-1,
            pad_id=-1,
        )
        files.write_bytes(folder.vocabulary_model, _without_paths(model.getvalue()))
    except Exception:
        files.write_text(failure, traceback.format_exc())


def _normalization(
    settings: prep.PrepVocabulary, folder: work.WorkFolder
) -> dict[str, Any]:
    """Returns the trainer's arguments about the form of the text.

    Generic digits are a rule of the model file, so every encoder applies it.
    """
    if settings.digits != "generic":
        return {"normalization_rule_name": "identity"}
    rules = folder.vocabulary_log.with_name("digits.tsv")
    files.write_text(rules, _GENERIC_DIGITS)
    return {"normalization_rule_tsv": str(rules)}


def _without_paths(model: bytes) -> bytes:
    """Returns the model file without the place of its rules, which it has itself.

    Otherwise equal inputs would give another fingerprint in every folder.
    """
    proto = _model_pb2.ModelProto.FromString(model)
    if not proto.normalizer_spec.normalization_rule_tsv:
        return model
    proto.normalizer_spec.ClearField("normalization_rule_tsv")
    return proto.SerializeToString(deterministic=True)


def _explain(failure: str, settings: prep.PrepVocabulary) -> None:
    if match := _TOO_HIGH.search(failure):
        raise errors.UsageError(
            f"VOCAB_SIZE = {settings.size:,} is more than the text supports: the "
            f"largest {settings.type} vocabulary it gives has {int(match.group(1)):,} "
            f"ids. Set --gin.VOCAB_SIZE={match.group(1)} or less, or give more text."
        )
    if match := _TOO_LOW.search(failure):
        raise errors.UsageError(
            f"VOCAB_SIZE = {settings.size:,} is too small: bytes, special pieces and "
            f"the characters of the text need {int(match.group(1)):,} ids. Set "
            f"--gin.VOCAB_SIZE={match.group(1)} or more."
        )
    last_line = failure.strip().splitlines()[-1]
    raise errors.DataError(
        f"SentencePiece could not train a vocabulary: {last_line} Its input was "
        f"about {settings.sample_bytes:,} bytes of training text; give more text, or "
        "change VOCAB_SIZE or VOCAB_TYPE."
    )


def _read_progress(log: pathlib.Path, settings: prep.PrepVocabulary) -> Progress:
    if not log.exists():
        return Progress(0.0, "starting")
    text = log.read_text(encoding="utf-8", errors="replace")
    if rounds := _EM_ROUND.findall(text):
        # Each round removes a quarter of the pieces, down to a little above the
        # size that was asked for.
        first, last = int(rounds[0][0]), int(rounds[-1][0])
        to_go = math.log(max(first, 2) / (1.1 * settings.size))
        done = math.log(max(first, 2) / last)
        fraction = min(1.0, 0.3 + 0.7 * done / to_go) if to_go > 0 else 0.9
        return Progress(fraction, f"{last:,} pieces, objective {rounds[-1][1]}")
    if merges := _BPE_MERGE.findall(text):
        size = int("".join(merges[-1]))
        return Progress(min(1.0, size / settings.size), f"{size:,} merges")
    lines = [line for line in text.splitlines() if "] " in line]
    return Progress(0.0, lines[-1].partition("] ")[2][:60] if lines else "starting")


# Shows the training of a vocabulary, which counts in thousandths.
Show = Callable[[], AbstractContextManager[progress.Stage]]


class VocabularyType(NamedTuple):
    """What a type of vocabulary does, by its name in `PrepVocabulary.type`.

    Attributes:
        sample: The stage that writes what of a part is needed for training.
        train: Writes the model file into the work folder, from what `sample`
            wrote of all parts.
    """

    sample: engine.StageFunction[sampling.SampleTask]
    train: Callable[
        [prep.PrepVocabulary, work.WorkFolder, Sequence[work.Part], Show], None
    ]


def _train_pieces(
    settings: prep.PrepVocabulary,
    folder: work.WorkFolder,
    parts: Sequence[work.Part],
    show: Show,
) -> None:
    samples = tuple(folder.sample(part) for part in parts)
    with show() as stage:
        train_pieces(
            settings,
            samples,
            folder,
            lambda p: stage.update(round(1000 * p.fraction), p.detail),
        )


def _train_words(
    settings: prep.PrepVocabulary,
    folder: work.WorkFolder,
    parts: Sequence[work.Part],
    _: Show,
) -> None:
    counts = collections.Counter[str]()
    for part in parts:
        counts.update(json.loads(folder.sample(part).read_bytes()))
    model = word_model(counts, settings.size)
    files.write_bytes(folder.vocabulary_model, model)


_PIECES = VocabularyType(sampling.sample_paragraphs, _train_pieces)
TYPES = {
    "unigram": _PIECES,
    "bpe": _PIECES,
    "word": VocabularyType(sampling.count_words, _train_words),
}
