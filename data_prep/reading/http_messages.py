"""HTTP responses as crawlers have kept them: the status, the fields, the body.

Lenient where browsers are: lines may end in LF alone, fields may be folded, there
may be interim responses before the real one, and a Content-Type may be missing,
doubled or quoted. FastWARC 2.0.1 finds no fields in such headers.
"""

import functools
import re
from typing import NamedTuple

_STATUS = re.compile(rb"HTTP/\d+(?:\.\d+)?[ \t]+(\d{3})(?!\d)")
_END = re.compile(rb"\n\r{0,2}\n")
_FOLD = re.compile(rb"\r{0,2}\n[ \t]+")
_CHUNK = re.compile(rb"[ \t]*([0-9a-fA-F]{1,8})[ \t]*(?:;[^\n]*)?\r{0,2}\n")
_CHUNK_END = re.compile(rb"\r{0,2}\n")
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_TYPE = re.compile(rf"""[\s"']*({_TOKEN}/{_TOKEN})(?=[\s"';,(]|$)""")
_VALUES = re.compile(r'(?:[^",]|"[^"]*"?)+')
_CHARSET = re.compile(
    r"""[;\s]charset=\s*(?:"([^"]*)"|'([^']*)'|([^\s;,"']+))""", re.IGNORECASE
)
# What servers say that do not know.
_UNKNOWN = frozenset({"unknown/unknown", "application/unknown", "*/*"})
_MAX_TYPE = 1000


class MediaType(NamedTuple):
    """What a Content-Type says; both are empty if it says nothing.

    Attributes:
        name: Such as `text/html`, in lower case.
        charset: Label of an encoding, as it stands there.
    """

    name: str
    charset: str


class Response(NamedTuple):
    """A response that is no interim one.

    Attributes:
        status: Its code.
        fields: Values by lower-case name, in order.
        body: As it stands behind the header, whatever codings it has.
    """

    status: int
    fields: dict[str, list[str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Returns the members of a field that is a list, in lower case."""
        joined = ",".join(self.fields.get(name, ()))
        return [value.strip().lower() for value in joined.split(",") if value.strip()]


def parse(message: bytes) -> Response | None:
    """Returns the response that a message holds; None if it holds no whole header."""
    start = 0
    while True:
        while message[start : start + 1] in (b"\r", b"\n"):
            start += 1
        status = _STATUS.match(message, start)
        end = _END.search(message, start)
        if status is None or end is None:
            return None
        code = int(status[1])
        if not 100 <= code < 200:
            fields = _fields(message[status.end() : end.start()])
            return Response(code, fields, message[end.end() :])
        start = end.end()


def media_type(values: list[str]) -> MediaType:
    """Returns what one or several Content-Types say together.

    The last one that can be read counts, with the charset of one before it that
    names the same type (Fetch Standard, "extract a MIME type").
    """
    return _media_type(",".join(values)[:_MAX_TYPE])


def without_chunks(body: bytes, *, is_declared: bool) -> bytes | None:
    """Returns a body out of its chunks; as it is, if it has none.

    Args:
        body: What stands behind the header.
        is_declared: Whether the header says that there are chunks. What looks like
            chunks without that must be so up to its end.

    Returns:
        None if it begins with chunks and breaks off inside one.
    """
    pieces: list[bytes] = []
    start = 0
    while match := _CHUNK.match(body, start):
        size = int(match[1], 16)
        stop = match.end() + size
        if size == 0 and (is_declared or _is_end(pieces, body[match.end() :])):
            return b"".join(pieces)
        if size == 0 or stop > len(body):
            break
        pieces.append(body[match.end() : stop])
        end = _CHUNK_END.match(body, stop)
        start = end.end() if end else stop
        if start == len(body) and is_declared:
            # The last one, which is empty, may be missing.
            return b"".join(pieces)
        if end is None:
            break
    if is_declared and (pieces or match):
        return None
    return body


def _is_end(pieces: list[bytes], rest: bytes) -> bool:
    return bool(pieces) and not rest.strip()


def _fields(header: bytes) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    text = _FOLD.sub(b" ", header).decode("utf-8", "replace")
    for line in text.split("\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), []).append(value.strip())
    return fields


@functools.lru_cache(maxsize=1024)
def _media_type(text: str) -> MediaType:
    name = charset = ""
    for value in _VALUES.findall(text):
        match = _TYPE.match(value)
        if match is None or match[1].lower() in _UNKNOWN:
            continue
        labelled = _CHARSET.search(value, match.end())
        label = ""
        if labelled:
            label = (labelled[1] or labelled[2] or labelled[3] or "").strip()
        if match[1].lower() != name:
            name, charset = match[1].lower(), label
        elif label:
            charset = label
    return MediaType(name, charset)
