"""Label and bytes give the text that a browser shows, or a reason that is true."""

import json

import pytest

from data_prep.reading import html_pages
from tests.support import browser_pages

ROWS = {row.name: row for row in browser_pages.rows()}
SHOWN = json.loads(browser_pages.TEXTS.read_text())
# In a frame, Chromium takes a page that says nothing for what the page around it is
# in, and shows U+FFFD. Alone it looks at the bytes, and so do we.
DETECTED = {
    **{
        f"meta {how} {label}": "Текст"
        for how in ("no http-equiv", "in a comment", "in a script", "in an attribute")
        for label in ("windows-1251", "cp1251")
    },
    "meta nonsense": "café €",
}


def extract(message, content_type="", is_http=True):
    return html_pages.extract_text(
        message,
        content_type,
        is_http=is_http,
        main_content=False,
        max_bytes=1 << 20,
    )


def words(text):
    return " ".join(text.split())


def test_table_is_large_and_chromium_was_asked_for_every_row():
    assert list(SHOWN) == list(ROWS)
    assert len(ROWS) >= 350


@pytest.mark.parametrize("name", ROWS)
def test_text_is_that_of_the_browser(name):
    text, reason = extract(ROWS[name].message)

    assert reason is None
    assert words(text) == DETECTED.get(name, words(SHOWN[name]))


BINARY = {
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "gif": b"GIF89a\x01\0\x01\0",
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "webp": b"RIFF\x10\0\0\0WEBPVP8 ",
    "bmp": b"BM\x36\0\x0c\0\0\0\0\0",
    "icon": b"\0\0\1\0\1\0",
    "tiff": b"II*\0\x08\0\0\0",
    "pdf": b"%PDF-1.7\n% words and words",
    "pdf after blanks": b"\r\n%PDF-1.4\n words",
    "postscript": b"%!PS-Adobe-3.0\n words",
    "rich text": rb"{\rtf1\ansi words and words}",
    "zip": b"PK\x03\x04\x14\0\x06\0word/document.xml",
    "empty zip": b"PK\x05\x06" + bytes(18),
    "old office file": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(20),
    "rar": b"Rar!\x1a\x07\x01\0",
    "7z": b"7z\xbc\xaf\x27\x1c\0\x04",
    "bzip2": b"BZh91AY&SY\x12\x34",
    "xz": b"\xfd7zXZ\0\0\x04",
    "tar": b"a.txt".ljust(257, b"\0") + b"ustar\0" + b"words " * 90,
    "mp3": b"ID3\x03\0\0\0\0\0",
    "mp4": b"\0\0\0\x20ftypisom\0\0\2\0",
    "ogg": b"OggS\0\2\0\0",
    "flash": b"CWS\x0a\x12\x34\0\0x\x9c",
    "font": b"wOF2\0\1\0\0",
    "program": b"\x7fELF\2\1\1\0",
    "program of windows": b"MZ\x90\0\3\0\0\0",
    "class": b"\xca\xfe\xba\xbe\0\0\0\x34",
    "wasm": b"\0asm\1\0\0\0",
    "sqlite": b"SQLite format 3\0\x10",
    "zeros": bytes(900),
    "unknown": bytes(range(256)) * 4,
}


@pytest.mark.parametrize(
    "label", ["text/html", "text/plain", "text/html; charset=iso-8859-1", ""]
)
@pytest.mark.parametrize("kind", BINARY)
def test_what_is_no_text_is_dropped_whatever_its_label_says(kind, label):
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {label}\r\n\r\n".encode()

    assert extract(head + BINARY[kind]) == ("", "binary")


@pytest.mark.parametrize(
    ("label", "body", "reason"),
    [
        ("image/png", BINARY["png"], "not_html"),
        ("application/pdf", BINARY["pdf"], "not_html"),
        ("application/json", b'{"a": 1}', "not_html"),
        ("text/css", b"p {}", "not_html"),
        ("", b'<?xml version="1.0"?><rss>words</rss>', "not_html"),
        # Browsers make one U+FFFD of such a page.
        ("text/html; charset=iso-2022-kr", b"<p>words", "unsupported_encoding"),
        ("text/html; charset=hz-gb-2312", b"<p>words", "unsupported_encoding"),
        # What the label says turns every other character into U+FFFD.
        (
            "text/plain; charset=utf-8",
            ("Небольшой текст " * 9).encode("cp1251"),
            "wrong_encoding",
        ),
    ],
)
def test_page_that_browsers_show_no_text_of_has_its_reason(label, body, reason):
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {label}\r\n\r\n".encode()

    assert extract(head + body) == ("", reason)


def test_some_bad_bytes_cost_only_themselves():
    body = "<p>" + "朱镕基 说 " * 9
    content = body.encode("gb18030") + b"\xff</p>"

    text, reason = extract(content, "text/html; charset=gb2312", is_http=False)

    assert reason is None
    assert words(text) == words(body[3:]) + " \ufffd"


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        ("Der Fluß führt über eine schöne Brücke.", "cp1252"),
        ("Это небольшой текст на русском языке.", "cp1251"),
        ("Это небольшой текст на русском языке.", "koi8-r"),
        ("これは文字コードを確かめるための文章です。", "cp932"),
        ("これは文字コードを確かめるための文章です。", "euc_jp"),
        ("これは文字コードを確かめるための文章です。", "iso2022_jp"),
        ("这是一段测试文字，用来检查编码是否正确。", "gb18030"),
        ("이것은 인코딩을 확인하기 위한 글입니다.", "cp949"),
        ("Αυτό είναι ένα μικρό δοκιμαστικό κείμενο.", "cp1253"),
        ("Ein Wort über UTF-8 ohne Etikett", "utf-8"),
        ("The word caf\u00e9 alone in an English page.", "cp1252"),
    ],
)
def test_page_without_any_label_is_read_as_what_its_bytes_look_like(text, codec):
    found, _ = extract(f"<p>{text}</p>".encode(codec), "text/html", is_http=False)

    assert found == text
