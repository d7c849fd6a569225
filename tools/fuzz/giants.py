"""The hostile inputs of `tools.fuzz` that are large, each made on demand."""

import bz2
import gzip
import io
import lzma
import random
from collections.abc import Callable

from tools.fuzz.pages import record, sentences

MB = 1 << 20
# What prep takes of a record.
_LARGEST = 8 * MB


def _zipped(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def _long_name() -> bytes:
    """A gzip header whose file name does not end."""
    return b"\x1f\x8b\x08\x08" + b"\0" * 6 + b"n" * (30 * MB)


def _gzip_of_zeros() -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", 9, buffer, mtime=0) as file:
        for _ in range(500):
            file.write(b"\0" * MB)
    return buffer.getvalue()


def _wet(text: str) -> bytes:
    language = {"WARC_Identified_Content_Language": "eng"}
    content = text.encode()[:_LARGEST]
    return record("conversion", content, "http://g.org/", **language)


def _html(html: str, content_type: str = "text/html") -> bytes:
    http = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n\r\n{html}"
    return record("response", http.encode()[:_LARGEST], "http://g.org/")


def _overlapping_records() -> bytes:
    """Records each of which claims the next megabytes, and lies."""
    line = b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: 1999993\r\n\r\n"
    return line * 60_000


def _overlapping_members() -> bytes:
    """Stored blocks, each of which holds the beginning of the next member."""
    head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x00\xff\xff\x00\x00WARC/1.0\r\nA: "
    return (head + b"b" * 20 + b"\n") * 60_000


GIANTS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "header_line": ("a.warc", lambda: b"WARC/1.0\r\nA: " + b"y" * (100 * MB)),
    "header_line_gz": (
        "a.warc.gz",
        lambda: _zipped(b"WARC/1.0\r\nA: " + b"y" * (100 * MB)),
    ),
    "header_fields": (
        "a.warc",
        lambda: b"WARC/1.0\r\n" + b"Content-Length: 5\r\n" * 10**6,
    ),
    "header_fields_gz": (
        "a.warc.gz",
        lambda: _zipped(b"WARC/1.0\r\n" + b"Content-Length: 5\r\n" * 10**6),
    ),
    "blank_lines": ("a.warc", lambda: b"WARC/1.0\r\n" + b"\r\n" * (10 * MB)),
    "records_of_many_types": (
        "a.warc",
        lambda: b"".join(record(f"t{i}", b"", "u") for i in range(100_000)),
    ),
    "gzip_bomb": ("a.warc.gz", _gzip_of_zeros),
    "gzip_bomb_as_text": ("a.txt.gz", _gzip_of_zeros),
    "many_bombs": ("a.warc.gz", lambda: _zipped(b"\n" * MB) * 1_000),
    "bzip2_bomb": ("a.txt.bz2", lambda: bz2.compress(b"a few words\n" * MB, 1)),
    "xz_bomb": (
        "a.jsonl.xz",
        lambda: lzma.compress(b'{"a": 1}\n' * (9 * MB), preset=0),
    ),
    "xz_of_much_memory": (
        "a.txt.xz",
        lambda: lzma.compress(
            b"word " * MB,
            filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}],
        ),
    ),
    "long_file_name": ("a.warc.gz", _long_name),
    "long_file_name_of_text": ("a.txt.gz", _long_name),
    "magic_everywhere": ("a.warc.gz", lambda: b"\x1f\x8b\x08" * MB),
    "members_without_text": ("a.warc.gz", lambda: _zipped(b"") * 500_000),
    "members_of_a_byte": ("a.warc.gz", lambda: _zipped(b"W") * 300_000),
    "overlapping_records": ("a.warc", _overlapping_records),
    "overlapping_members": ("a.warc.gz", _overlapping_members),
    "zeros_behind_a_page": (
        "a.warc.gz",
        lambda: _zipped(_wet("x")) + b"\0" * (40 * MB),
    ),
    "text_of_wide_characters": ("a.warc.wet", lambda: _wet("\U0001f600 " * 12 * MB)),
    "text_of_short_words": ("a.warc.wet", lambda: _wet("ab cd " * 10 * MB)),
    "text_of_other_words": (
        "a.warc.wet",
        lambda: _wet(" ".join(f"{i:x}" for i in range(9_000_000))),
    ),
    "text_of_one_word": ("a.warc.wet", lambda: _wet("x" * 60 * MB)),
    "text_of_line_ends": ("a.warc.wet", lambda: _wet("ab.\n" * 15 * MB)),
    "text_of_brackets": ("a.warc.wet", lambda: _wet("[" * 4 * MB + "1" * 4 * MB)),
    "text_of_marks": ("a.warc.wet", lambda: _wet(".!?\"'" * 1_500_000)),
    "text_of_addresses": ("a.warc.wet", lambda: _wet("a@a.1.2.+(" * 700_000)),
    "good_text": ("a.warc.wet", lambda: _wet(sentences(random.Random(1), 70_000))),
    "json_of_lists": ("a.jsonl", lambda: b"[" + b"[]," * 2_700_000 + b"[]]"),
    "json_of_objects": ("a.jsonl", lambda: b"[" + b"{}," * (2 * MB) + b"{}]"),
    "json_of_depth": ("a.jsonl", lambda: b'{"a":[' * MB),
    "json_of_digits": ("a.jsonl", lambda: b"9" * (7 * MB)),
    "lines_that_are_blank": ("a.txt", lambda: b"\n" * (8 * MB)),
    "line_without_end": ("a.txt", lambda: b"x" * (100 * MB)),
    "html_nested": ("a.warc", lambda: _html("<div>" * 400_000)),
    "html_nested_links": (
        "a.warc",
        lambda: _html("<a><div>" * 200_000 + "</a>" * 9_000),
    ),
    "html_fonts": (
        "a.warc",
        lambda: _html("".join(f"<font a={i}>" for i in range(300_000))),
    ),
    "html_attributes": (
        "a.warc",
        lambda: _html("<p " + " ".join(f"a{i}=1" for i in range(400_000)) + ">x"),
    ),
    "html_tables": ("a.warc", lambda: _html("<table><tr><td>" * 400_000)),
    "html_lists": ("a.warc", lambda: _html("<li><div>" * 400_000)),
    "html_punycode": (
        "a.warc",
        lambda: _html(
            "a" * 200_000 + "-" + "9" * 90_000, "text/html; charset=punycode"
        ),
    ),
}
