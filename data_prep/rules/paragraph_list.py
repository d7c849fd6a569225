"""Reads and writes lists of paragraphs: which ones of which file were used.

The form is the one that the codistillation paper published
(github.com/google-research/google-research/tree/master/codistillation): CSV
files in a compressed tar, with the columns `file name` and
`encoded_paragraph_list`; every number but the first is the distance to the one
before. One CSV file, compressed or not, is read too.

A list comes from outside. Nothing of a tar is written anywhere, and no name in
it is used but to say where an error is; memory is bounded by one row.
"""

import csv
import io
import pathlib
import re
import tarfile
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np

from data_prep import progress
from data_prep.reading import compressed
from lmcodistill import errors

COLUMNS = ("file name", "encoded_paragraph_list")
_BLOCK = 512
_CHUNK_BYTES = 1 << 20
# A WET file has some 4 million lines; all of them are 8 MB as distances of 1.
_MAX_ROW_BYTES = 16 << 20
_MAX_ID = 1 << 40
_MAX_RATIO = 400
_FREE_BYTES = 64 << 20
_SEPARATORS = str.maketrans(dict.fromkeys(",;|:[](){}\t\r\n", " "))
_BAD = re.compile(r"[^0-9 ]|[0-9]{16}")


class Row(NamedTuple):
    """What the list says about one file.

    Attributes:
        name: Of the file, as it is written there.
        encoded: The distances, as they are written there.
        where: Place in the list, for people.
    """

    name: str
    encoded: str
    where: str


def read_rows(path: pathlib.Path, advance: progress.Advance) -> Iterator[Row]:
    """Yields the rows of a list.

    Args:
        path: A CSV file, or a tar of them; compressed with bzip2, gzip or xz or
            not at all.
        advance: Called with the bytes of the file read since the last call.

    Raises:
        DataError: the file is damaged, no such list, or larger than such lists are.
    """
    try:
        limit = _FREE_BYTES + _MAX_RATIO * path.stat().st_size
        with compressed.Reader(path, limit) as content:
            position = 0
            for row in _rows_of_all(io.BufferedReader(content, _CHUNK_BYTES), path):
                yield row
                advance(content.position() - position)
                position = content.position()
    except (OSError, *compressed.DAMAGE) as error:
        raise errors.DataError(
            f"{path} is damaged or cut: {error}. Fetch the list again."
        ) from error


def _rows_of_all(stream: io.BufferedReader, path: pathlib.Path) -> Iterator[Row]:
    head = stream.peek(_BLOCK)
    if head[257:262] != b"ustar" or len(head) < _BLOCK:
        yield from _rows(stream, str(path))
        return
    for number, member in enumerate(_members(stream, path)):
        yield from _rows(member, f"{path}, file {number + 1}")


def decode(row: Row) -> np.ndarray:
    """Returns the numbers of a row, int64, ascending.

    Raises:
        DataError: they are no distances, or not of paragraphs.
    """
    text = row.encoded.translate(_SEPARATORS)
    if bad := _BAD.search(text):
        start = text.rfind(" ", 0, bad.start()) + 1
        raise errors.DataError(
            f"{row.where}: {text[start : start + 40].split(' ')[0]!r} is no distance "
            "between paragraphs; whole numbers from 0 were expected, as their order "
            "is ascending."
        )
    if not text.strip():
        return np.zeros(0, np.int64)
    deltas = np.fromstring(text, np.int64, sep=" ")
    # A row has room for a million of the largest distances: no sum overflows.
    ids = np.cumsum(np.minimum(deltas, _MAX_ID + 1))
    wrong = (ids > _MAX_ID) | (deltas == 0)
    wrong[0] = ids[0] > _MAX_ID
    if wrong.any():
        first = int(np.argmax(wrong))
        raise errors.DataError(
            f"{row.where}: the distance {deltas[first]} leads to paragraph "
            f"{ids[first]}, which is "
            f"{'none of any file' if deltas[first] else 'there already'}. Fetch the "
            "list again."
        )
    return ids


class _Member(io.RawIOBase):
    """The content of one member of a tar."""

    def __init__(self, stream: IO[bytes], size: int):
        self._stream, self.left = stream, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self.left)
        content = self._stream.read(size)
        if len(content) < size:
            raise EOFError("the tar ends in the middle of a file")
        buffer[:size] = content
        self.left -= size
        return size


def _members(stream: IO[bytes], path: pathlib.Path) -> Iterator[IO[bytes]]:
    """Yields the regular files of a tar, to be read before the next is asked for.

    tarfile would read long names whole and unfold sparse files, as large as their
    headers say; only its parser of one header is used.
    """
    while True:
        head = stream.read(_BLOCK)
        if not head.strip(b"\0"):
            return
        try:
            info = tarfile.TarInfo.frombuf(head, "utf-8", "replace")
        except tarfile.HeaderError as error:
            raise errors.DataError(
                f"{path} is no whole tar: {error}. Fetch the list again."
            ) from error
        if info.size < 0:
            raise errors.DataError(
                f"{path} has a file of {info.size} bytes in it. Fetch the list again."
            )
        member = _Member(stream, info.size)
        if info.isreg() and not info.issparse():
            yield io.BufferedReader(member, 1 << 16)
        member.left += -info.size % _BLOCK
        while member.left:
            member.readinto(memoryview(bytearray(min(member.left, _CHUNK_BYTES))))


def _rows(stream: IO[bytes], where: str) -> Iterator[Row]:
    # The csv module has one limit for the whole process, by default 128 kB.
    csv.field_size_limit(_MAX_ROW_BYTES)
    reader = csv.reader(_text_lines(stream, where), strict=True)
    try:
        for row in reader:
            place = f"{where}, line {reader.line_num}"
            if not row or row[0].strip().lower().replace("_", " ") == COLUMNS[0]:
                continue
            if len(row) < 2:
                raise errors.DataError(
                    f"{place}: one column, {row[0][:60]!r}; the columns "
                    f"{' and '.join(COLUMNS)} were expected."
                )
            # A list that was written without quotes has a column per number.
            yield Row(row[0].strip(), ",".join(row[1:]), place)
    except csv.Error as error:
        raise errors.DataError(
            f"{where}, line {reader.line_num}: {error}; a CSV file was expected."
        ) from error


def _text_lines(stream: IO[bytes], where: str) -> Iterator[str]:
    number = 0
    while line := stream.readline(_MAX_ROW_BYTES + 1):
        number += 1
        if len(line) > _MAX_ROW_BYTES:
            raise errors.DataError(
                f"{where}, line {number} has more than {_MAX_ROW_BYTES:,} bytes; no "
                "file has that many paragraphs. Fetch the list again."
            )
        yield line.decode("utf-8-sig" if number == 1 else "utf-8", "replace")
