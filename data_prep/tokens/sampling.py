"""Stage 3: what the vocabulary is trained on: never what results are judged on.

The guide's documents are among it, so that the vocabulary is the same with one.

Sentence-piece vocabularies see a sample of documents, chosen by hash; word
vocabularies see the counts of all words.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Iterator

from data_prep import documents, progress, work
from data_prep.duplicates import survivors
from data_prep.tokens import partition, text_forms
from lmcodistill.storage import files

# Under the trainer's own limit, which skips without counting.
MAX_PARAGRAPH_BYTES = 4_000


@dataclasses.dataclass(frozen=True)
class SampleTask(work.PartTask):
    """One part to sample.

    Attributes:
        survivors: Reads the documents that stay.
        place: Which split each document goes to.
        seed: Of the sample.
        rate: Share of the training documents to take.
    """

    survivors: survivors.Survivors
    place: partition.Rule
    seed: int
    rate: float

    @property
    def commit_file(self) -> pathlib.Path:
        return self.folder.sample_commit(self.part)


def sample_paragraphs(task: SampleTask, advance: progress.Advance) -> None:
    """Writes the paragraphs of the documents that are drawn, and a commit file."""
    num_documents = num_bytes = 0
    with files.writing(task.folder.sample(task.part)) as file:
        for document in _training_documents(task, advance):
            if partition.draw(document.id, task.seed).sample >= task.rate:
                continue
            num_documents += 1
            for paragraph in text_forms.paragraphs(document.text, MAX_PARAGRAPH_BYTES):
                encoded = paragraph.encode()
                num_bytes += len(encoded)
                file.write(encoded + b"\n")
    work.write_commit(
        task.commit_file, {"documents": num_documents, "bytes": num_bytes}
    )


def count_words(task: SampleTask, advance: progress.Advance) -> None:
    """Writes how often each word occurs, and a commit file."""
    counts = collections.Counter[str]()
    for document in _training_documents(task, advance):
        counts.update(text_forms.word_level(document.text).split(" "))
    counts.pop("", None)
    with files.writing(task.folder.sample(task.part)) as file:
        file.write(work.dump(counts).encode())
    work.write_commit(task.commit_file, {"documents": 0, "bytes": 0})


def _training_documents(
    task: SampleTask, advance: progress.Advance
) -> Iterator[documents.Document]:
    for number, document in task.survivors.read(task.number, task.part, advance):
        split = task.place.place(document.id, number).split
        if split not in (partition.VALIDATION, partition.TEST):
            yield document
