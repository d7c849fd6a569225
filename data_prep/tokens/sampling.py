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
from data_prep.tokens import partition
from lmcodistill.data import text_forms
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
            for paragraph in paragraphs(document.text, MAX_PARAGRAPH_BYTES):
                encoded = paragraph.encode()
                num_bytes += len(encoded)
                file.write(encoded + b"\n")
    work.write_commit(
        task.commit_file, {"documents": num_documents, "bytes": num_bytes}
    )


def paragraphs(text: str, max_bytes: int) -> list[str]:
    """Returns the lines of `text` that are not blank, none over `max_bytes`.

    SentencePiece's trainer skips longer ones with no more than a log line, which
    was three quarters of all text when documents were given whole (measured
    2026-11). They are cut at a space, or in the middle of a word if need be.
    """
    pieces = []
    for line in text.split("\n"):
        rest = line.strip(" ")
        # A character has at most four bytes.
        while len(rest) * 4 > max_bytes and len(rest.encode()) > max_bytes:
            head = rest.encode()[:max_bytes].decode("utf-8", "ignore")
            edge = head.rfind(" ")
            head = head[:edge] if edge > 0 else head
            pieces.append(head)
            rest = rest[len(head) :].strip(" ")
        if rest:
            pieces.append(rest)
    return pieces


def count_words(task: SampleTask, advance: progress.Advance) -> None:
    """Writes how often each word occurs, and a commit file."""
    counts = collections.Counter[str]()
    for document in _training_documents(task, advance):
        words = text_forms.apply(text_forms.WORDS, document.text)
        counts.update(words.split(" "))
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
