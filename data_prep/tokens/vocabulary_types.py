"""What a vocabulary type does, by its name in `PrepVocabulary.type`."""

import collections
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from data_prep import progress, work
from data_prep.engines import engine
from data_prep.tokens import sampling, text_forms, vocabulary_training
from lmcodistill.settings import prep
from lmcodistill.storage import files

# Shows the training of a vocabulary, which counts in thousandths.
Show = Callable[[], AbstractContextManager[progress.Stage]]


class VocabularyType(NamedTuple):
    """One type of vocabulary.

    Attributes:
        form: Returns the text whose encoding decodes to itself exactly.
        sample: The stage that writes what of a part is needed for training.
        train: Writes the model file into the work folder, from what `sample`
            wrote of all parts.
    """

    form: Callable[[str, prep.PrepVocabulary], str]
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
        vocabulary_training.train_pieces(
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
    model = vocabulary_training.word_model(counts, settings.size)
    files.write_bytes(folder.vocabulary_model, model)


_PIECES = VocabularyType(
    text_forms.piece_form, sampling.sample_paragraphs, _train_pieces
)
TYPES = {
    "unigram": _PIECES,
    "bpe": _PIECES,
    "word": VocabularyType(
        lambda text, _: text_forms.word_level(text), sampling.count_words, _train_words
    ),
}
