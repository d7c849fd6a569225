"""Records of WARC and WET files, complete ones only, damage or not.

Our own reader, because FastWARC 2.0.1 and warcio 1.8.1 both end without an
error on a cut file and FastWARC hands out the cut record (measured 2026-11).
Here a record counts only if its body is as long as its header says and the
compressed data around it is whole. Behind damage, reading goes on at the next
gzip member or the next `WARC/` line.
"""

from __future__ import annotations

import mmap
import pathlib
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from data_prep import tally as tally_lib

MAX_HEADER_BYTES = 64 << 10
# A page compresses some 4:1; beyond this a member is a bomb, not text.
MAX_RATIO = 200
_RATIO_CHECKED_FROM = 1 << 20
_BLOCK = 16 << 10
_MAX_OUTPUT = 256 << 10
_GZIP_MAGIC = b"\x1f\x8b\x08"
_MARK = b"WARC/"


class Record(NamedTuple):
    """One complete record.

    Attributes:
        headers: Header fields by lower-case name.
        body: Exactly as many bytes as the header declares.
        number: Position among the complete records of the file.
    """

    headers: dict[str, str]
    body: bytes
    number: int


class _DamageError(Exception):
    """Reading cannot go on here; `at_end` says that the file simply stops."""

    def __init__(self, at_end: bool = False):
        super().__init__()
        self.at_end = at_end


class _PlainBytes:
    """An uncompressed file."""

    def __init__(self, data: mmap.mmap | bytes):
        self._data, self.position, self._record_start = data, 0, 0

    def read(self, length: int) -> bytes:
        piece = self._data[self.position : self.position + length]
        if len(piece) < length:
            raise _DamageError(at_end=True)
        self.position += length
        return piece

    def skip(self, length: int) -> None:
        if self.position + length > len(self._data):
            raise _DamageError(at_end=True)
        self.position += length

    def readline(self, limit: int) -> bytes:
        """Returns a line with its end; b"" at the end of the file."""
        end = self._data.find(b"\n", self.position, self.position + limit)
        rest = len(self._data) - self.position
        if end < 0 and rest >= limit:
            raise _DamageError
        line = self._data[self.position : end + 1 if end >= 0 else len(self._data)]
        self.position += len(line)
        return line

    def unread(self, line: bytes) -> None:
        self.position -= len(line)

    def begin_record(self) -> None:
        self._record_start = self.position

    def end_body(self) -> None:
        """Checks that a line end follows, or nothing."""
        if self.readline(MAX_HEADER_BYTES).strip():
            raise _DamageError

    def find_next_record(self) -> bool:
        start = self._data.find(b"\n" + _MARK, self._record_start)
        if start < 0:
            self.position = len(self._data)
            return False
        self.position = start + 1
        return True


class _GzipBytes:
    """A gzip file of one or many members, decompressed as it is asked for."""

    def __init__(self, data: mmap.mmap | bytes):
        self._data, self.position = data, 0
        self._buffer = b""
        self._offset = 0
        self._member: zlib._Decompress | None = None
        self._member_start = 0
        self._member_output = 0
        self._broken = False
        self._in_record = False

    def read(self, length: int) -> bytes:
        pieces = []
        while length:
            if not self._fill():
                raise _DamageError(at_end=True)
            piece = self._buffer[self._offset : self._offset + length]
            self._offset += len(piece)
            length -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def skip(self, length: int) -> None:
        while length:
            length -= len(self.read(min(length, _MAX_OUTPUT)))

    def readline(self, limit: int) -> bytes:
        """Returns a line with its end; b"" at the end of the file."""
        line = self._read_piece(limit)
        if len(line) == limit and not line.endswith(b"\n"):
            raise _DamageError
        return line

    def _read_piece(self, limit: int) -> bytes:
        """Returns a line, or the first `limit` bytes of it."""
        pieces: list[bytes] = []
        while limit > 0 and self._fill():
            end = self._buffer.find(b"\n", self._offset, self._offset + limit) + 1
            stop = end or min(len(self._buffer), self._offset + limit)
            pieces.append(self._buffer[self._offset : stop])
            limit -= stop - self._offset
            self._offset = stop
            if end:
                break
        return b"".join(pieces)

    def unread(self, line: bytes) -> None:
        self._buffer = line + self._buffer[self._offset :]
        self._offset = 0

    def begin_record(self) -> None:
        self._in_record = True

    def find_next_record(self) -> bool:
        self._in_record = False
        while True:
            if self._broken and not self._find_next_member():
                return False
            try:
                begins_line = True
                while piece := self._read_piece(MAX_HEADER_BYTES):
                    if begins_line and piece.startswith(_MARK):
                        self.unread(piece)
                        return True
                    begins_line = piece.endswith(b"\n")
                return False
            except _DamageError:
                self._broken = True

    def end_body(self) -> None:
        """Reads on to the end of the member, where its checksum is.

        A member that holds further records is read up to the next one.
        """
        while True:
            rest = self._buffer[self._offset :].lstrip()
            self._buffer, self._offset = rest, 0
            if rest and not rest.startswith(_MARK[: len(rest)]):
                raise _DamageError
            if rest or self._member is None:
                self._in_record = False
                return
            self._buffer = self._decompress() or b""

    def _fill(self) -> bool:
        """Makes the buffer non-empty; False at the clean end of the file."""
        while self._offset >= len(self._buffer):
            is_new = self._member is None
            block = self._decompress()
            if block is None:
                return False
            self._buffer, self._offset = block, 0
            # A record ends in the member that it began in; a file that is cut
            # into members elsewhere does not begin them with this mark.
            if is_new and self._in_record and block.startswith(_MARK):
                raise _DamageError
        return True

    def _decompress(self) -> bytes | None:
        if self._member is None:
            if not self._data[self.position : self.position + _BLOCK].strip(b"\0"):
                return None  # The end, perhaps padded.
            self._member = zlib.decompressobj(31)
            self._member_start, self._member_output = self.position, 0
        piece = self._data[self.position : self.position + _BLOCK]
        try:
            output = self._member.decompress(piece, _MAX_OUTPUT)
        except zlib.error as error:
            self._broken = True
            raise _DamageError from error
        # At the end of a member, both attributes hold what follows it.
        is_end = self._member.eof
        rest = self._member.unused_data if is_end else self._member.unconsumed_tail
        self.position += len(piece) - len(rest)
        self._member_output += len(output)
        consumed = self.position - self._member_start
        if self._member.eof:
            self._member = None
        elif not piece and not output:
            self._broken = True
            raise _DamageError(at_end=True)
        is_large = self._member_output > _RATIO_CHECKED_FROM
        if is_large and self._member_output > MAX_RATIO * consumed:
            self._broken = True
            raise _DamageError
        return output

    def _find_next_member(self) -> bool:
        """Goes to the next member that begins with a record."""
        self._buffer, self._offset, self._broken = b"", 0, False
        start = self._member_start
        while (start := self._data.find(_GZIP_MAGIC, start + 1)) >= 0:
            try:
                head = zlib.decompressobj(31).decompress(
                    self._data[start : start + _BLOCK], len(_MARK)
                )
            except zlib.error:
                continue
            if head.startswith(_MARK):
                self.position, self._member = start, None
                return True
        self.position, self._member = len(self._data), None
        return False


