"""HTTP responses, and what a browser shows of each: the text, or nothing.

The texts in `browser_pages.json` are Chromium's own (150, 2026-11); no code of ours
had a part in them. With a Chromium on the path,

    python -m tests.support.browser_pages

serves the responses on loopback, lets it open every one, and writes them again.
"""

import argparse
import gzip
import html
import http.server
import json
import pathlib
import re
import subprocess
import tempfile
import threading
import zlib
from typing import NamedTuple

import brotli
import webencodings.labels
from backports import zstd

TEXTS = pathlib.Path(__file__).with_suffix(".json")
_LATIN = "Das größte Café – 5 € für “Übung”"
_SAMPLES = {
    "ibm866": "Небольшой текст № 5",
    "iso-8859-2": "Zażółć gęślą jaźń",
    "iso-8859-3": "Ĉu ŝi ĝojas? Ħelu",
    "iso-8859-4": "Ķēniņš šķūnis ģērbj",
    "iso-8859-5": "Небольшой текст",
    "iso-8859-6": "هذا نص قصير",
    "iso-8859-7": "Αυτό είναι κείμενο",
    "iso-8859-8": "זהו טקסט קצר",
    "iso-8859-8-i": "זהו טקסט קצר",
    "iso-8859-10": "Þetta ær ŋåt",
    "iso-8859-13": "Žmogus šitaip kąsnį",
    "iso-8859-14": "Ŵyr ŷd ḃreá",
    "iso-8859-15": "5 € cœur Žiž",
    "iso-8859-16": "Țară și înțelepciune €",
    "koi8-r": "Небольшой текст",
    "koi8-u": "Їжак і ґанок",
    "macintosh": "Le café “déjà” €",
    "windows-874": "นี่คือข้อความ €",
    "windows-1250": "Příliš žluťoučký – „kůň“",
    "windows-1251": "Небольшой текст — № 5",
    "windows-1252": _LATIN,
    "windows-1253": "Αυτό είναι €",
    "windows-1254": "Kısa bir şöyle – €",
    "windows-1255": "זהו טקסט ₪",
    "windows-1256": "هذا نص قصير €",
    "windows-1257": "Žmogus šķūnis – €",
    "windows-1258": "Tiêng ư ơ đ ₫",
    "x-mac-cyrillic": "Небольшой текст",
    "gbk": "这是一段文字，朱镕基",
    "gb18030": "这是一段文字，㐀€",
    "big5": "這是一段文字，說",
    "euc-jp": "これは短い文章です",
    "iso-2022-jp": "これは短い文章です",
    "shift_jis": "これは短い文章です①㈱",
    "euc-kr": "이것은 짧은 글 똠방각하",
    "utf-16be": _LATIN,
    "utf-16le": _LATIN,
    "utf-8": _LATIN,
}
# Bytes that mean nothing in an encoding, or something that few codecs know.
_ODD = {
    "utf-8": (b"a\xffb", b"a\xe2\x82", b"\xed\xa0\x80<i>x", b"\xf0\x9f\x98<b>y"),
    "windows-1252": (bytes(range(0x80, 0xA0)), b"\xa0\xad\xff"),
    "windows-874": (b"\x81\x85\xdb\xfc",),
    "windows-1253": (b"\x88\xaa\xd2\xff",),
    "windows-1257": (b"\x81\x8d\xa1\xa5",),
    "iso-8859-6": (b"\xa1\xa4\xdb\xe1",),
    "iso-8859-8": (b"\xa1\xaa\xba\xbf\xfb",),
    "koi8-u": (b"\xae\xbe\xa4\xb4",),
    "x-user-defined": (b"a\x80\xff",),
    "gbk": (
        b"\x80 \xa3\xa0 \xa6\xd9",
        b"\x81<b>x",
        b"\xd5\xff\xd2\xbb",
        b"\x81\x30\x81\x30",
        b"\x84\x31\xa4\x37x",
        b"\x81\x30\x81<i>",
    ),
    "gb18030": (b"\xfe\x59\xff", b"\x90\x30\x81\x30", b"\xd5", b"\xfe\xfe\xfe\x39"),
    "big5": (
        b"\xa1\x45 \xa1\x4e \xa1\xe3",
        b"\xc7\xf3\xf9\xfe",
        b"\x81\x80\xa4\xa4",
        b"\xa4<b>x",
        b"\xff\xa4\xa4",
    ),
    "euc-jp": (
        b"\xad\xa1 \xad\xea",
        b"\xa1\xc1\xa1\xdd\xa1\xf1\xa2\xcc",
        b"\x8e\xb1\x8f\xb0\xa1",
        b"\xa4\xff\xa4\xa2",
        b"\x8f\xa1\xa1\xa4\xa2",
        b"\xa4<b>x",
        b"\xfc\xfc\xf9\xa1",
    ),
    "shift_jis": (
        b"\x80\xa0\xfd",
        b"\x81\xad\x82\xa0",
        b"\x82<b>x",
        b"\xf0\x40\xfa\x40",
        b"\x81\x60\x81\x7c\x81\x91\x5c\x7e",
        b"\xb1\xb2\x85\x40\x82\xa0",
    ),
    "euc-kr": (b"\x81\x80\xb0\xa1", b"\xc9<b>x", b"\xff\xb0\xa1\xb0", b"\xa2\xe6"),
    "iso-2022-jp": (
        b"\x1b$B$3\x1b(B <b>x",
        b"\x1b(I12\x1b(B y",
        b"\x1b$B-!-j\x1b(B z",
        b"\x1b(J\x5c\x7e\x1b(B",
        b"\x1b$B!A!]\x1b(B",
    ),
    "utf-16le": (b"a\0\x00\xd8b\0", b"\x00\xdca\0"),
    "utf-16be": (b"\0a\xd8\0\0b", b"\xdc\0\0a"),
}
_TYPE = "text/html"
_CYRILLIC = "Текст"
_PAGE = f"<p>{_LATIN}</p>"


