"""The bytes of an archive file, gzipped or not, with a way on behind damage.

Reading raises where it cannot go on; `find_next_record` then goes to the next
gzip member, or to the next line, that looks like a record. Nothing here takes
more than linear time or a fixed amount of memory: what is read again behind damage
counts against the same budget as the output of a decompression bomb.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from typing import IO, NoReturn

MAX_HEADER_BYTES = 64 << 10
# Text compresses some 4:1; beyond this a member, or a whole file, is a bomb.
MAX_RATIO = 200
MAX_FILE_RATIO = 50
CHUNK_BYTES = 64 << 10
_GZIP_MAGIC = b"\x1f\x8b\x08"
MARK = b"WARC/"
_RATIO_CHECKED_FROM = 1 << 20
_FILE_CHECKED_FROM = 4 << 20
_BLOCK = 16 << 10
_HEAD = 1 << 10
_MAX_OUTPUT = 256 << 10
# Its magic, flags, time and how hard it was compressed.
_MEMBER = re.compile(rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04]", re.DOTALL)
_MEMBER_BYTES = 9
_BLANK_LINE = re.compile(rb"\n[ \t\r\v\f]*\n")
_NOT_BLANK = re.compile(rb"[^ \t\r\n\v\f]")


def output_budget(file_bytes: int) -> int:
    """Returns how many bytes may come out of a compressed file of this size."""
    return MAX_FILE_RATIO * file_bytes + _FILE_CHECKED_FROM


def open_bytes(file: IO[bytes]) -> PlainBytes:
    """Returns the bytes of an archive file, decompressed if it is gzipped."""
    magic = file.read(len(_GZIP_MAGIC))
    return GzipBytes(file) if magic == _GZIP_MAGIC else PlainBytes(file)


class DamageError(Exception):
    """Reading cannot go on here; `at_end` says that the file simply stops."""

    def __init__(self, words: str = "", *, at_end: bool = False):
        super().__init__(words)
        self.at_end = at_end


class PlainBytes:
    """An uncompressed file, through a buffer."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        self._budget = output_budget(self._size)
        self._buffer, self._offset = b"", 0
        self._record_start = 0
        self._in_record = False
        file.seek(0)

    @property
    def position(self) -> int:
        """Bytes of the file that have been used."""
        return self._file.tell() - (len(self._buffer) - self._offset)

    def begin_record(self) -> bool:
        """Goes to the next record; False at the end of the file."""
        self._in_record = False
        while not (match := _NOT_BLANK.search(self._buffer, self._offset)):
            if not self._more():
                return False
        self._offset = match.start()
        head = self._peek(is_same_member=False)
        if head != MARK:
            raise DamageError(at_end=MARK.startswith(head))
        self._in_record = True
        self._record_start = self.position
        return True

    def header(self) -> bytes:
        """Returns the lines up to a blank one."""
        stop = self._offset + MAX_HEADER_BYTES
        match = _BLANK_LINE.search(self._buffer, self._offset, stop)
        if match:
            header = self._buffer[self._offset : match.end()]
            self._offset = match.end()
            return header
        head = bytearray(self._buffer[self._offset :])
        self._offset = len(self._buffer)
        while len(head) < MAX_HEADER_BYTES:
            line = max(0, head.rfind(b"\n"))
            if not self._more():
                raise DamageError(at_end=True)
            head += self._buffer
            if match := _BLANK_LINE.search(head, line, MAX_HEADER_BYTES):
                self._offset = len(self._buffer) - (len(head) - match.end())
                return bytes(head[: match.end()])
        raise DamageError

    def read(self, length: int) -> bytes:
        stop = self._offset + length
        if stop <= len(self._buffer):
            piece = self._buffer[self._offset : stop]
            self._offset = stop
            return piece
        return b"".join(self._pieces(length))

    def skip(self, length: int) -> None:
        for _ in self._pieces(length):
            pass

    def end_body(self) -> None:
        """Checks that the body ends where its header says.

        A line end follows it, or another record, or nothing. In a gzip file this
        reads on to the end of the member, where its checksum is; if the member
        holds more than the record, to the next byte that is not blank.
        """
        self._in_record = False
        blank = b""
        while not (match := _NOT_BLANK.search(self._buffer, self._offset)):
            blank = blank or self._buffer[self._offset :]
            self._offset = len(self._buffer)
            if not self._more(is_same_member=True):
                return
        blank = blank or self._buffer[self._offset : match.start()]
        self._offset = match.start()
        if b"\n" not in blank and self._peek(is_same_member=True) != MARK:
            raise DamageError

    def find_next_record(self) -> bool:
        """Goes to the next line that looks like a record, behind damage."""
        self._in_record = False
        self._file.seek(self._record_start + 1)
        self._buffer, self._offset = b"", 0
        return self._budget > 0 and self._scan()

    def _scan(self) -> bool:
        text = b"\n" + self._buffer[self._offset :]
        while (start := text.find(b"\n" + MARK)) < 0:
            if not self._more():
                self._buffer, self._offset = b"", 0
                return False
            between = b"\n" if self._begins_member() else b""
            text = text[-len(MARK) :] + between + self._buffer
        self._buffer, self._offset = text, start + 1
        return True

    def _peek(self, is_same_member: bool) -> bytes:
        """Returns the next bytes, as many as the mark of a record has."""
        while len(self._buffer) - self._offset < len(MARK):
            rest = self._buffer[self._offset :]
            if not self._more(is_same_member):
                self._buffer, self._offset = rest, 0
                break
            self._buffer = rest + self._buffer
        return self._buffer[self._offset : self._offset + len(MARK)]

    def _pieces(self, length: int) -> Iterator[bytes]:
        while length:
            if self._offset == len(self._buffer) and not self._more():
                raise DamageError(at_end=True)
            piece = self._buffer[self._offset : self._offset + length]
            self._offset += len(piece)
            length -= len(piece)
            yield piece

    def _more(self, is_same_member: bool = False) -> bool:
        """Replaces the buffer, which is used up; False at the end of the file."""
        self._buffer, self._offset = self._file.read(CHUNK_BYTES), 0
        self._spend(len(self._buffer))
        return bool(self._buffer)

    def _begins_member(self) -> bool:
        return False

    def _spend(self, size: int) -> None:
        self._budget -= size
        if self._budget < 0:
            raise DamageError


