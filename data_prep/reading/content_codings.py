"""Content codings undone: gzip, deflate, br and zstd, whatever the header says.

A body has the coding that its bytes have. Crawlers keep bodies decoded under the
headers that they came with, coded under none, or coded twice; so what a header says
is only asked for codings that begin with no mark of their own.
"""

import re
import zlib
from collections.abc import Callable, Sequence

import brotli
from backports import zstd

from data_prep.reading import body_kinds

# A body that has more is made to do harm.
_MAX_CODINGS = 5
_GZIP = b"\x1f\x8b\x08"
_ZSTD = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
# Zstandard lets a stream ask for any window; browsers give 8 MB.
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
_PIECE = 256 << 10


class UndecodableError(Exception):
    """The body has a coding that it breaks off in, or that is not known."""


class TooLargeError(Exception):
    """What comes out is larger than asked for."""


def undo(body: bytes, declared: Sequence[str], max_bytes: int) -> bytes:
    """Returns a body without the codings that it has.

    Args:
        body: As it was stored.
        declared: Codings that the header names, in lower case.
        max_bytes: How much may come out.

    Raises:
        UndecodableError: it cannot be undone.
        TooLargeError: it is larger.
    """
    left = {_ALIASES.get(name, name) for name in declared} - {"identity", "chunked"}
    for _ in range(_MAX_CODINGS):
        if body.startswith(_GZIP):
            body = _must(_gunzip, body, max_bytes)
            left.discard("gzip")
        elif _ZSTD.match(body):
            body = _must(_unzstd, body, max_bytes)
            left.discard("zstd")
        elif (inflated := _zlib(body, max_bytes)) is not None:
            body = inflated
            left.discard("deflate")
        else:
            decoded = _without_mark(body, left, max_bytes)
            if decoded is None:
                break
            body = decoded
    if len(body) > max_bytes:
        raise TooLargeError
    if left and body_kinds.looks_coded(body) and not body_kinds.has_magic(body):
        raise UndecodableError
    return body


def _without_mark(body: bytes, left: set[str], max_bytes: int) -> bytes | None:
    """Undoes br or raw deflate, which nothing but success tells apart from text."""
    for name, decode in _UNMARKED.items():
        if name in left and (decoded := decode(body, max_bytes)) is not None:
            left.discard(name)
            return decoded
    if not body_kinds.looks_coded(body) or body_kinds.has_magic(body):
        return None
    for decode in _UNMARKED.values():
        decoded = decode(body, max_bytes)
        if decoded and (_is_marked(decoded) or not body_kinds.looks_coded(decoded)):
            return decoded
    return None


def _is_marked(body: bytes) -> bool:
    return body.startswith(_GZIP) or bool(_ZSTD.match(body))


def _must(
    decode: Callable[[bytes, int], bytes | None], body: bytes, max_bytes: int
) -> bytes:
    decoded = decode(body, max_bytes)
    if decoded is None:
        raise UndecodableError
    return decoded


def _gunzip(body: bytes, max_bytes: int) -> bytes | None:
    """Undoes gzip, of one member or several; what follows the last is left out."""
    pieces, left = [], max_bytes
    while body.startswith(_GZIP):
        inflated = _inflate(body, 31, left)
        if inflated is None:
            return None
        piece, body = inflated
        left -= len(piece)
        pieces.append(piece)
    return b"".join(pieces)


def _zlib(body: bytes, max_bytes: int) -> bytes | None:
    """Undoes deflate in its own wrapping, which has a checksum."""
    if len(body) < 8 or (body[0] & 0x8F) != 8 or (body[0] << 8 | body[1]) % 31:
        return None
    inflated = _inflate(body, 15, max_bytes)
    return inflated[0] if inflated else None


def _raw_deflate(body: bytes, max_bytes: int) -> bytes | None:
    """Undoes deflate without its wrapping, as browsers do.

    It has no checksum; so nothing but a line end may follow it.
    """
    inflated = _inflate(body, -15, max_bytes)
    if inflated is None or inflated[1].strip(b"\r\n\0"):
        return None
    return inflated[0]


def _inflate(body: bytes, wbits: int, max_bytes: int) -> tuple[bytes, bytes] | None:
    """Returns what was inflated and what follows; None if it is damaged or cut."""
    inner = zlib.decompressobj(wbits)
    try:
        output = inner.decompress(body, max_bytes + 1)
    except zlib.error:
        return None
    if len(output) > max_bytes:
        raise TooLargeError
    return (output, inner.unused_data) if inner.eof else None


def _unbrotli(body: bytes, max_bytes: int) -> bytes | None:
    inner, pieces, size = brotli.Decompressor(), [], 0
    try:
        while not inner.is_finished():
            piece = inner.process(body, output_buffer_limit=_PIECE)
            if not piece and inner.can_accept_more_data():
                return None
            body = b""
            pieces.append(piece)
            size += len(piece)
            if size > max_bytes:
                raise TooLargeError
    except brotli.error:
        return None
    return b"".join(pieces)


def _unzstd(body: bytes, max_bytes: int) -> bytes | None:
    """Undoes zstd, of one frame or several."""
    pieces, left = [], max_bytes
    while _ZSTD.match(body):
        inner = zstd.ZstdDecompressor(options=_ZSTD_OPTIONS)
        try:
            piece = inner.decompress(body, left + 1)
        except zstd.ZstdError:
            return None
        left -= len(piece)
        if left < 0:
            raise TooLargeError
        if not inner.eof:
            return None
        body = inner.unused_data
        pieces.append(piece)
    return b"".join(pieces)


_ALIASES = {"x-gzip": "gzip", "zlib": "deflate", "x-deflate": "deflate", "brotli": "br"}
_UNMARKED: dict[str, Callable[[bytes, int], bytes | None]] = {
    "br": _unbrotli,
    "deflate": _raw_deflate,
}
