"""What is left of a part once the copies are known."""

import dataclasses
import pathlib
from collections.abc import Iterator

from data_prep import documents, progress, work
from data_prep.duplicates import copies, line_duplicates


@dataclasses.dataclass(frozen=True)
class Survivors:
    """Reads the documents that stay.

    Attributes:
        root: The work folder.
        without_copies: Whether documents were compared; copies go.
        without_lines: Whether lines were compared; copies go.
    """

    root: pathlib.Path
    without_copies: bool
    without_lines: bool

    def read(
        self, number: int, part: work.Part, advance: progress.Advance
    ) -> Iterator[tuple[int, documents.Document]]:
        """Yields the documents of a part that stay, with their numbers in it.

        The part is the one with this number in the run.
        """
        folder = work.WorkFolder(self.root)
        gone: set[int] = set()
        if self.without_copies:
            gone.update(copies.of_documents(self.root).load(number).tolist())
        cutter = None
        if self.without_lines:
            cutter = line_duplicates.Cutter(copies.of_lines(self.root).load(number))
        for i, line in enumerate(work.json_lines(folder.documents(part))):
            advance(len(line))
            # The cutter counts lines, so it must see every document.
            if i in gone and cutter is None:
                continue
            document = documents.Document.from_json(line)
            if cutter is not None:
                text = cutter.cut(document.text)
                document = dataclasses.replace(document, text=text)
            if i not in gone:
                yield i, document
