"""What a file is: by its content first, by its name where the content leaves it open.

Crawl files come with many endings, and caches name files for their digests; only
`READERS` and `NOTES` in `readers` say what becomes of a kind.
"""

import json
import pathlib
import re

from data_prep.reading import body_kinds, compressed, text_lines

_HEAD_BYTES = 64 << 10
# Enough to tell JSON Lines from a text that begins with an example of them.
_MAX_LINES = 200
_JSON_ENDINGS = {".jsonl", ".ndjson", ".ldjson", ".jl", ".jsonlines", ".json"}
_PACKED_ENDINGS = {".gz", ".bz2", ".xz", ".zst", ".zstd"}
# A byte order mark and white space may come before a value.
_OBJECT = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*(?:"|\})')
_ARRAY_OF_OBJECTS = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[\s*\{\s*\"")
_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?\s*\[")
# Where an object that is written over several lines has its first line end.
_OPEN_LINE = re.compile(rb"[{\[,]\s*\Z")
_CONTROLS = bytes({*range(0x09), *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F})
# Text has hardly any, compressed or numeric data one in ten.
_MAX_CONTROLS = 0.03
_SIGNATURES = (
    (b"PAR1", "parquet"),
    (b"filedesc:", "arc"),
    (b"%PDF-", "document"),
    (b"{\\rtf", "document"),
    (b"%!PS", "document"),
    (b"PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "zip"),
    (b"Rar!\x1a\x07", "zip"),
)


def kind_of(path: pathlib.Path) -> str:
    """Returns the kind of a file, a name in `readers.READERS` or `readers.NOTES`."""
    with open(path, "rb") as file:
        magic = file.read(compressed.MAGIC_BYTES)
    if not magic:
        return "empty"
    head, is_whole = compressed.read_head(path, _HEAD_BYTES)
    is_packed = compressed.is_compressed(magic)
    if head.startswith(b"WARC/") and is_packed and magic[:1] != b"\x1f":
        return "packed_archive"
    if is_packed and compressed.is_compressed(head):
        return "nested"
    # The reader of archives finds what is left of a damaged one.
    if head.startswith(b"WARC/") or ".warc" in path.name.lower():
        return "warc"
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return "packed_parquet" if is_packed and kind == "parquet" else kind
    if head[257:262] == b"ustar":
        return "tar"
    if codec := text_lines.wide_encoding(head):
        head = head.decode(codec, "replace").encode()
    if body_kinds.has_magic(head) or _is_binary(head):
        return "binary"
    return _text_kind(head, is_whole, _has_json_name(path))


def _is_binary(head: bytes) -> bool:
    num_controls = len(head) - len(head.translate(None, _CONTROLS))
    return num_controls > _MAX_CONTROLS * len(head)


def _has_json_name(path: pathlib.Path) -> bool:
    endings = [ending.lower() for ending in path.suffixes]
    while endings and endings[-1] in _PACKED_ENDINGS:
        endings.pop()
    return bool(endings) and endings[-1] in _JSON_ENDINGS


def _text_kind(head: bytes, is_whole: bool, is_named: bool) -> str:
    """Returns `jsonl`, `json` (an array, or objects of several lines) or `text`."""
    lines = head.split(b"\n")
    if not is_whole and len(lines) > 1:
        lines.pop()
    lines = [line for line in lines if line.strip()][:_MAX_LINES]
    if not lines:
        return "jsonl" if is_named else "text"
    if _ARRAY_OF_OBJECTS.match(head):
        return "json"
    is_value = _is_value(lines[0])
    if _OBJECT.match(head):
        if is_value and all(map(_is_object, lines)):
            return "jsonl"
        if len(lines) == 1 and not is_whole and not is_value:
            return "jsonl"  # One line that is longer than what was looked at.
        if not is_value and _OPEN_LINE.search(lines[0]):
            return "json" if is_named else "text"
    elif is_named and _ARRAY.match(head) and not (is_value and len(lines) > 1):
        return "json"
    return "jsonl" if is_named else "text"


def _is_object(line: bytes) -> bool:
    return bool(_OBJECT.match(line)) and _is_value(line)


def _is_value(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