class Row(NamedTuple):
    """A response.

    Attributes:
        name: What it tries.
        head: Lines between the status line and the body.
        body: As it is sent.
    """

    name: str
    head: bytes
    body: bytes

    @property
    def message(self) -> bytes:
        """The response, as it is sent."""
        return b"HTTP/1.1 200 OK\r\n" + self.head + b"\r\n" + self.body


def _row(name: str, content_type: str, body: bytes, *more: str) -> Row:
    lines = [f"Content-Type: {content_type}"] if content_type else []
    head = "".join(f"{line}\r\n" for line in (*lines, *more)).encode()
    return Row(name, head, body)


def _codec(name: str) -> str:
    known = {"gbk": "gb18030", "koi8-u": "koi8-u", "euc-kr": "cp949"}
    mended = {"shift_jis": "cp932", "windows-874": "cp874", "macintosh": "mac-roman"}
    others = {"x-mac-cyrillic": "mac-cyrillic", "iso-8859-8-i": "iso8859-8"}
    return (known | mended | others).get(name, name)


def _labels() -> list[Row]:
    """Every label of the standard, on a page in what it stands for."""
    found = []
    for label, name in webencodings.labels.LABELS.items():
        if name not in _SAMPLES:
            continue
        body = f"<p>{_SAMPLES[name]}</p>".encode(_codec(name))
        found.append(_row(f"label {label}", f"{_TYPE}; charset={label}", body))
    return found


def _odd_bytes() -> list[Row]:
    found = []
    for name, contents in _ODD.items():
        wide = {"utf-16le": "utf-16-le", "utf-16be": "utf-16-be"}.get(name, "ascii")
        for i, content in enumerate(contents):
            body = "<p>x ".encode(wide) + content + "</p><p>end".encode(wide)
            kind = f"{_TYPE}; charset={name}"
            found.append(_row(f"odd bytes of {name}, {i}", kind, body))
    return found


