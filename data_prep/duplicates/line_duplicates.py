"""Lines that several documents share: menus, notices, the same news twice.

A line is an item like a document is: the number of an item is the line's place
among all lines of its part, and its rank is the rank of its document. What is
left of a document is made when it is read; nothing is written twice.
"""

import dataclasses
import pathlib

import numpy as np

from data_prep import documents, progress, words, work
from data_prep.duplicates import copies

_KEY_MASK = (1 << 64) - 2


@dataclasses.dataclass(frozen=True)
class LineTask(work.PartTask):
    """One part whose lines are to be hashed.

    Attributes:
        group: Number of the group of input files that it belongs to.
    """

    group: int

    @property
    def commit_file(self) -> pathlib.Path:
        return copies.of_lines(self.root).rows_commit(self.part)


def hash_lines(task: LineTask, advance: progress.Advance) -> None:
    """Writes a row for every line that is new in its document, and a commit file."""
    folder = task.folder
    scope = f"{task.group}\0".encode()
    arrays: list[np.ndarray] = []
    first = 0
    for line in work.json_lines(folder.documents(task.part)):
        advance(len(line))
        document = documents.Document.from_json(line)
        forms = _forms(document.text)
        keys: dict[int, int] = {}
        for number, form in enumerate(forms, first):
            if form:
                keys.setdefault(words.hash64(scope + form.encode()) & _KEY_MASK, number)
        first += len(forms)
        rows = np.zeros(len(keys), copies.ROW)
        rows["key"], rows["number"] = list(keys), list(keys.values())
        rows["rank"], rows["part"] = copies.rank_of(document.id), task.number
        arrays.append(rows)
    all_rows = np.concatenate([np.zeros(0, copies.ROW), *arrays])
    copies.write_rows(copies.of_lines(task.root), task.part, all_rows)
    work.write_commit(task.commit_file, {"lines": first})


class Cutter:
    """Takes the lines that are copies out of the documents of a part, in order."""

    def __init__(self, repeated: np.ndarray):
        self._repeated = repeated
        self._first = 0

    def cut(self, text: str) -> str:
        """Returns what is left of the next document's text."""
        forms = _forms(text)
        start, stop = np.searchsorted(
            self._repeated, [self._first, self._first + len(forms)]
        )
        gone = {forms[i] for i in (self._repeated[start:stop] - self._first).tolist()}
        self._first += len(forms)
        if not gone:
            return text
        lines = zip(text.split("\n"), forms, strict=True)
        return "\n".join(line for line, form in lines if form not in gone).strip("\n")


def _forms(text: str) -> list[str]:
    """Returns what is compared of every line, empty for a blank one."""
    return [documents.normalised(line) for line in text.split("\n")]
