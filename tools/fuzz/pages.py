"""Records for `tools.fuzz`, from a grammar: whole ones, hostile ones, broken ones."""

import gzip
import random
import re
import zlib
from collections.abc import Callable
from typing import NamedTuple

Random = random.Random

_PEOPLE = ("owner", "friend", "doctor", "captain", "sister", "teacher", "singer")
_VERSIONS = ("WARC/1.0", "WARC/1.1", "WARC/0.17", "WARC/1.0 ", "WARC/9.9")
_LENGTHS = (
    "-5",
    "+50",
    "1e3",
    "0x40",
    "",
    " ",
    "nine",
    "12,13",
    "9" * 19,
    "9" * 30,
    str(2**31),
    str(2**63),
    "0",
    "1",
    "\u0663\u0664",
    "\u00b2",
    "0" * 18 + "9",
)
_CHARSETS = (
    "utf-8",
    "iso-8859-1",
    "utf-16",
    "utf-16-le",
    "utf-32",
    "shift_jis",
    "gb18030",
    "big5",
    "utf-7",
    "punycode",
    "idna",
    "rot13",
    "hex",
    "zip",
    "unicode_escape",
    "raw_unicode_escape",
    "undefined",
    "x-user-defined",
    "no-such-charset",
    "\u00e9\0",
)
_TAGS = re.findall(
    r"\w+",
    """div p b i a font span table tr td li ul ol h1 h2 form select option button svg
    math template script style textarea title body html head frameset noscript pre br
    img iframe article nav footer main header blockquote nobr ruby rt""",
)
_TEXTS = (
    "a " * 9_000,
    "\U0001f600" * 3_000,
    "x" * 30_000,
    "\n" * 20_000,
    "." * 9_000 + "? " * 3_000,
    "\u0000\ufeff\u202e\x1b]0;x\x07 word" * 900,
    "[1]" * 5_000 + "[" * 9_000,
    "a@" * 4_000 + "1.2.3." * 4_000 + "+1 (2" * 4_000,
    ":" * 4_000 + "::1" * 4_000,
    "\n- bullet" * 2_000,
    "the of and to be " * 3_000,
)
# 50 MB of the letter a, as brotli writes them.
_BROTLI_BOMB = bytes.fromhex(
    "cbffff3ff825c2e2b14020f7fe8fffff7ff04b00c4611180eefd1fffffffe0970088c30200ddfb3f"
    "feffffc12f0110870500baf77ffcffff835f02200e0b0074effff8ffff07bf04401c1600e8deffe5"
    "ffff077e0980382c00d0bdff00"
)
_MANY_FIELDS = b"".join(b"X-%d: y\r\n" % i for i in range(9_000))
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
_RESPONSES = (
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/9 200\r\nContent-Type: text/html\r\n\r\n" + b"\0" * 90,
    _OK + b"A: b\r\n" * 3_000 + b"\r\n",
    _OK + b"x" * 70_000,
    _OK + b"Transfer-Encoding: chunked\r\n\r\n-5",
    _OK + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF",
    _OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"5;" * 999,
    _OK + b"Content-Encoding: br\r\n\r\n" + _BROTLI_BOMB,
    _OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"<p>" * 9_000, mtime=0),
    _OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b" " * (40 << 20), mtime=0),
)


class Page(NamedTuple):
    """A record or line of a file.

    Attributes:
        content: Its bytes.
        url: Its address, if it must be kept, else empty.
    """

    content: bytes
    url: str = ""


def sentences(rng: Random, count: int) -> str:
    """Returns lines that pass every rule."""
    return "\n".join(
        f"The {rng.choice(_PEOPLE)} of the old house walked slowly to the river and "
        f"sat down there. It was day {rng.randrange(10**6)}, and visit {i} of it."
        for i in range(count)
    )