def _who_decides() -> list[Row]:
    """Mark over header over <meta>."""
    marks = {
        "utf-8": b"\xef\xbb\xbf",
        "utf-16-le": b"\xff\xfe",
        "utf-16-be": b"\xfe\xff",
    }
    found = [
        _row(
            f"mark of {codec} under {label or 'no label'}",
            f"{_TYPE}; charset={label}" if label else _TYPE,
            mark + _PAGE.encode(codec),
        )
        for codec, mark in marks.items()
        for label in ("", "iso-8859-1", "utf-8", "shift_jis", "utf-16be", "nonsense")
    ]
    metas = {
        "charset": "<meta charset={}>",
        "quoted": '<meta charset="{}" />',
        "single quotes": "<META CHARSET = '{}'>",
        "http-equiv": '<meta http-equiv=Content-Type content="x; charset={}">',
        "content first": '<meta content="x;charset={}" http-equiv="content-type">',
        "no http-equiv": '<meta name=x content="text/html; charset={}">',
        "in a comment": "<!-- <meta charset={}> -->",
        "after a comment": "<!-- > --><meta charset={}>",
        "far down": "<title>t</title>" + "<!--" + "x" * 900 + "--><meta charset={}>",
        "in a script": "<script>'<meta charset={}>'</script>",
        "after a script": "<script>var a = '<p';</script><meta charset={}>",
        "in an attribute": "<a title='<meta charset={}>'></a>",
        "second attribute": "<meta name=x charset={}>",
        "after another": "<meta name=viewport content=x><meta charset={}>",
    }
    body = f"<p>{_CYRILLIC}</p>".encode("cp1251")
    for how, tag in metas.items():
        for label in ("windows-1251", "cp1251"):
            head = tag.format(label).encode()
            found.append(_row(f"meta {how} {label}", _TYPE, head + body))
    for label, content in (
        ("utf-16", _PAGE.encode()),
        ("x-user-defined", b"<p>\x80 \xe9</p>"),
        ("nonsense", b"<p>caf\xe9 \x80</p>"),
        ("gb2312", "<p>朱镕基</p>".encode("gbk")),
    ):
        head = f"<meta charset={label}>".encode()
        found.append(_row(f"meta {label}", _TYPE, head + content))
    meta = b"<meta charset=koi8-r>"
    cp1251 = f"{_TYPE}; charset=windows-1251"
    found.append(_row("header over meta", cp1251, meta + body))
    found.append(_row("wrong header, meta", f"{_TYPE}; charset=cp9", meta + body))
    xml = b'<?xml version="1.0" encoding="windows-1251"?>'
    found.append(_row("xml declaration", _TYPE, xml + b"<html>" + body))
    return found


def _headers() -> list[Row]:
    """Content-Types as servers send them, and lines as crawlers keep them."""
    body = f"<p>{_CYRILLIC}</p>".encode("cp1251")
    kinds = (
        "text/html;charset=windows-1251",
        "TEXT/HTML; CHARSET=Windows-1251",
        'text/html; charset="windows-1251"',
        "text/html ;  charset=windows-1251",
        "text/html;; charset=windows-1251",
        "text/html; x=y; charset=windows-1251",
        "text/html; charset=windows-1251; charset=utf-8",
        "text/html; charset=windows-1251, text/html",
        "text/html, text/html; charset=windows-1251",
        "application/xhtml+xml, text/html; charset=windows-1251",
        "text/html; charset=windows-1251,windows-1251",
        "text/html; charset= windows-1251 ",
    )
    found = [_row(f"type {kind}", kind, body) for kind in kinds]
    found.append(
        _row(
            "two types",
            "text/html",
            body,
            "Content-Type: text/html; charset=windows-1251",
        )
    )
    plain = f"Строка <b>{_CYRILLIC}</b>\n".encode("cp1251")
    found.append(_row("plain", "text/plain; charset=windows-1251", plain))
    found.append(_row("plain mark", "text/plain", b"\xef\xbb\xbf" + _LATIN.encode()))
    sniffed = (
        b"<!DOCTYPE html><p>words</p>",
        b" \n<html><body>words</body>",
        b"<!-- c --><p>words",
        b"<TITLE>x</TITLE><p>words",
        b"<div>words</div>",
        b"plain words < 5",
    )
    for i, content in enumerate(sniffed):
        found.append(_row(f"no type, {i}", "", content))
    found.append(_row("type */*", "*/*", sniffed[0]))
    found.append(_row("empty type", "", sniffed[0], "Content-Type:"))
    cp1251 = b"Content-Type: text/html; charset=windows-1251\n"
    found.append(Row("line feeds alone", cp1251, body))
    found.append(Row("colon without space", cp1251.replace(b": ", b":"), body))
    return found


