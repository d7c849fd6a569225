"""The lines of a text file, in UTF-8 or not.

A text says nowhere what it is in. UTF-16 and UTF-32 begin with a mark; of the rest,
lines that are no UTF-8 are read in the encoding that they look like, and counted.
"""

import codecs
import io
import itertools
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

from data_prep import counts as counts_lib
from data_prep import progress
from data_prep.reading import browser_codecs, compressed, encodings

_ADVANCE_BYTES = 64 << 10
_PIECE = 64 << 10
# UTF-32 first: its mark begins with that of UTF-16.
_WIDE = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# How much is looked at to find out what the lines are in.
_SAMPLE_BYTES = 256 << 10
_BEYOND_ASCII = re.compile(rb"[\x80-\xff\x1b]")


def wide_encoding(head: bytes) -> str | None:
    """Returns the codec of a text that begins with the mark of UTF-16 or UTF-32."""
    return next((name for mark, name in _WIDE if head.startswith(mark)), None)


def read(
    path: pathlib.Path,
    max_bytes: int,
    counts: counts_lib.Counts,
    advance: progress.Advance,
) -> Iterator[bytes]:
    """Yields the lines of a file without their ends, up to any damage.

    A line over `max_bytes` is dropped and counted. UTF-16 and UTF-32 come out as
    UTF-8.
    """
    is_dropped = False
    pieces = _pieces(path, counts, advance, lambda file: file.readline(max_bytes + 1))
    for piece in pieces:
        is_end = piece.endswith(b"\n")
        if is_dropped:
            is_dropped = not is_end
        elif len(piece) > max_bytes and not is_end:
            is_dropped = True
            counts.drop("record_too_large")
        else:
            yield piece.rstrip(b"\r\n")


def chunks(
    path: pathlib.Path, counts: counts_lib.Counts, advance: progress.Advance
) -> Iterator[bytes]:
    """Yields a file that is not one of lines, cut anywhere, as `read` does."""
    return _pieces(path, counts, advance, lambda file: file.read1(_PIECE))


def _pieces(
    path: pathlib.Path,
    counts: counts_lib.Counts,
    advance: progress.Advance,
    take: Callable[[io.BufferedReader], bytes],
) -> Iterator[bytes]:
    """Yields what `take` returns of a file, up to its end or any damage."""
    advanced, unseen = 0, 0
    with compressed.Reader(path) as raw, io.BufferedReader(raw) as whole:
        try:
            codec = wide_encoding(whole.peek(4)[:4])
            stream: Any = io.BufferedReader(_Recoded(whole, codec)) if codec else whole
            while piece := take(stream):
                unseen += len(piece)
                if unseen > _ADVANCE_BYTES:
                    position, unseen = raw.position(), 0
                    advance(position - advanced)
                    advanced = position
                if codec:
                    counts.encodings[codec] += 1
                    counts.replaced += piece.count(b"\xef\xbf\xbd")
                yield piece
        except EOFError:
            counts.truncated = True
        except compressed.DAMAGE:
            counts.damaged += 1
    advance(max(0, path.stat().st_size - advanced))


def decode(lines: Iterator[bytes], counts: counts_lib.Counts) -> Iterator[str]:
    """Yields the text of lines.

    Args:
        lines: Of one file.
        counts: Counts lines that are not in UTF-8, by what they were read as, and
            characters that are no text in that.
    """
    for line in lines:
        # As `_utf_8` does it, without a call for each line.
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = "\x1b"
        if "\x1b" in text and _utf_8(line) is None:
            yield from _decode_rest(line, lines, counts)
            return
        yield text.removeprefix("\ufeff")


def _decode_rest(
    first: bytes, lines: Iterator[bytes], counts: counts_lib.Counts
) -> Iterator[str]:
    sample, size = [first], len(first)
    while size < _SAMPLE_BYTES and (line := next(lines, None)) is not None:
        sample.append(line)
        size += len(line) + 1
    telling = [line for line in sample if _BEYOND_ASCII.search(line)]
    others = [line for line in telling if _utf_8(line) is None]
    name = encodings.detect(b"\n".join(others))
    # Few lines of another encoding happen to be UTF-8.
    is_mixed = name == encodings.UTF_8 or 2 * len(others) <= len(telling)
    for line in itertools.chain(sample, lines):
        text = _utf_8(line)
        if text is None or not (is_mixed or line.isascii()):
            text = browser_codecs.decode(line, name)
            counts.replaced += text.count("\ufffd")
            if name != encodings.UTF_8:
                counts.encodings[name] += 1
        yield text.removeprefix("\ufeff")


def _utf_8(line: bytes) -> str | None:
    """Returns the text of a line; None if it is no UTF-8, or ISO-2022-JP."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return None
    return None if "\x1b" in text and encodings.has_escapes(line) else text


class _Recoded(io.RawIOBase):
    """A stream in another encoding, as UTF-8."""

    def __init__(self, stream: io.BufferedIOBase, codec: str):
        super().__init__()
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(codec)("replace")
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer, or some of it; 0 at the end."""
        while not self._left:
            piece = self._stream.read1(_PIECE)
            text = self._decoder.decode(piece, final=not piece)
            self._left = text.encode("utf-8", "replace")
            if not piece:
                break
        block, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(block)] = block
        return len(block)
