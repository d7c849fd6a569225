"""Stage 1: from an input file to its kept documents, with every drop counted.

One task reads one input file once: records, language, rules. It leaves the kept
documents in parts of bounded size, and the file's counts.
"""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable
from typing import IO

from data_prep import counts as counts_lib
from data_prep import documents, profile, work
from data_prep.reading import readers
from data_prep.rules import filters, paragraph_ids
from lmcodistill import errors
from lmcodistill.settings import filtering, paragraphs, prep

# Bounds the memory of every later stage; no output depends on it.
PART_BYTES = 32 << 20
# Of a dropped document, to be read by people.
_SAMPLE_CHARACTERS = 2_000


@dataclasses.dataclass(frozen=True)
class Task:
    """One input file to read.

    Attributes:
        file: Its number in the run.
        path: Where it is.
        source: Its name in ids, manifests and reports.
        root: The work folder.
        settings: How to cut documents out of it.
        rules: What to keep; None keeps everything, one document per line or
            article, as pre-tokenized text wants it.
        paragraph_list: How the list of paragraphs counts that is kept in place of
            what the rules let pass; None where there is no list.
    """

    file: int
    path: pathlib.Path
    source: str
    root: pathlib.Path
    settings: prep.Prep
    rules: filtering.Rules | None
    paragraph_list: paragraphs.ParagraphList | None = None

    @property
    def marker(self) -> pathlib.Path:
        return work.WorkFolder(self.root).kept_marker(self.file)

    @property
    def size(self) -> int:
        return self.path.stat().st_size


@dataclasses.dataclass(frozen=True)
class Extracted:
    """What a task left behind.

    Attributes:
        source: Name of the input file.
        bytes: Its size.
        sha256: Its digest.
        counts: What became of its documents.
        profile: What those are like that passed the rules.
        parts: Where the kept ones are.
    """

    source: str
    bytes: int
    sha256: str
    counts: counts_lib.Counts
    profile: profile.Profile
    parts: tuple[work.Part, ...]


def extract(task: Task, advance: Callable[[int], None]) -> None:
    """Runs the task and writes its marker.

    Raises:
        DataError: the file cannot be opened.
    """
    counts, shape = counts_lib.Counts(), profile.Profile()
    folder = work.WorkFolder(task.root)
    try:
        if task.rules is None:
            found = readers.read_pretokenized(
                task.path, task.source, task.settings, counts, advance
            )
        else:
            found = readers.read_documents(
                task.path, task.source, task.settings, counts, advance
            )
        judge = _judge_of(task, counts)
        writer = _PartWriter(folder, task.file)
        samples = collections.Counter[str]()
        with work.writing(folder.dropped(task.file)) as dropped:
            for number, document in enumerate(found):
                document = dataclasses.replace(document, number=number)
                verdict = judge(document)
                shape.find(verdict.language)
                if verdict.reason is None:
                    size = writer.write(document, verdict)
                    counts.keep(size, verdict.language)
                    counts.masked.update(verdict.masked)
                    shape.keep(size, document.url)
                    continue
                counts.drop(verdict.reason)
                samples[verdict.reason] += 1
                if samples[verdict.reason] <= task.settings.dropped_samples:
                    _write_sample(dropped, document, verdict)
        parts = writer.close()
        with open(task.path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except PermissionError as error:
        raise errors.DataError(
            f"{task.path} cannot be read: {error.strerror}. Make it readable, or "
            "leave it out of --input."
        ) from error
    marker = {
        "source": task.source,
        "bytes": task.path.stat().st_size,
        "sha256": sha256,
        "tally": counts.to_json(),
        "profile": shape.to_json(),
        "parts": [part.documents for part in parts],
    }
    work.write_marker(task.marker, marker)


def read_result(folder: work.WorkFolder, file: int) -> Extracted | None:
    """Returns what the task of an input file left, or None if it did not end."""
    marker = work.read_marker(folder.kept_marker(file))
    if marker is None:
        return None
    return Extracted(
        source=marker["source"],
        bytes=marker["bytes"],
        sha256=marker["sha256"],
        counts=counts_lib.Counts.from_json(marker["tally"]),
        profile=profile.Profile.from_json(marker["profile"]),
        parts=tuple(work.Part(file, i, n) for i, n in enumerate(marker["parts"])),
    )


def _judge_of(
    task: Task, counts: counts_lib.Counts
) -> Callable[[documents.Document], filters.Verdict]:
    """Returns what decides about the documents of the task, in their order."""
    if task.paragraph_list is not None:
        return paragraph_ids.Chooser(task.root, task.file, task.paragraph_list, counts)
    rules = task.rules
    if rules is None:
        return lambda document: filters.Verdict(None, document.text, "")
    return lambda document: filters.judge(document, rules)


def _write_sample(
    file: IO[bytes], document: documents.Document, verdict: filters.Verdict
) -> None:
    sample = {
        "reason": verdict.reason,
        "source": document.source,
        "url": document.url,
        "text": verdict.text[:_SAMPLE_CHARACTERS],
    }
    file.write(work.dump(sample).encode() + b"\n")


class _PartWriter:
    """Writes kept documents into parts of about `PART_BYTES`."""

    def __init__(self, folder: work.WorkFolder, file: int):
        self._folder, self._file = folder, file
        self._parts: list[work.Part] = []
        self._lines: list[bytes] = []
        self._size = 0

    def write(self, document: documents.Document, verdict: filters.Verdict) -> int:
        """Keeps a document; returns the bytes of its text."""
        kept = dataclasses.replace(
            document, text=verdict.text, language=verdict.language
        )
        line = kept.to_json().encode() + b"\n"
        self._lines.append(line)
        self._size += len(line)
        if self._size >= PART_BYTES:
            self._flush()
        return len(kept.text.encode())

    def close(self) -> tuple[work.Part, ...]:
        """Writes what is left and returns all parts."""
        if self._lines:
            self._flush()
        return tuple(self._parts)

    def _flush(self) -> None:
        part = work.Part(self._file, len(self._parts), len(self._lines))
        with work.writing(self._folder.documents(part)) as file:
            file.writelines(self._lines)
        self._parts.append(part)
        self._lines, self._size = [], 0