def _codings() -> list[Row]:
    """What the header declares and the body has."""
    page = (_PAGE * 9).encode()
    raw = zlib.compressobj(9, zlib.DEFLATED, -15)
    bodies = {
        "gzip": gzip.compress(page, mtime=0),
        "x-gzip": gzip.compress(page, mtime=0),
        "deflate": zlib.compress(page),
        "br": brotli.compress(page),
        "zstd": zstd.compress(page),
        "gzip, br": brotli.compress(gzip.compress(page, mtime=0)),
        "deflate, gzip": gzip.compress(zlib.compress(page), mtime=0),
        "identity": page,
    }
    kind = f"{_TYPE}; charset=utf-8"
    found = [
        _row(f"coding {name}", kind, body, f"Content-Encoding: {name}")
        for name, body in bodies.items()
    ]
    raw_body = raw.compress(page) + raw.flush()
    found.append(_row("raw deflate", kind, raw_body, "Content-Encoding: deflate"))
    chunks = b"%x;a=b\r\n%b\r\n%X\r\n%b\r\n0\r\nT: x\r\n\r\n" % (
        *(40, page[:40]),
        *(len(page) - 40, page[40:]),
    )
    found.append(_row("chunks", kind, chunks, "Transfer-Encoding: chunked"))
    return found


def rows() -> list[Row]:
    """Returns the responses, of different names."""
    return [*_labels(), *_odd_bytes(), *_who_decides(), *_headers(), *_codings()]


_DRIVER = """<pre id=o></pre><script>
const texts = [];
function next(i) {
  if (i === COUNT) {
    document.getElementById("o").textContent = JSON.stringify(texts);
    return;
  }
  const frame = document.createElement("iframe");
  frame.onload = () => {
    texts.push(frame.contentDocument.body.innerText);
    frame.remove();
    next(i + 1);
  };
  frame.src = "/" + i;
  document.body.append(frame);
}
onload = () => next(0);
</script><body>"""


def _texts_of_chromium(responses: list[Row]) -> list[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.strip("/")
            if name.isdigit():
                self.wfile.write(responses[int(name)].message)
            else:
                page = _DRIVER.replace("COUNT", str(len(responses))).encode()
                head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
                self.wfile.write(head + b"\r\n" + page)
            self.close_connection = True

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        shown = subprocess.run(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu"),
                *(f"--user-data-dir={folder}", "--virtual-time-budget=300000"),
                *("--dump-dom", f"http://127.0.0.1:{server.server_port}/driver"),
            ],
            capture_output=True,
            check=True,
            timeout=300,
        )
    server.shutdown()
    found = re.search(r'<pre id="o">(.*?)</pre>', shown.stdout.decode(), re.DOTALL)
    if not found or not found[1]:
        raise SystemExit("Chromium did not come to the end of the pages.")
    return json.loads(html.unescape(found[1]))


def main() -> None:
    """Writes what Chromium shows of each response."""
    argparse.ArgumentParser(description=main.__doc__).parse_args()
    responses = rows()
    texts = _texts_of_chromium(responses)
    shown = {row.name: text for row, text in zip(responses, texts, strict=True)}
    TEXTS.write_text(json.dumps(shown, ensure_ascii=True, indent=0) + "\n")
    print(f"{len(shown)} texts written to {TEXTS}")


if __name__ == "__main__":
    main()
