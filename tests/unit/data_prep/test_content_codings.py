"""A body loses the codings that it has, and no others, whatever its header says."""

import gzip
import zlib

import brotli
import pytest
from backports import zstd

from data_prep.reading import content_codings, html_pages

PAGE = b"<html><body><p>First words of a page.</p><p>Last words.</p></body></html>"
LIMIT = 1 << 20


def raw_deflate(content):
    made = zlib.compressobj(9, zlib.DEFLATED, -15)
    return made.compress(content) + made.flush()


def in_chunks(content, size=20, extension=b"", end=b"\r\n"):
    pieces = [content[i : i + size] for i in range(0, len(content), size)]
    chunks = [b"%x%b%b%b%b" % (len(p), extension, end, p, end) for p in pieces]
    return b"".join(chunks) + b"0" + end + end


CODED = {
    "gzip": gzip.compress(PAGE, mtime=0),
    "gzip of two members": b"".join(
        gzip.compress(part, mtime=0) for part in (PAGE[:30], PAGE[30:])
    ),
    "gzip and a line end": gzip.compress(PAGE, mtime=0) + b"\r\n",
    "gzip and padding": gzip.compress(PAGE, mtime=0) + bytes(50),
    "deflate": zlib.compress(PAGE),
    "raw deflate": raw_deflate(PAGE),
    "raw deflate and a line end": raw_deflate(PAGE) + b"\r\n",
    "br": brotli.compress(PAGE * 9),
    "zstd": zstd.compress(PAGE),
    "zstd of two frames": zstd.compress(PAGE[:30]) + zstd.compress(PAGE[30:]),
    "none": PAGE,
    "gzip twice": gzip.compress(gzip.compress(PAGE, mtime=0), mtime=0),
    "br of gzip": brotli.compress(gzip.compress(PAGE, mtime=0)),
    "deflate of zstd": zlib.compress(zstd.compress(PAGE)),
}
DECLARED = (
    *((), ("gzip",), ("x-gzip",), ("deflate",), ("br",), ("zstd",)),
    *(("gzip", "br"), ("gzip", "gzip"), ("identity",), ("utf-8",)),
)


@pytest.mark.parametrize("declared", DECLARED, ids=" ".join)
@pytest.mark.parametrize("coding", CODED)
def test_any_coding_under_any_header_comes_out(coding, declared):
    decoded = content_codings.undo(CODED[coding], declared, LIMIT)

    assert decoded.replace(PAGE, b"") == b""
    assert decoded


@pytest.mark.parametrize(
    "text",
    [
        b"plain words",
        b"",
        b"x\x9c is how deflate begins",
        "Größe".encode(),
        "Größe".encode("utf-16"),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"(\xb5 words",
        b"%PDF-1.4 \0\1\2\3",
    ],
)
@pytest.mark.parametrize("declared", DECLARED, ids=" ".join)
def test_what_has_no_coding_stays_as_it_is(text, declared):
    assert content_codings.undo(text, declared, LIMIT) == text


@pytest.mark.parametrize(
    ("body", "declared"),
    [
        (CODED["gzip"][:-12], ["gzip"]),
        (CODED["gzip"][:-12], []),
        (CODED["zstd"][:-3], ["zstd"]),
        (gzip.compress(bytes(range(256)) * 90, 0, mtime=0)[:99], []),
        # What no one here can undo, and is no text.
        (bytes(range(256)) * 4, ["compress"]),
    ],
)
def test_coding_that_breaks_off_or_is_not_known_is_said(body, declared):
    with pytest.raises(content_codings.UndecodableError):
        content_codings.undo(body, declared, LIMIT)


@pytest.mark.parametrize(
    "compress",
    [
        lambda b: gzip.compress(b, mtime=0),
        zlib.compress,
        raw_deflate,
        brotli.compress,
        zstd.compress,
    ],
)
def test_bomb_is_too_large_and_never_in_memory(compress):
    body = compress(bytes(50 << 20))

    with pytest.raises(content_codings.TooLargeError):
        content_codings.undo(body, ["br", "deflate"], LIMIT)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (in_chunks(PAGE), "Transfer-Encoding: chunked"),
        (in_chunks(PAGE, extension=b";a=b"), "Transfer-Encoding: chunked"),
        (in_chunks(PAGE, extension=b"  "), "Transfer-Encoding: chunked"),
        (in_chunks(PAGE, end=b"\n"), "Transfer-Encoding: chunked"),
        (in_chunks(PAGE)[:-5], "Transfer-Encoding: chunked"),
        (in_chunks(PAGE)[:-2] + b"Trailer: x\r\n\r\n", "Transfer-Encoding: Chunked"),
        (in_chunks(PAGE), "X: not declared"),
        (PAGE, "Transfer-Encoding: chunked"),
        (in_chunks(CODED["gzip"]), "Transfer-Encoding: gzip, chunked"),
        (
            in_chunks(CODED["gzip"]),
            "Transfer-Encoding: chunked\r\nContent-Encoding: gzip",
        ),
        # Stored without its chunks and still gzipped, and the other way round.
        (CODED["gzip"], "Transfer-Encoding: chunked\r\nContent-Encoding: gzip"),
        (in_chunks(PAGE), "Transfer-Encoding: chunked\r\nContent-Encoding: gzip"),
    ],
)
def test_chunks_are_taken_out_if_the_body_has_them(body, fields):
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{fields}\r\n\r\n"

    text, reason = html_pages.extract_text(
        head.encode() + body,
        "",
        is_http=True,
        main_content=False,
        max_bytes=LIMIT,
    )

    assert reason is None
    assert text.split() == ["First", "words", "of", "a", "page.", "Last", "words."]


@pytest.mark.parametrize(
    "text", [b"0\nwords", b"3\nabc", b"a\r\n0123456789", b"cafe\n"]
)
def test_text_that_begins_like_a_chunk_stays_whole(text):
    found, reason = html_pages.extract_text(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + text,
        "",
        is_http=True,
        main_content=False,
        max_bytes=LIMIT,
    )

    assert (found.encode(), reason) == (text, None)
