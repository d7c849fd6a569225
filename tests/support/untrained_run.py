"""A run that was never trained: students with their first weights, and their text.

What reads a run's exports, metrics and data needs no more, and gets it in a second.
"""

import json
import pathlib
from collections.abc import Sequence

from lmcodistill.data import vocabulary as vocabulary_lib
from lmcodistill.exports import writer
from lmcodistill.model import weights
from lmcodistill.settings import model as model_settings
from lmcodistill.storage import files, layout, places, publication
from tests.support import small_data

CONFIG = model_settings.LanguageModel(
    embedding_size=8, num_layers=1, hidden_size=16, init_scale=0.5
)
STEP = 100
TEXTS = ("one two three", "nine nine eight", "four", "seven one six five two three")


def make(
    folder: pathlib.Path,
    students: int = 2,
    reset_at_documents: bool = True,
    shared: str | None = None,
    key: bytes | None = None,
) -> pathlib.Path:
    """Publishes an export of each student; returns the run's folder.

    Args:
        folder: Where the run is made.
        students: How many.
        reset_at_documents: How they say that they were trained.
        shared: Where the exports are, if not in the run's folder.
        key: What they are signed with.
    """
    vocabulary = vocabulary_lib.Vocabulary(small_data.vocabulary_model())
    run = layout.RunLayout(folder, places.place(shared) if shared else None)
    for student in range(students):
        files_of = run.student(student)
        exporter = writer.Exporter(
            CONFIG,
            vocabulary,
            student=student,
            reset_at_documents=reset_at_documents,
        )
        given = weights.initial(CONFIG, vocabulary.size, seed=student)
        owner = publication.Owner(generation=1, check=lambda: None, key=key)
        exporter.publish(files_of.exports, STEP, given, owner)
        reports = [
            {"schema": 1, "kind": kind, "step": step, "cross_entropy": 3.0 - step / 100}
            for step in (50, STEP)
            for kind in ("train", "validation")
        ]
        lines = "".join(json.dumps(report) + "\n" for report in reports)
        files_of.root.mkdir(parents=True, exist_ok=True)
        files.write_text(files_of.metrics, lines)
    return folder


def make_data(
    folder: pathlib.Path, texts: Sequence[str] = TEXTS, repeats: int = 1
) -> pathlib.Path:
    """Writes a data folder whose validation split is `texts`; returns it."""
    vocabulary = vocabulary_lib.Vocabulary(small_data.vocabulary_model())
    documents = [[*vocabulary.encode(text), vocabulary.end_id] for text in texts]
    ids = [token for document in documents for token in document] * repeats
    return small_data.write(
        folder,
        train=[[ids]],
        validation=[ids],
        num_words=repeats * sum(len(text.split()) for text in texts),
        num_bytes=repeats * sum(len(text.encode()) for text in texts),
    )