def record(
    kind: str, body: bytes, url: str, *, version: str = "WARC/1.0", **fields: str
) -> bytes:
    """Returns a record; a field replaces one of the same name."""
    headers = {
        "WARC-Type": kind,
        "WARC-Target-URI": url,
        "WARC-Record-ID": f"<urn:uuid:{zlib.crc32(url.encode()):08x}>",
        "Content-Length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }
    lines = [version, *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join([*lines, "", ""]).encode("utf-8", "replace")
    return head + body + b"\r\n\r\n"


def _wet_page(rng: Random, number: int) -> Page:
    url = f"http://example.org/{number}"
    body = sentences(rng, rng.choice((6, 8, 12))).encode()
    version = rng.choice(_VERSIONS)
    fields = {"WARC_Identified_Content_Language": "eng"}
    return Page(record("conversion", body, url, version=version, **fields), url)


def _http(rng: Random, body: bytes, **fields: str) -> bytes:
    """Returns a response whose body is encoded in one of many ways."""
    headers = {"Content-Type": "text/html; charset=utf-8", **fields}
    how = rng.randrange(6)
    if how == 1:
        body, headers["Content-Encoding"] = gzip.compress(body, 1, mtime=0), "gzip"
    elif how == 2:
        body, headers["Content-Encoding"] = zlib.compress(body, 1), "deflate"
    elif how == 3:
        cut = rng.randrange(1, len(body) + 1) if body else 0
        parts = [part for part in (body[:cut], body[cut:]) if part]
        chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
        body, headers["Transfer-Encoding"] = (
            b"".join([*chunks, b"0\r\n\r\n"]),
            "chunked",
        )
    elif how == 4:
        # As crawlers do that keep the headers of what they have decoded.
        headers[rng.choice(("Content-Encoding", "Transfer-Encoding"))] = rng.choice(
            ("gzip", "br", "chunked", "deflate", "gzip, gzip", "zstd", "identity")
        )
    names = {"Content_Type": "Content-Type"}
    lines = [f"{names.get(name, name)}: {value}" for name, value in headers.items()]
    head = "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""])
    return head.encode("utf-8", "replace") + body


def _warc_page(rng: Random, number: int) -> Page:
    url = f"http://example.org/{number}"
    lines = sentences(rng, 10).split("\n")
    html = "<html><body><article>" + "".join(f"<p>{x}</p>" for x in lines)
    body = _http(rng, html.encode())
    return Page(record("response", body, url, version=rng.choice(_VERSIONS)), url)


def _other_record(rng: Random, number: int) -> Page:
    kind = rng.choice(
        ("warcinfo", "request", "metadata", "revisit", "resource", "x\x1b")
    )
    return Page(record(kind, rng.randbytes(rng.randrange(90)), f"other:{number}"))


def _hostile_wet(rng: Random, number: int) -> Page:
    """Returns a record of text that no crawl has."""
    text = rng.choice(_TEXTS)
    body = text.encode() + rng.randbytes(rng.choice((0, 0, 50)))
    language = rng.choice(("eng", "deu", "", "\x1b[2J", "eng,deu", "e" * 300))
    fields = {"WARC_Identified_Content_Language": language}
    return Page(record("conversion", body, f"http://h.org/{number}", **fields))


def _tag_soup(rng: Random) -> str:
    pieces = []
    for _ in range(rng.randrange(1, 120)):
        tag, how = rng.choice(_TAGS), rng.randrange(12)
        if how < 5:
            pieces.append(f"<{tag}>")
        elif how < 8:
            pieces.append(f"</{tag}>")
        elif how == 8:
            pieces.append(f"<{tag} class='{rng.choice(_TAGS)}' {'a=1 ' * 50}>")
        elif how == 9:
            pieces.append(
                rng.choice(("<!--", "-->", "<![CDATA[", "]]>", "<!doctype", "<"))
            )
        elif how == 10:
            pieces.append(
                rng.choice(("&#x110000;", "&#0;", "&amp", "&notit;", "&#" * 99))
            )
        else:
            pieces.append("some words of a page. ")
    return "".join(pieces)


def _hostile_html(rng: Random, number: int) -> Page:
    """Returns a response with HTML that no browser was shown."""
    times = rng.choice((3, 30, 300))
    tags = rng.sample(_TAGS, 2)
    makers = (
        lambda: _tag_soup(rng),
        lambda: f"<{tags[0]}>" * times,
        lambda: f"<{tags[0]}><{tags[1]}>" * times,
        lambda: f"<{tags[0]}><{tags[1]}>" * times + f"</{tags[0]}>" * times,
        lambda: "".join(f"<font a={i}>" for i in range(times)),
        lambda: "<p " + " ".join(f"a{i}=1" for i in range(times)) + ">x",
        lambda: "<p title='" + "x" * 20 * times,
        lambda: "&amp;&#x10FFFF;&notit;" * times,
        lambda: "<!--" * times + "-->",
        lambda: f"<meta charset='{rng.choice(_CHARSETS)}'>" + "<p>words</p>" * times,
    )
    html = rng.choice(makers)()
    charset = rng.choice(_CHARSETS)
    content_type = rng.choice(("text/html", "text/plain", "application/xhtml+xml"))
    body = html.encode(rng.choice(("utf-8", "utf-16", "latin-1")), "replace")
    body = rng.choice((body, body, body + rng.randbytes(200)))
    http = _http(rng, body, Content_Type=f"{content_type}; charset={charset}")
    return Page(record("response", http, f"http://h.org/{number}"))


def _broken_http(rng: Random, number: int) -> Page:
    body = rng.choice(_RESPONSES)
    return Page(record("response", body, f"http://h.org/{number}"))


def broken_record(rng: Random, number: int) -> Page:
    """Returns a record whose header is not what the format asks for."""
    url, body = f"http://b.org/{number}", sentences(rng, 3).encode()
    how = rng.randrange(9)
    if how < 3:
        return Page(
            record("conversion", body, url, Content_Length=rng.choice(_LENGTHS))
        )
    if how == 3:
        length = str(max(0, len(body) + rng.choice((-900, -2, -1, 1, 2, 4, 9_000))))
        return Page(record("conversion", body, url, Content_Length=length))
    good = record("conversion", body, url)
    if how == 4:
        return Page(
            good.replace(b"\r\n", rng.choice((b"\n", b"\r", b"\n\r", b"\r\r\n")))
        )
    if how == 5:
        odd = rng.choice((b"\0", b"\xff\xfe", b"\x1b[31m", b"\n\n", b": : :", b"\r"))
        cut = rng.randrange(len(good) // 2)
        return Page(good[:cut] + odd + good[cut:])
    if how == 6:
        return Page(good.replace(b"\r\n", b"\r\n" + _MANY_FIELDS, 1))
    if how == 7:
        return Page(
            good.replace(b"WARC-Type", b"Long: " + b"y" * 70_000 + b"\r\nWARC-Type")
        )
    return Page(rng.randbytes(rng.randrange(300)) + good[: rng.randrange(len(good))])


_MAKERS: tuple[tuple[Callable[[Random, int], Page], int], ...] = (
    (_wet_page, 12),
    (_warc_page, 4),
    (_other_record, 3),
    (_hostile_wet, 2),
    (_hostile_html, 3),
    (_broken_http, 1),
)


def pages(rng: Random) -> list[Page]:
    """Returns some records, none of them broken."""
    makers, weights = zip(*_MAKERS, strict=True)
    chosen = rng.choices(makers, weights, k=rng.randrange(1, 9))
    return [make(rng, number) for number, make in enumerate(chosen)]
