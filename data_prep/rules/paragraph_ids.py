"""Keeps exactly the paragraphs that a list names: the codistillation paper's corpus.

The authors published the numbers of the paragraphs that they used, per file of
Common Crawl (`paragraph_list` reads it), and the running sum that decodes them.
They did not publish what a number counts. Unknown, and what is done here:

- per file or per page: per file, through all its pages in their order; the list
  has nothing that could name a page.
- what a paragraph is: a line with text in it; WET files have no blank lines
  inside pages. `ParagraphList.paragraphs` knows two other readings.
- the first number: 0; `ParagraphList.first_id`.
- the form of `file name`: the last part of a path or address counts, without
  `.warc`, `.wet` and `.gz`, so a WARC's name means the WET file made of it.
- what separates the numbers of a list: commas, spaces, semicolons or bars, in
  brackets or not.
- whether paragraphs were cut, joined or cleaned: taken as they are.
- whether a crawl's WET files are still what they were: `report.json` says how
  many of the listed paragraphs were not found, which a wrong guess makes many.

A page becomes a document of its chosen paragraphs. Behind a place that could not
be read the numbers of a file are unknown, and nothing of the rest is kept.
"""

import contextlib
import dataclasses
import pathlib
import re
import shutil
import uuid
from collections.abc import Callable

import numpy as np

from data_prep import counts as counts_lib
from data_prep import documents, progress, work
from data_prep.rules import filters, paragraph_list
from lmcodistill import errors
from lmcodistill.settings import paragraphs
from lmcodistill.storage import files

_ENDINGS = re.compile(r"(\.warc|\.wet|\.gz)*$")
_BLANK = re.compile(r"\n(?:[^\S\n]*\n)+")


def with_digest(
    settings: paragraphs.ParagraphList, path: str
) -> paragraphs.ParagraphList:
    """Returns the settings with the digest of the list, by which a run is known.

    Raises:
        UsageError: the list is missing, or was not given.
        DataError: it is another one than the settings ask for.
    """
    if not path:
        if settings.sha256:
            raise errors.UsageError(
                "ParagraphList.sha256 asks for a list of paragraphs and none was "
                "given. Give it as --paragraph_ids, or leave the setting out."
            )
        return settings
    if not pathlib.Path(path).is_file():
        raise errors.UsageError(
            f"--paragraph_ids {path!r} is not a file. Give a CSV file or a tar of them."
        )
    sha256 = files.sha256_of(pathlib.Path(path))
    if settings.sha256 not in ("", sha256):
        raise errors.DataError(
            f"--paragraph_ids {path} has the SHA-256 {sha256}; ParagraphList.sha256 "
            f"asks for {settings.sha256}. Fetch the list again."
        )
    return dataclasses.replace(settings, sha256=sha256)


@dataclasses.dataclass(frozen=True)
class IndexTask:
    """A list to be taken apart, so that a file's task reads its own numbers only.

    Attributes:
        path: Where it is.
        root: The work folder.
    """

    path: pathlib.Path
    root: pathlib.Path

    @property
    def commit_file(self) -> pathlib.Path:
        return self.root / "paragraphs" / "done.json"

    @property
    def size(self) -> int:
        return self.path.stat().st_size


def index(task: IndexTask, advance: progress.Advance) -> None:
    """Writes the numbers of each input file and the commit file.

    Raises:
        DataError: the list is damaged, or names no input file.
    """
    # Aside, and renamed when all is there: two attempts may run at once.
    folder = task.root / f".paragraphs.{uuid.uuid4().hex}.partial"
    folder.mkdir(parents=True)
    try:
        counts = _take_apart(task, folder, advance)
        work.write_commit(folder / task.commit_file.name, counts)
        with contextlib.suppress(OSError):  # The other attempt was first.
            folder.rename(task.commit_file.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _take_apart(
    task: IndexTask, folder: pathlib.Path, advance: progress.Advance
) -> dict[str, int]:
    plan = files.read_json(work.WorkFolder(task.root).plan, max_bytes=1 << 30)
    numbers: dict[str, list[int]] = {}
    for number, source in enumerate(plan["inputs"]):
        numbers.setdefault(key_of(source["name"]), []).append(number)
    rows, first = 0, ""
    named: set[int] = set()
    for row in paragraph_list.read_rows(task.path, advance):
        rows, first = rows + 1, first or row.name
        for number in numbers.get(key_of(row.name), ()):
            # A file may have several rows, anywhere in the list.
            with open(folder / _ids_name(number), "ab") as file:
                paragraph_list.decode(row).tofile(file)
            named.add(number)
    if not named:
        raise errors.DataError(
            f"{task.path} names none of the {len(plan['inputs'])} input file(s), such "
            f"as {plan['inputs'][0]['name']!r}; its {rows:,} row(s) name files such "
            f"as {first[:100]!r}. Give the files of that crawl."
        )
    return {"rows": rows, "files": len(named)}


def key_of(name: str) -> str:
    """Returns what two names of the same file share."""
    return _ENDINGS.sub("", name.replace("\\", "/").rpartition("/")[2])


def _ids_name(number: int) -> str:
    return f"{number:06d}.ids"


class Chooser:
    """Chooses the paragraphs of one input file, page by page, in order.

    Args:
        root: The work folder.
        file: Number of the input file.
        settings: How its paragraphs count.
        counts: Of the file: what the reader lost is seen there, and what of the
            list was found is counted.
    """

    def __init__(
        self,
        root: pathlib.Path,
        file: int,
        settings: paragraphs.ParagraphList,
        counts: counts_lib.Counts,
    ):
        path = root / "paragraphs" / _ids_name(file)
        content = path.read_bytes() if path.exists() else b""
        self._ids = np.unique(np.frombuffer(content, np.int64)) - settings.first_id
        self._split = SPLITTERS[settings.paragraphs]
        self._joint = "\n\n" if settings.paragraphs == "blocks" else "\n"
        self._next = self._dropped = 0
        self._counts = counts
        if len(self._ids):
            counts.paragraphs["not_found"] = len(self._ids)

    def __call__(self, document: documents.Document) -> filters.Decision:
        """Returns the chosen paragraphs of the next page."""
        counts = self._counts
        if counts.damaged or counts.dropped.total() > self._dropped:
            self._dropped += 1
            return filters.Decision("paragraph_number_unknown", document.text, "")
        split = self._split(document.text)
        start, self._next = self._next, self._next + len(split)
        low, high = np.searchsorted(self._ids, (start, self._next))
        chosen = [split[i - start] for i in self._ids[low:high].tolist()]
        text = self._joint.join(chosen)
        if not text.strip():
            self._dropped += 1
            return filters.Decision("not_in_paragraph_list", document.text, "")
        counts.paragraphs["found"] += len(chosen)
        counts.paragraphs["not_found"] -= len(chosen)
        return filters.Decision(None, text, document.language)


# What `ParagraphList.paragraphs` names.
SPLITTERS: dict[str, Callable[[str], list[str]]] = {
    "non_blank_lines": lambda page: [x for x in page.split("\n") if x.strip()],
    # A page without text has no line.
    "lines": lambda page: page.split("\n") if page else [],
    "blocks": lambda page: [x for x in _BLANK.split(page) if x.strip()],
}