class GzipBytes(PlainBytes):
    """A gzip file of one or many members, decompressed as it is asked for."""

    def __init__(self, file: IO[bytes]):
        super().__init__(file)
        self._input, self._input_offset, self._input_end = memoryview(b""), 0, 0
        self._member: zlib._Decompress | None = None
        self._member_start = 0
        self._member_output = 0
        self._is_broken = False

    @property
    def position(self) -> int:
        """Bytes of the file that have been used."""
        return self._input_end - (len(self._input) - self._input_offset)

    def find_next_record(self) -> bool:
        """Goes on in this member, or to the next that begins with a record."""
        self._in_record = False
        while self._budget > 0:
            try:
                return self._find_next_member() if self._is_broken else self._scan()
            except DamageError:
                pass
        return False

    def _more(self, is_same_member: bool = False) -> bool:
        block = b""
        while not block:
            if self._member is None and (is_same_member or not self._begin_member()):
                return False
            block = self._decompress()
        self._buffer, self._offset = block, 0
        # A record ends in the member that it began in; a file that is cut into
        # members elsewhere does not begin them with this mark.
        if self._in_record and self._begins_member() and block.startswith(MARK):
            raise DamageError
        return True

    def _begins_member(self) -> bool:
        return self._member_output == len(self._buffer)

    def _begin_member(self) -> bool:
        """Begins the next member; False at the end, which may be padded."""
        self._member_start = self.position
        while not any(self._input[self._input_offset :]):
            if not self._load():
                return False
        if self._input[self._input_offset] == 0:
            self._fail()
        self._member = zlib.decompressobj(31)
        self._member_start, self._member_output = self.position, 0
        return True

    def _decompress(self) -> bytes:
        assert self._member is not None
        if self._input_offset == len(self._input):
            self._load()
        start = self._input_offset
        piece = self._input[start : start + _BLOCK]
        try:
            output = self._member.decompress(piece, _MAX_OUTPUT)
        except zlib.error:
            self._fail()
        # At the end of a member, both attributes hold what follows it.
        is_end = self._member.eof
        rest = self._member.unused_data if is_end else self._member.unconsumed_tail
        self._input_offset += len(piece) - len(rest)
        self._member_output += len(output)
        if is_end:
            self._member = None
        elif not piece and not output:
            self._fail(at_end=True)
        if self._member_output > _RATIO_CHECKED_FROM:
            consumed = self.position - self._member_start
            if self._member_output > MAX_RATIO * consumed:
                self._fail()
        self._spend(len(output))
        return output

    def _load(self) -> bool:
        self._input, self._input_offset = memoryview(self._file.read(CHUNK_BYTES)), 0
        self._input_end += len(self._input)
        return len(self._input) > 0

    def _fail(self, at_end: bool = False) -> NoReturn:
        self._is_broken = True
        raise DamageError(at_end=at_end)

    def _find_next_member(self) -> bool:
        self._buffer, self._offset, self._is_broken = b"", 0, False
        self._input, self._input_offset, self._member = memoryview(b""), 0, None
        self._input_end = self._size
        for start in _find_members(self._file, self._member_start + 1):
            self._file.seek(start)
            head = self._file.read(_HEAD)
            try:
                text = zlib.decompressobj(31).decompress(head, len(MARK))
            except zlib.error:
                continue
            if text == MARK:
                self._input_end = self._file.seek(start)
                return True
        self._file.seek(self._size)
        return False


def _find_members(file: IO[bytes], start: int) -> Iterator[int]:
    """Yields where a member may begin; the caller may move in the file."""
    chunk = b" " * CHUNK_BYTES
    while len(chunk) == CHUNK_BYTES:
        file.seek(start)
        chunk = file.read(CHUNK_BYTES)
        match = _MEMBER.search(chunk)
        while match:
            yield start + match.start()
            match = _MEMBER.search(chunk, match.start() + 1)
        start += len(chunk) - _MEMBER_BYTES + 1
