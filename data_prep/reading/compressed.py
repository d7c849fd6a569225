"""The bytes of a text file: as they are, or out of gzip, bzip2, xz or zstd.

Unlike the modules of the standard library this says how much of the file has
been used, and it stops at bombs: after 50 times the size of the file, and at xz
and zstd files that ask for more memory than `xz -9` and `zstd --long` do.
"""

import bz2
import functools
import io
import lzma
import pathlib
import re
import zlib
from typing import IO, Any

from backports import zstd

from data_prep.reading import archive_bytes

MAGIC_BYTES = 10
_MAX_XZ_MEMORY = 128 << 20
_MAX_ZSTD_WINDOW_LOG = 27
_CHUNK = 64 << 10
_MAX_OUTPUT = 256 << 10


# What reading a damaged file, or a bomb, raises; EOFError means that it is cut.
DAMAGE = (EOFError, archive_bytes.DamageError)


class _Gunzip:
    """zlib's decompressor with the interface of the other two."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)
        self._may_hold_more = False

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not (self._inner.unconsumed_tail or self._may_hold_more)

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        given = self._inner.unconsumed_tail + data
        output = self._inner.decompress(given, max_length)
        self._may_hold_more = len(output) == max_length
        return output


_KINDS = (
    (re.compile(rb"\x1f\x8b\x08"), _Gunzip),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.BZ2Decompressor),
    (
        re.compile(rb"\xfd7zXZ\x00"),
        functools.partial(
            lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=_MAX_XZ_MEMORY
        ),
    ),
    (
        # A frame, or one to skip, which parallel compressors write first.
        re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
        functools.partial(
            zstd.ZstdDecompressor,
            options={zstd.DecompressionParameter.window_log_max: _MAX_ZSTD_WINDOW_LOG},
        ),
    ),
)


def is_compressed(magic: bytes) -> bool:
    """Returns whether bytes that begin like this are compressed in a known way."""
    return _decompressor(magic) is not None


def _decompressor(magic: bytes) -> Any:
    return next((make for known, make in _KINDS if known.match(magic)), None)


class Reader(io.RawIOBase):
    """A file, decompressed. Raises one of `DAMAGE` where that is impossible."""

    def __init__(self, path: pathlib.Path, max_output: int | None = None):
        """Opens the file.

        Args:
            path: Compressed or not.
            max_output: Bytes that may come out of it if it is; by default in
                proportion to its size.
        """
        super().__init__()
        self._file: IO[bytes] = open(path, "rb")  # noqa: SIM115
        self._make = _decompressor(self._file.read(MAGIC_BYTES))
        size = self._file.seek(0, io.SEEK_END)
        self._file.seek(0)
        self._max_output = max_output or archive_bytes.output_budget(size)
        self._left = self._max_output
        self._inner: Any = None
        self._input = b""

    def position(self) -> int:
        """Returns how many bytes of the file have been used."""
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer, or some of it; 0 at the end."""
        if self._make is None:
            block = self._file.read(len(buffer))
        else:
            block = self._decompress(min(len(buffer), _MAX_OUTPUT))
            self._left -= len(block)
            if self._left < 0:
                raise archive_bytes.DamageError(
                    f"it unpacks to more than {self._max_output:,} bytes"
                )
        buffer[: len(block)] = block
        return len(block)

    def _decompress(self, max_length: int) -> bytes:
        block = b""
        while not block:
            if self._inner is None and not self._begin():
                return b""
            if self._inner.needs_input and not self._input:
                self._input = self._file.read(_CHUNK)
                if not self._input:
                    raise EOFError
            given, self._input = self._input, b""
            try:
                block = self._inner.decompress(given, max_length)
            except (OSError, zlib.error, lzma.LZMAError, zstd.ZstdError) as error:
                raise archive_bytes.DamageError(str(error)) from error
            if self._inner.eof:
                self._input, self._inner = self._inner.unused_data, None
        return block

    def _begin(self) -> bool:
        """Begins the next member or stream; False at the end, perhaps padded."""
        while not (rest := self._input.lstrip(b"\0")):
            self._input = self._file.read(_CHUNK)
            if not self._input:
                return False
        self._input, self._inner = rest, self._make()
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


def open_bytes(path: pathlib.Path) -> io.BufferedReader:
    """Opens a file for reading bytes, decompressed."""
    return io.BufferedReader(Reader(path), _MAX_OUTPUT)


def read_head(path: pathlib.Path, size: int) -> tuple[bytes, bool]:
    """Returns how a file begins, decompressed, and whether that is all of it.

    At most `size` bytes; where it is damaged, what comes before.
    """
    head = b""
    with Reader(path) as file:
        try:
            while len(head) < size and (block := file.read(size - len(head))):
                head += block
            return head, len(head) < size
        except DAMAGE:
            return head, False
