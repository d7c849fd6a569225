"""Records of WARC and WET files, complete ones only, damage or not.

Our own reader, because FastWARC 2.0.1 and warcio 1.8.1 both end without an
error on a cut file and FastWARC hands out the cut record (measured 2026-11).
Here a record counts only if its body is as long as its header says and the
compressed data around it is whole. Behind damage, reading goes on at the next
gzip member or the next `WARC/` line. A file cut exactly between two members
looks whole; only the downloader knows its length.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from data_prep import counts as counts_lib
from data_prep import progress
from data_prep.reading import archive_bytes

# Other names are made up, and would fill the report.
_KINDS = {
    *("warcinfo", "response", "resource", "request", "metadata", "revisit"),
    *("conversion", "continuation"),
}
_FOLD = re.compile(r"\r?\n[ \t]+(?=\S)")
# Records that stand for a page and hold no whole one: why they are left out.
_PARTIAL = {
    "revisit": "revisit",
    "continuation": "segmented",
    "other": "unknown_record_type",
}


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


def read_records(
    path: pathlib.Path,
    counts: counts_lib.Counts,
    *,
    max_record_bytes: int,
    kinds: frozenset[str],
    advance: progress.Advance,
) -> Iterator[Record]:
    """Yields the complete records of some kinds.

    Args:
        path: A WARC or WET file, gzipped or not.
        counts: Counts records per type, damage and truncation, and drops those that
            stand for a page and hold none.
        max_record_bytes: Records with a longer body are dropped unread.
        kinds: Values of `WARC-Type` to yield; others are only counted.
        advance: Called with the bytes of the file read since the last call.
    """
    with open(path, "rb") as file:
        stream = archive_bytes.open_bytes(file)
        number, advanced = 0, 0
        while True:
            try:
                if not stream.begin_record():
                    break
                record = _read_record(stream, counts, max_record_bytes, kinds, number)
            except archive_bytes.DamageError as damage:
                # A length that reaches beyond the end is no cut file if other
                # records follow.
                is_found = stream.find_next_record()
                if is_found or not damage.at_end:
                    counts.damaged += 1
                else:
                    counts.truncated = True
                if not is_found:
                    break
                continue
            number += 1
            if record is not None:
                yield record
            position = stream.position
            if position - advanced >= archive_bytes.CHUNK_BYTES:
                advance(position - advanced)
                advanced = position
        advance(max(0, path.stat().st_size - advanced))


def _read_record(
    stream: archive_bytes.PlainBytes,
    counts: counts_lib.Counts,
    max_record_bytes: int,
    kinds: frozenset[str],
    number: int,
) -> Record | None:
    """Reads the record that begins here; returns it if it is of `kinds`."""
    headers = _fields(stream.header())
    length = headers.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 20):
        raise archive_bytes.DamageError
    kind = headers.get("warc-type", "").lower()
    is_small = int(length) <= max_record_bytes
    body = b""
    if kind in kinds and is_small:
        body = stream.read(int(length))
    else:
        stream.skip(int(length))
    stream.end_body()
    name = kind if kind in _KINDS else "other"
    counts.records[name] += 1
    if name in _PARTIAL:
        counts.drop(_PARTIAL[name])
    if kind not in kinds:
        return None
    if not is_small:
        counts.drop("record_too_large")
        return None
    return Record(headers, body, number)


def _fields(header: bytes) -> dict[str, str]:
    """Returns header fields; of two of one name, the first.

    A line that begins with white space goes on with the field before it.
    """
    fields: dict[str, str] = {}
    text = header.decode("utf-8", "replace")
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    for line in reversed(text.split("\n")):
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    return fields
