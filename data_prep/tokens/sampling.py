"""Stage 3: what the vocabulary is trained on: training documents, never others.

Sentence-piece vocabularies see a sample of documents, chosen by hash; word
vocabularies see the counts of all words.
"""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Callable

from data_prep import work
from data_prep.duplicates import survivors
from data_prep.tokens import partition, text_forms

# Under the trainer's own limit, which skips without counting.
MAX_PARAGRAPH_BYTES = 4_000


@dataclasses.dataclass(frozen=True)
class Task:
    """One part to sample.

    Attributes:
        number: Number of the part in the run.
        part: The part.
        root: The work folder.
        survivors: Reads the documents that stay.
        place: Which split each document goes to.
        seed: Of the sample.
        rate: Share of the training documents to take.
        is_word: Whether to count words instead.
    """

    number: int
    part: work.Part
    root: pathlib.Path
    survivors: survivors.Survivors
    place: partition.ByHash | partition.ByOrder
    seed: int
    rate: float
    is_word: bool

    @property
    def marker(self) -> pathlib.Path:
        return work.WorkFolder(self.root).sample_marker(self.part)

    @property
    def size(self) -> int:
        return work.WorkFolder(self.root).documents(self.part).stat().st_size


def sample(task: Task, advance: Callable[[int], None]) -> None:
    """Writes the sample, or the word counts, and a marker."""
    folder = work.WorkFolder(task.root)
    counts = collections.Counter[str]()
    num_documents = num_bytes = 0
    with work.writing(folder.sample(task.part)) as file:
        for number, document in task.survivors.read(task.number, task.part, advance):
            split = task.place.place(document.id, number).split
            if split in (partition.VALIDATION, partition.TEST):
                continue
            if task.is_word:
                counts.update(text_forms.word_level(document.text).split(" "))
                continue
            if partition.draw(document.id, task.seed).sample >= task.rate:
                continue
            num_documents += 1
            for paragraph in text_forms.paragraphs(document.text, MAX_PARAGRAPH_BYTES):
                encoded = paragraph.encode()
                num_bytes += len(encoded)
                file.write(encoded + b"\n")
        counts.pop("", None)
        if task.is_word:
            file.write(work.dump(counts).encode())
    work.write_marker(task.marker, {"documents": num_documents, "bytes": num_bytes})


def read_counts(
    folder: work.WorkFolder, parts: tuple[work.Part, ...]
) -> collections.Counter[str]:
    """Returns the word counts of all parts together."""
    counts = collections.Counter[str]()
    for part in parts:
        counts.update(json.loads(folder.sample(part).read_bytes()))
    return counts