def read_records(
    path: pathlib.Path,
    tally: tally_lib.Tally,
    *,
    max_record_bytes: int,
    wanted: frozenset[str],
    advance: Callable[[int], None],
) -> Iterator[Record]:
    """Yields the complete records of the wanted types.

    Args:
        path: A WARC or WET file, gzipped or not.
        tally: Counts records per type, damage and truncation.
        max_record_bytes: Records with a longer body are dropped unread.
        wanted: Values of `WARC-Type` to yield; others are only counted.
        advance: Called with the bytes of the file read since the last call.
    """
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        stream = _GzipBytes(data) if data[:3] == _GZIP_MAGIC else _PlainBytes(data)
        number, last_position = 0, 0
        while True:
            try:
                record = _read_record(stream, tally, max_record_bytes, wanted, number)
            except _DamageError as damage:
                if damage.at_end:
                    tally.truncated = True
                else:
                    tally.damaged += 1
                if not stream.find_next_record():
                    break
                # Not the end after all: a length that reached beyond it.
                if damage.at_end:
                    tally.truncated = False
                    tally.damaged += 1
                continue
            if record is None:
                break
            number += 1
            if record.headers:
                yield record
            position = max(last_position, stream.position)
            advance(position - last_position)
            last_position = position
        advance(len(data) - last_position)


def _read_record(
    stream: _PlainBytes | _GzipBytes,
    tally: tally_lib.Tally,
    max_record_bytes: int,
    wanted: frozenset[str],
    number: int,
) -> Record | None:
    """Returns the next record, without content if unwanted; None at the end."""
    line = _next_line(stream)
    if not line:
        return None
    stream.unread(line)
    stream.begin_record()
    if not line.startswith(_MARK):
        raise _DamageError
    headers = _read_header(stream)
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 20):
        raise _DamageError
    kind = headers.get("warc-type", "unknown").lower()
    is_wanted = kind in wanted
    is_small = int(length) <= max_record_bytes
    body = b""
    if is_wanted and is_small:
        body = stream.read(int(length))
    else:
        stream.skip(int(length))
    stream.end_body()
    tally.records[kind[:40]] += 1
    if is_wanted and not is_small:
        tally.drop("record_too_large")
    if not is_wanted or not is_small:
        return Record({}, b"", number)
    return Record(headers, body, number)


def _next_line(stream: _PlainBytes | _GzipBytes) -> bytes:
    """Returns the first line that is not blank; b"" at the end."""
    while line := stream.readline(MAX_HEADER_BYTES):
        if line.strip():
            return line
    return b""


def _read_header(stream: _PlainBytes | _GzipBytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    left = MAX_HEADER_BYTES
    while True:
        line = stream.readline(left)
        left -= len(line)
        if not line.endswith(b"\n"):
            raise _DamageError(at_end=True)
        if not line.strip():
            return headers
        name, _, value = line.decode("utf-8", "replace").partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
