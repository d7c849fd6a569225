"""Stage 1: from an input file to its kept documents, with every drop counted.

One task reads one input file once: records, language, rules. It leaves the kept
documents in parts of bounded size, and the file's counts.
"""

import collections
import dataclasses
import errno
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from data_prep import counts as counts_lib
from data_prep import documents, profile, progress, work
from data_prep.reading import readers
from data_prep.rules import filters, paragraph_ids
from lmcodistill import errors
from lmcodistill.settings import filtering, prep
from lmcodistill.settings import paragraphs as paragraph_settings
from lmcodistill.storage import files

# Bounds the memory of every later stage; no output depends on it.
PART_BYTES = 32 << 20
# Of a dropped document, to be read by people.
_SAMPLE_CHARACTERS = 2_000


@dataclasses.dataclass(frozen=True)
class ReadTask:
    """One input file to read.

    Attributes:
        file: Its number in the run.
        path: Where it is.
        source: Its name in ids, manifests and reports.
        root: The work folder.
        settings: How to cut documents out of it.
        rules: What to keep of it, if its kind is `documents`.
        kind: What its documents are and which of them are kept: see `KINDS`.
        paragraphs: How a list's paragraphs count, if its kind is `paragraph_list`.
    """

    file: int
    path: pathlib.Path
    source: str
    root: pathlib.Path
    settings: prep.Prep
    rules: filtering.Rules
    kind: str = "documents"
    paragraphs: paragraph_settings.ParagraphList = paragraph_settings.ParagraphList()

    @property
    def commit_file(self) -> pathlib.Path:
        return work.WorkFolder(self.root).kept_commit(self.file)

    @property
    def size(self) -> int:
        return self.path.stat().st_size


Judge = Callable[[documents.Document], filters.Decision]


class Kind(NamedTuple):
    """How a file is read.

    Attributes:
        read: Yields its documents.
        judge: Returns what decides about them, in their order.
    """

    read: Callable[[readers.Source], Iterator[documents.Document]]
    judge: Callable[[ReadTask, counts_lib.Counts], Judge]


KINDS = {
    "documents": Kind(
        readers.read_documents,
        lambda task, _: functools.partial(filters.judge, rules=task.rules),
    ),
    "paragraph_list": Kind(
        readers.read_documents,
        lambda task, counts: paragraph_ids.Chooser(
            task.root, task.file, task.paragraphs, counts
        ),
    ),
    "pretokenized": Kind(
        readers.read_pretokenized,
        lambda *_: lambda document: filters.Decision(None, document.text, ""),
    ),
}


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


def extract(task: ReadTask, advance: progress.Advance) -> None:
    """Runs the task and writes its commit file.

    Raises:
        DataError: the file cannot be opened.
    """
    counts, shape = counts_lib.Counts(), profile.Profile()
    folder, kind = work.WorkFolder(task.root), KINDS[task.kind]
    judge = kind.judge(task, counts)
    writer = _PartWriter(folder, task.file)
    samples = collections.Counter[str]()
    try:
        source = readers.Source(task.path, task.source, task.settings, counts, advance)
        with files.writing(folder.dropped(task.file)) as dropped:
            for number, document in enumerate(kind.read(source)):
                decision = judge(document)
                shape.find(decision.language)
                if decision.reason is None:
                    size = writer.write(document, number, decision)
                    counts.keep(size, decision.language)
                    counts.masked.update(decision.masked)
                    shape.keep(size, document.url)
                    continue
                counts.drop(decision.reason)
                samples[decision.reason] += 1
                if samples[decision.reason] <= task.settings.dropped_samples:
                    sample = {
                        "reason": decision.reason,
                        "source": document.source,
                        "url": document.url,
                        "text": decision.text[:_SAMPLE_CHARACTERS],
                    }
                    dropped.write(work.dump(sample).encode() + b"\n")
        parts = writer.close()
        sha256 = files.sha256_of(task.path)
    except OSError as error:
        is_input = error.filename is not None and str(error.filename) == str(task.path)
        # A broken disk names no file, and only reading fails so.
        if not is_input and error.errno not in (errno.EIO, errno.ESTALE):
            raise
        raise errors.DataError(
            f"{task.path} cannot be read: {error.strerror}. Make it readable, or "
            "leave it out of --input."
        ) from error
    # `tally` is the older name of the counts.
    result = {
        "source": task.source,
        "bytes": task.path.stat().st_size,
        "sha256": sha256,
        "tally": counts.to_json(),
        "profile": shape.to_json(),
        "parts": [part.documents for part in parts],
    }
    work.write_commit(task.commit_file, result)


def read_result(folder: work.WorkFolder, file: int) -> Extracted:
    """Returns what the task of an input file left."""
    result = work.read_commit(folder.kept_commit(file))
    parts = enumerate(result.pop("parts"))
    return Extracted(
        counts=counts_lib.Counts.from_json(result.pop("tally")),
        profile=profile.Profile.from_json(result.pop("profile")),
        parts=tuple(work.Part(file, i, count) for i, count in parts),
        **result,
    )


class _PartWriter:
    """Writes kept documents into parts of about `PART_BYTES`."""

    def __init__(self, folder: work.WorkFolder, file: int):
        self._folder, self._file = folder, file
        self._parts: list[work.Part] = []
        self._lines: list[bytes] = []
        self._size = 0

    def write(
        self, document: documents.Document, number: int, decision: filters.Decision
    ) -> int:
        """Keeps a document, the file's `number`th; returns the bytes of its text."""
        kept = dataclasses.replace(
            document, text=decision.text, language=decision.language, number=number
        )
        line = kept.to_json_line()
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
        with files.writing(self._folder.documents(part)) as file:
            file.writelines(self._lines)
        self._parts.append(part)
        self._lines, self._size = [], 0
