"""What a body is by its own bytes, for labels lie.

The marks are those of the MIME Sniffing Standard, and of the office files, programs
and fonts that it leaves out.
"""

import re
from typing import Literal

Kind = Literal["html", "text", "xml", "binary"]

_SNIFFED = 1445
_MAGIC = re.compile(
    rb"""
      \x89PNG | GIF8[79]a | \xff\xd8\xff | BM.{4}\0{4} | \0\0[\x01\x02]\0
    | RIFF.{4}(?:WEBP|WAVE|AVI\ |ACON) | II\*\0 | MM\0\* | 8BPS\0 | \xff\x0a
    | \0\0\0\x0cj[Px] | \0\0\0.ftyp | OggS\0 | ID3[\x02-\x04] | fLaC\0
    | \x1a\x45\xdf\xa3 | MThd\0\0 | FLV\x01 | \0\0\x01[\xb3\xba] | \xff[\xfb\xf3\xf2]
    | \.snd\0 | FORM.{4}AIF | AT&TFORM
    | [\s\xef\xbb\xbf]*(?:%PDF- | %!PS | \{\\rtf) | \xd0\xcf\x11\xe0
    | PK(?:\x03\x04|\x05\x06|\x07\x08) | Rar!\x1a\x07 | 7z\xbc\xaf | MSCF\0 | !<arch>\n
    | BZh[1-9](?:1AY&SY|\x17rE8P\x90) | \xfd7zXZ\0 | \x1f[\x8b\x9d\xa0]
    | \x28\xb5\x2f\xfd | \x7fELF | MZ[^\n]{,2}\0 | \xca\xfe\xba\xbe | \xcf\xfa\xed\xfe
    | \xce\xfa\xed\xfe | \0asm | [CFZ]WS[\x01-\x40] | wOF[F2] | OTTO\0 | \0\x01\0\0
    | ttcf\0 | SQLite\ format\ 3\0
    """,
    re.VERBOSE | re.DOTALL,
)
_TAR = slice(257, 262)
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?[\t\n\f\r ]*<(?:!doctype\s+html|!--|html|head|script|iframe|h1"
    rb"|div|font|table|a|style|title|b|body|br|p|meta|link|center|form|frameset)"
    rb"[\s>/-]",
    re.IGNORECASE,
)
_XML = re.compile(rb"(?:\xef\xbb\xbf)?[\t\n\f\r ]*<\?xml", re.IGNORECASE)
_XHTML = re.compile(rb"<(?:!doctype\s+)?html[\s>]", re.IGNORECASE)
# What no text has: white space and escape, which old Japanese pages use, are not here.
_CONTROLS = bytes([*range(9), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F])
_JUDGED = 16 << 10
_CODED = 4 << 10
# Of a text: so many characters in a hundred may be controls, or have been no text in
# the encoding that was declared.
_MAX_CONTROLS = 5
_MAX_REPLACED = 25
_REPLACED = "\ufffd".encode()


def has_magic(body: bytes) -> bool:
    """Returns whether a body begins as files do that are no text."""
    return bool(_MAGIC.match(body)) or body[_TAR] == b"ustar"


def of_bytes(body: bytes) -> Kind:
    """Returns what a body is that comes without a label."""
    head = body[:_SNIFFED]
    if has_magic(body):
        return "binary"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        # UTF-16: ASCII, once the zeros are gone.
        head = head[2:].replace(b"\0", b"")
    if _HTML.match(head):
        return "html"
    if _XML.match(head):
        return "html" if _XHTML.search(head) else "xml"
    return "binary" if len(head.translate(None, _CONTROLS)) < len(head) else "text"


def looks_coded(body: bytes) -> bool:
    """Returns whether a body without a mark of its own is no text as it stands."""
    head = body[:_CODED]
    if not _has_controls(head, len(head)):
        return False
    # UTF-16 has a zero beside each letter.
    halves = head[::2], head[1::2]
    zeros = [2 * half.count(0) > len(half) for half in halves]
    if zeros[0] == zeros[1]:
        return True
    narrow = halves[zeros[0]]
    return _has_controls(narrow, len(narrow))


def reason_against(text: str) -> str | None:
    """Returns why decoded bytes are no text after all, or None."""
    judged = text[:_JUDGED]
    return reason_against_utf_8(judged.encode("utf-8", "replace"), len(judged))


def reason_against_utf_8(content: bytes, characters: int = 0) -> str | None:
    """Returns why UTF-8 is no text after all, or None.

    Args:
        content: The bytes.
        characters: How many characters they are; by default that of bytes.
    """
    judged = content if characters else content[:_JUDGED]
    characters = characters or len(judged)
    if _has_controls(judged, characters):
        return "binary"
    # Most text has none, and a single byte is found ten times as fast as three.
    may_have_replaced = _REPLACED[:1] in judged
    if may_have_replaced and (
        100 * judged.count(_REPLACED) > _MAX_REPLACED * characters
    ):
        return "wrong_encoding"
    return None


def _has_controls(content: bytes, characters: int) -> bool:
    """Returns whether there are more than text has.

    A few stand in many pages; of what is no text one character in ten is one.
    """
    controls = len(content) - len(content.translate(None, _CONTROLS))
    return 100 * controls > _MAX_CONTROLS * characters
