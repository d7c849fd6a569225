"""The text of a WARC response: HTTP decoded, HTML read, nothing else kept.

FastWARC decodes HTTP (chunks, compression), Resiliparse reads HTML: 10 MB a
second and core, twenty times faster than trafilatura (measured 2026-11).
"""

import io
from typing import NamedTuple

from fastwarc import warc
from resiliparse.extract import html2text
from resiliparse.parse import encoding

from data_prep import archives

_HEADER = (
    b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http; "
    b"msgtype=response\r\nContent-Length: %d\r\n\r\n"
)
_HTML_TYPES = ("text/html", "application/xhtml+xml")


class Extracted(NamedTuple):
    """The text, or why there is none.

    Attributes:
        text: Empty if `reason` is not.
        reason: A drop reason, or None.
    """

    text: str
    reason: str | None


def extract_text(record: archives.Record, *, main_content: bool) -> Extracted:
    """Returns the text of a `response` record.

    Args:
        record: A complete record.
        main_content: Whether to leave out navigation, footers and the like.
    """
    try:
        return _extract_text(record, main_content)
    # Whatever the libraries make of hostile input costs one record, never the run.
    except Exception:
        return Extracted("", "unreadable_page")


def _extract_text(record: archives.Record, main_content: bool) -> Extracted:
    if not record.body.startswith(b"HTTP/"):
        return Extracted("", "not_http")
    # A header of our own: the record's may lack what FastWARC goes by.
    header = _HEADER % len(record.body)
    stream = io.BytesIO(header + record.body + b"\r\n\r\n")
    for response in warc.ArchiveIterator(stream, parse_http=True):
        if response.http_headers.status_code != 200:
            return Extracted("", "not_status_200")
        kind = (response.http_content_type or "").lower()
        if kind not in (*_HTML_TYPES, "text/plain"):
            return Extracted("", "not_html")
        content = response.reader.read()
        charset = response.http_charset or encoding.detect_encoding(
            content, from_html_meta=True
        )
        text = encoding.bytes_to_str(content, charset or "utf-8")
        if kind in _HTML_TYPES:
            text = html2text.extract_plain_text(text, main_content=main_content)
        return Extracted(text, None)
    return Extracted("", "unreadable_page")
