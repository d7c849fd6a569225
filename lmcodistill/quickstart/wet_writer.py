"""Writes WET records as Common Crawl does: one gzip member per record.

For corpora that are made, not crawled. No clock and no random number: the same
texts always give the same bytes.
"""

import base64
import gzip
import hashlib
import uuid

# Made text has no time of its own.
DATE = "2018-04-09T00:00:00Z"


def info_record(file_name: str, fields: str) -> bytes:
    """Returns the record that a WET file begins with.

    Args:
        file_name: Of the WET file.
        fields: Lines `name: value`, each ended by CR LF.
    """
    headers = {
        "WARC-Type": "warcinfo",
        "WARC-Date": DATE,
        "WARC-Filename": file_name,
        "WARC-Record-ID": _record_id(file_name),
        "Content-Type": "application/warc-fields",
    }
    return _record(headers, fields.encode())


def text_record(url: str, body: bytes, language: str = "eng") -> bytes:
    """Returns the record of one page's text.

    Args:
        url: Where it would be found.
        body: Its text, UTF-8.
        language: ISO 639-3.
    """
    digest = base64.b32encode(hashlib.sha1(body).digest()).decode()
    headers = {
        "WARC-Type": "conversion",
        "WARC-Target-URI": url,
        "WARC-Date": DATE,
        "WARC-Record-ID": _record_id(url),
        "WARC-Block-Digest": f"sha1:{digest}",
        "WARC-Identified-Content-Language": language,
        "Content-Type": "text/plain",
    }
    return _record(headers, body)


def _record(headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(["WARC/1.0", *lines, f"Content-Length: {len(body)}", "", ""])
    return gzip.compress(head.encode() + body + b"\r\n\r\n", mtime=0)


def _record_id(name: str) -> str:
    return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}>"
