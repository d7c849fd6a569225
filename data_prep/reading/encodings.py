"""Which encoding a text is in, by the rules that browsers follow.

A byte order mark decides, then the label that came with the text, then what a page
says in its own `<meta>`, and at last a look at the bytes. A label that the Encoding
Standard does not know counts as none; one that it knows is trusted, so that a bad
byte costs one character and never changes how the others are read.
"""

import re
from typing import NamedTuple

from resiliparse.parse import encoding as resiliparse_encoding

from data_prep.reading import browser_codecs

UTF_8 = "utf-8"
# What browsers read a page in that says nothing and looks like nothing.
FALLBACK = "windows-1252"
_MARKS = (
    (b"\xef\xbb\xbf", UTF_8),
    (b"\xfe\xff", "utf-16be"),
    (b"\xff\xfe", "utf-16le"),
)
_MARK_BYTES = tuple(mark for mark, _ in _MARKS)
# Browsers look for a <meta> at least so far, and as long as the head goes on.
_ALWAYS_SCANNED = 1024
_SCANNED = 64 << 10
_ATTRIBUTE = re.compile(
    rb"""[\s/]*([^\s/>=][^\s/>=]*)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"'][^\s>]*)))?"""
)
_TAG = re.compile(
    rb"<!--(?:>|->|.*?-->|.*)"
    rb"|<(?:script|style|title)(?=[\s/>])(?:.*?</(?:script|style|title)|.*)"
    rb"|<(meta)[\s/]"
    rb"|<([a-z][^\s/>]*)"
    rb"|<[/!?][^>]*",
    re.DOTALL | re.IGNORECASE,
)
_CHARSET = re.compile(
    rb"""charset\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s;"']+))""", re.IGNORECASE
)
_XML = re.compile(
    rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([^"'\s]*)["']""", re.IGNORECASE
)
_XML_OF_UTF_16 = ((b"<\0?\0x\0", "utf-16le"), (b"\0<\0?\0x", "utf-16be"))
_HEAD_TAGS = frozenset(
    b"html head meta link base script style title noscript object template".split()
)
# ISO-2022-JP looks like ASCII but for these.
_ESCAPES = re.compile(rb"\x1b(?:\$[@B]|\([IJ])")
# Names of uchardet that are no labels of the standard, or not what is meant: the
# Ukrainian alphabet holds the Russian one, and the last four are rare.
_DETECTED = {
    "cp949": "euc-kr",
    "euc_jp": "euc-jp",
    "iso2022_jp": "iso-2022-jp",
    "koi8-r": "koi8-u",
    **dict.fromkeys(("iso8859-3", "iso8859-10", "iso8859-14", "iso8859-16"), FALLBACK),
}
# Encodings of Latin letters, which few bytes cannot tell apart.
_LATIN = frozenset(
    [
        "iso-8859-2",
        "iso-8859-4",
        "iso-8859-13",
        "iso-8859-15",
        "windows-1250",
        "windows-1254",
        "windows-1257",
        "windows-1258",
        "macintosh",
    ]
)
_TELLING_BYTES = 4
_BEYOND_ASCII = bytes(range(128, 256))
_DETECTED_FROM = 256 << 10
# UTF-8 has so many characters beyond ASCII for each bad byte; in other encodings, of
# three characters one at most happens to be UTF-8.
_UTF_8_PER_ERROR = 2


class Encoding(NamedTuple):
    """How to read some bytes.

    Attributes:
        name: By the Encoding Standard.
        mark_bytes: How long the byte order mark is.
    """

    name: str
    mark_bytes: int = 0

    def decode(self, content: bytes) -> str:
        """Returns the text of bytes that begin with the mark, if there is one."""
        return browser_codecs.decode(content[self.mark_bytes :], self.name)


def find(content: bytes, label: str = "", *, is_html: bool) -> Encoding:
    """Returns the encoding of a text.

    Args:
        content: Its bytes.
        label: Of the encoding, as a header names it; may be empty or wrong.
        is_html: Whether the text may name its encoding itself.
    """
    if marked := of_mark(content):
        return marked
    if name := browser_codecs.lookup(label):
        return Encoding(name)
    if content.isascii() and not has_escapes(content):
        if is_html and b"\0" in content[:8]:
            return Encoding(_of_xml(content) or UTF_8)
        return Encoding(UTF_8)
    if is_html and (name := _declared(content)):
        return Encoding(name)
    return Encoding(detect(content))


def has_mark(content: bytes) -> bool:
    """Returns whether a text begins with a byte order mark."""
    return content.startswith(_MARK_BYTES)


def of_mark(content: bytes) -> Encoding | None:
    """Returns the encoding that a byte order mark stands for."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return Encoding(name, len(mark))
    return None


def has_escapes(content: bytes) -> bool:
    """Returns whether ASCII may be ISO-2022-JP, which switches by escapes."""
    return bool(_ESCAPES.search(content))


def detect(content: bytes) -> str:
    """Returns the name of the encoding that bytes look like."""
    if not has_escapes(content) and _is_utf_8(content):
        return UTF_8
    detector = resiliparse_encoding.EncodingDetector()
    detector.update(content[:_DETECTED_FROM])
    found = (detector.encoding(html5_compatible=False) or "").lower()
    name = browser_codecs.lookup(_DETECTED.get(found, found))
    if name is None or name == UTF_8 or not browser_codecs.has_decoder(name):
        return FALLBACK
    if name in _LATIN and _beyond_ascii(content) < _TELLING_BYTES:
        return FALLBACK
    return name


def _beyond_ascii(content: bytes) -> int:
    """Returns how many bytes are no ASCII."""
    return len(content) - len(content.translate(None, _BEYOND_ASCII))


def _is_utf_8(content: bytes) -> bool:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        if error.start >= len(content) - 3 and error.reason.startswith("unexpected"):
            # A page that was cut inside a character.
            return error.start > 0 and not content[: error.start].isascii()
        text = content.decode("utf-8", "replace")
        errors = text.count("\ufffd")
        characters = sum(not c.isascii() for c in text) - errors
        return characters > _UTF_8_PER_ERROR * errors
    return bool(text) or not content


def _declared(content: bytes) -> str | None:
    """Returns the encoding that a page names itself, as browsers take it."""
    name = _of_meta(content) or _of_xml(content)
    # Whoever could read the name was not reading UTF-16.
    if name in ("utf-16le", "utf-16be"):
        return UTF_8
    return FALLBACK if name == "x-user-defined" else name


def _of_xml(content: bytes) -> str | None:
    for start, name in _XML_OF_UTF_16:
        if content.startswith(start):
            return name
    match = _XML.match(content[:_ALWAYS_SCANNED])
    return browser_codecs.lookup(match[1].decode("latin-1")) if match else None


def _of_meta(content: bytes) -> str | None:
    head, place = content[:_SCANNED], 0
    while match := _TAG.search(head, place):
        tag = match[2].lower() if match[2] else b""
        if match.start() >= _ALWAYS_SCANNED and tag and tag not in _HEAD_TAGS:
            return None
        place = match.end()
        if not (match[1] or tag):
            continue
        attributes: dict[bytes, bytes] = {}
        while attribute := _ATTRIBUTE.match(head, place):
            value = attribute[2] or attribute[3] or attribute[4] or b""
            attributes.setdefault(attribute[1].lower(), value)
            place = attribute.end()
        if match[1] and (name := _of_attributes(attributes)):
            return name
    return None


def _of_attributes(attributes: dict[bytes, bytes]) -> str | None:
    """Returns the encoding that the attributes of a <meta> name."""
    label = attributes.get(b"charset")
    if label is None:
        if attributes.get(b"http-equiv", b"").strip().lower() != b"content-type":
            return None
        match = _CHARSET.search(attributes.get(b"content", b""))
        label = (match[1] or match[2] or match[3] or b"") if match else b""
    return browser_codecs.lookup(label.decode("latin-1"))
