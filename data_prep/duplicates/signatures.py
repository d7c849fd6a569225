"""The keys of documents: those that share one are copies of each other.

A document has the key of its normalised text and, if it is long enough, a key
per band of its MinHash. The lowest bit of a key says which of the two it is, so
one search finds both. The scope is mixed into every key:
documents of different scopes share none.
"""

import dataclasses
import itertools
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from data_prep import documents, progress, words, work
from data_prep.duplicates import copies, line_duplicates, minhash
from data_prep.engines import exchange
from lmcodistill.settings import deduplication
from lmcodistill.storage import files

_BATCH = 256
_CRAWL = re.compile(r"CC-MAIN-\d{4}-\d{2}")


@dataclasses.dataclass(frozen=True)
class SignTask(work.PartTask):
    """One part to sign.

    Attributes:
        scope: Documents of other scopes are no copies.
        settings: Which keys to make.
    """

    scope: str
    settings: deduplication.Deduplication

    @property
    def commit_file(self) -> pathlib.Path:
        return copies.of_documents(self.root).rows_commit(self.part)


def crawl_of(declared: str, path: pathlib.Path) -> str:
    """Returns the name of the crawl that a file is part of, or "" for none.

    Args:
        declared: What the file itself says.
        path: Of the file; a folder above it may bear the name.
    """
    named = _CRAWL.findall(str(path))
    return declared or (named[-1] if named else "")


def sign(task: SignTask, advance: progress.Advance) -> None:
    """Writes the rows of the part, and a commit file.

    Documents that are too short without the lines they share with others are
    written beside, and have no row.
    """
    search, settings = copies.of_documents(task.root), task.settings
    hasher = minhash.MinHash(
        settings.num_bands, settings.rows_per_band, settings.ngram_words
    )
    scope = np.uint64(words.hash64(task.scope.encode()))
    arrays = [np.zeros(0, copies.ROW)]
    short: list[int] = []
    numbered = _documents(task, short, advance)
    while batch := list(itertools.islice(numbered, _BATCH)):
        numbers = np.array([number for number, _ in batch], np.uint32)
        ranks = np.array([copies.rank_of(d.id) for _, d in batch], np.uint64)
        texts = [document.text for _, document in batch]
        keys = []
        if settings.exact:
            forms = (documents.normalised(text).encode() for text in texts)
            digests = np.fromiter(map(words.hash64, forms), np.uint64, len(texts))
            keys.append((digests, np.arange(len(batch)), copies.EXACT))
        if settings.near:
            bands, owners = hasher.band_keys(texts, settings.min_near_words)
            keys.extend((band, owners, copies.NEAR) for band in bands.T)
        for values, owners, kind in keys:
            rows = np.zeros(len(values), copies.ROW)
            rows["key"] = ((values ^ scope) & ~np.uint64(1)) | np.uint64(kind)
            rows["rank"], rows["part"] = ranks[owners], task.number
            rows["number"] = numbers[owners]
            arrays.append(rows)
    copies.write_rows(search, task.part, np.concatenate(arrays))
    if settings.line_group_files:
        rows = np.zeros(len(short), copies.COPY)
        rows["part"], rows["number"] = task.number, short
        rows["kind"] = copies.TOO_SHORT
        with files.writing(search.too_short(task.part)) as file:
            exchange.write_rows(file, rows, copies.COPY_ORDER)
    work.write_commit(task.commit_file, {"too_short": len(short)})


def _documents(
    task: SignTask, short: list[int], advance: progress.Advance
) -> Iterator[tuple[int, documents.Document]]:
    """Yields numbered documents without shared lines; the others go to `short`."""
    folder = task.folder
    cutter = None
    if task.settings.line_group_files:
        cutter = line_duplicates.Cutter(copies.of_lines(task.root).load(task.number))
    for number, line in enumerate(work.json_lines(folder.documents(task.part))):
        advance(len(line))
        document = documents.Document.from_json(line)
        if cutter is not None:
            text = cutter.cut(document.text)
            least = max(1, task.settings.min_words_left)
            if text != document.text and len(text.split()) < least:
                short.append(number)
                continue
            document = dataclasses.replace(document, text=text)
        yield number, document
