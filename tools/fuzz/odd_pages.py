"""Pages for `tools.fuzz` that are sent in odd ways, and what lies about its kind.

Whatever its header, its codings and its encoding, a page that a browser shows must be
kept; what is no text must be counted.
"""

import gzip
import zlib

import brotli
from backports import zstd

from tools.fuzz.pages import Page, Random, record, sentences

# By codec: labels that stand for it, and a word in it.
_ENCODINGS = (
    ("utf-8", ("utf-8", "UTF8", "unicode-1-1-utf-8", "utf8mb4", "none", ""), "Größe"),
    ("cp1252", ("iso-8859-1", "latin1", "us-ascii", "windows-1252"), "“Größe” €"),
    ("cp1251", ("windows-1251", "CP1251"), "Дом"),
    ("koi8-r", ("koi8-r", "koi"), "Дом"),
    ("gb18030", ("gb2312", "gbk", "gb18030", "x-gbk"), "朱镕基"),
    ("cp949", ("euc-kr", "ks_c_5601-1987"), "똠방각하"),
    ("cp932", ("shift_jis", "x-sjis", "windows-31j"), "東京①"),
    ("euc_jp", ("euc-jp", "x-euc-jp"), "東京"),
    ("iso2022_jp", ("iso-2022-jp",), "東京"),
    ("big5", ("big5", "big5-hkscs"), "房子"),
    ("utf-16-le", ("utf-16", "utf-16le"), "Größe"),
    ("utf-16-be", ("utf-16be",), "Größe"),
)
_MARKS = {
    "utf-8": b"\xef\xbb\xbf",
    "utf-16-le": b"\xff\xfe",
    "utf-16-be": b"\xfe\xff",
}
_INTERIM = (
    *("", "", "", ""),
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    "\r\n",
)
_BINARY = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"GIF89a\1\0\1\0\0",
    b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    b"PK\x03\x04\x14\0\6\0\x08\0",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0",
    b"7z\xbc\xaf\x27\x1c\0\4",
    b"\x1f\x9d\x90",
    b"\x7fELF\2\1\1\0",
)


def _raw_deflate(body: bytes) -> bytes:
    made = zlib.compressobj(1, zlib.DEFLATED, -15)
    return made.compress(body) + made.flush()


_CODINGS = {
    "gzip": lambda body: gzip.compress(body, 1, mtime=0),
    "x-gzip": lambda body: gzip.compress(body, 1, mtime=0) + b"\r\n",
    "deflate": _raw_deflate,
    "br": lambda body: brotli.compress(body, quality=1),
    "zstd": lambda body: zstd.compress(body, 1),
}


def make(rng: Random, number: int) -> Page:
    """Returns a record; its address tells it from those of other makers."""
    url = f"http://odd.org/{number}"
    how = rng.randrange(8)
    if how == 0:
        return Page(_lie(rng, url))
    if how == 1:
        return Page(_beside(rng, url))
    if how < 4:
        return Page(_alone(rng, url), url)
    return Page(_fold(rng, record("response", _response(rng), url)), url)


def _html(text: str) -> str:
    paragraphs = "".join(f"<p>{line}</p>" for line in text.split("\n"))
    return f"<!DOCTYPE html><html><body><article>{paragraphs}</article></body></html>"


def _encoded(rng: Random) -> tuple[bytes, str]:
    """Returns a page and the label that its header gives, which a mark may outdo."""
    codec, labels, word = rng.choice(_ENCODINGS)
    html = _html(sentences(rng, 10) + f"\nHere they say {word} to it.")
    body, label = html.encode(codec), rng.choice(labels)
    if codec in _MARKS and rng.random() < 0.3:
        return _MARKS[codec] + body, rng.choice(("iso-8859-1", "gbk", "x", label))
    if rng.random() < 0.3 and codec.startswith(("cp", "gb", "euc")):
        return f"<meta charset={label}>".encode() + body, rng.choice(("", "nonsense"))
    return body, label


def _response(rng: Random) -> bytes:
    body, label = _encoded(rng)
    lines = []
    for name in rng.sample(sorted(_CODINGS), rng.choice((0, 0, 1, 1, 2))):
        body = _CODINGS[name](body)
        lines.append(name)
    # Declared, declared otherwise, or not at all. Of two codings without a mark of
    # their own, nobody can find the second.
    named = lines
    if rng.random() < 0.2 and not {"br", "deflate"} <= set(lines):
        named = rng.choice(([], ["gzip"], ["identity"]))
    fields = [f"Content-Encoding: {', '.join(named)}"] if named else []
    if rng.random() < 0.3:
        fields.append("Transfer-Encoding: chunked")
        if rng.random() < 0.7:
            body = _chunks(rng, body)
    charset = f"; charset={label}" if label else ""
    kind = f"text/html{charset}"
    fields += rng.choice(
        (
            [f"Content-Type: {kind}"],
            [f"content-type:{kind}"],
            [f"Content-Type: text/html;\n charset={label or 'x'}"],
            ["Content-Type: text/html", f"Content-Type: {kind}"],
            [f"Content-Type: {kind}, text/html"],
        )
    )
    rng.shuffle(fields)
    end = rng.choice(("\r\n", "\r\n", "\n", "\r\r\n"))
    head = end.join(["HTTP/1.1 200 OK", *fields, "", ""])
    return (rng.choice(_INTERIM) + head).encode() + body


def _chunks(rng: Random, body: bytes) -> bytes:
    size = rng.choice((90, 1_000, 100_000))
    extension, end = rng.choice((b"", b";a=b", b" ")), rng.choice((b"\r\n", b"\n"))
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    chunks = [b"%x%b%b%b%b" % (len(p), extension, end, p, end) for p in pieces]
    return b"".join(chunks) + rng.choice((b"0" + end + end, b""))


def _alone(rng: Random, url: str) -> bytes:
    """Returns a page without a response around it."""
    body, label = _encoded(rng)
    kind = f"text/html; charset={label}" if label else "text/html"
    if rng.random() < 0.3:
        body = rng.choice(list(_CODINGS.values())[:2])(body)
    content = record(
        rng.choice(("resource", "conversion")), body, url, Content_Type=kind
    )
    return _fold(rng, content)


def _fold(rng: Random, content: bytes) -> bytes:
    """Returns a record, some fields of which go on in the next line."""
    if rng.random() < 0.3:
        fold = rng.choice((b":\r\n ", b":\r\n\t", b":\n  "))
        name = rng.choice((b"WARC-Type", b"WARC-Target-URI", b"Content-Length"))
        content = content.replace(name + b": ", name + fold, 1)
    return content


def _lie(rng: Random, url: str) -> bytes:
    """Returns a record that calls itself text and is none."""
    body = rng.choice(_BINARY) + rng.randbytes(rng.randrange(2_000))
    kind = rng.choice(("text/html", "text/plain", "text/html; charset=utf-8"))
    if rng.random() < 0.5:
        warc_kind = rng.choice(("resource", "conversion"))
        return record(warc_kind, body, url, Content_Type=kind)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n"
    return record("response", head.encode() + body, url)


def _beside(rng: Random, url: str) -> bytes:
    """Returns a record that stands for a page and holds none."""
    kind = rng.choice(("revisit", "continuation", "x-own", "resource", "response"))
    fields = {"Content_Type": rng.choice(("text/dns", "image/png", "application/http"))}
    if rng.random() < 0.3:
        fields["WARC_Segment_Number"] = "1"
    return record(kind, rng.randbytes(rng.randrange(90)), url, **fields)
