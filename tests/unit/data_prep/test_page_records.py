"""Every record that may hold a page becomes a document or has a reason."""

import gzip

import pytest

from data_prep import counts as counts_lib
from data_prep.reading import readers
from lmcodistill.data import report_checks
from lmcodistill.settings import prep
from tests.support import crawl

HTML = b"<!DOCTYPE html><html><body><p>First words.</p><p>Last.</p></body></html>"
WORDS = ["First", "words.", "Last."]


def record(kind, body, *lines):
    head = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        "WARC-Target-URI: http://example.org/a",
        "WARC-Record-ID: <urn:uuid:a>",
        f"Content-Length: {len(body)}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode() + body + b"\r\n\r\n"


def read(tmp_path, content):
    path = tmp_path / "a.warc"
    path.write_bytes(content)
    counts, found = counts_lib.Counts(), []
    for document in readers.read_documents(
        readers.Source(path, path.name, prep.Prep(), counts, lambda _: None)
    ):
        counts.keep(len(document.text), "")
        found.append(document)
    held = sum(counts.records[kind] for kind in report_checks.PAGE_RECORDS)
    assert counts.read == held == counts.kept + counts.dropped.total()
    return found, counts


@pytest.mark.parametrize(
    ("content_type", "body", "words"),
    [
        ("text/plain", b"Plain words.", ["Plain", "words."]),
        (None, b"Plain words.", ["Plain", "words."]),
        ("text/plain; charset=iso-8859-1", b"Gr\xfc\xdfe \x80", ["Grüße", "€"]),
        ("text/plain; charset=utf8", "Grüße".encode(), ["Grüße"]),
        ("text/plain", b"\xef\xbb\xbfPlain words.", ["Plain", "words."]),
        ("text/plain", "Größe".encode("utf-16"), ["Größe"]),
        ("text/html; charset=utf-8", HTML, WORDS),
        ("text/html", gzip.compress(HTML, mtime=0), WORDS),
        ("application/xhtml+xml", HTML, WORDS),
    ],
)
def test_conversion_is_read_as_what_its_type_says(tmp_path, content_type, body, words):
    lines = [f"Content-Type: {content_type}"] if content_type else []

    [document], _ = read(tmp_path, record("conversion", body, *lines))

    assert document.text.split() == words


@pytest.mark.parametrize(
    ("kind", "content_type", "body", "reason"),
    [
        ("conversion", "image/png", b"\x89PNG\r\n\x1a\n\0", "not_html"),
        ("conversion", "text/plain", b"\x89PNG\r\n\x1a\n\0", "binary"),
        ("conversion", "application/pdf", b"%PDF-1.4", "not_html"),
        ("conversion", "text/plain", b"HT\0\1\2\3\4\5\6", "binary"),
        ("resource", "image/jpeg", b"\xff\xd8\xff\xe0", "not_html"),
        ("resource", "text/html", b"%PDF-1.4 words", "binary"),
        ("resource", "text/dns", b"example.org. 1 IN A 127.0.0.1", "not_html"),
        ("response", "text/dns", b"example.org. 1 IN A 127.0.0.1", "not_http"),
        ("revisit", "application/http", b"HTTP/1.1 200 OK\r\n\r\n", "revisit"),
        ("continuation", "application/http", b"words", "segmented"),
        ("x-my-own", "text/plain", b"words", "unknown_record_type"),
    ],
)
def test_record_without_a_text_of_its_own_has_a_reason(
    tmp_path, kind, content_type, body, reason
):
    content = record(kind, body, f"Content-Type: {content_type}")

    found, counts = read(tmp_path, content)

    assert found == []
    assert counts.dropped == {reason: 1}


def test_first_segment_of_a_page_is_no_page(tmp_path):
    content = record("response", b"HTTP/1.1 200 OK\r\n\r\n", "WARC-Segment-Number: 1")

    assert read(tmp_path, content)[1].dropped == {"segmented": 1}


@pytest.mark.parametrize("content_type", ["text/html", "text/html; charset=utf-8", ""])
def test_resource_is_read_as_the_page_that_it_is(tmp_path, content_type):
    lines = [f"Content-Type: {content_type}"] if content_type else []

    [document], _ = read(tmp_path, record("resource", HTML, *lines))

    assert document.text.split() == WORDS
    assert document.is_web


def test_notes_of_a_crawler_are_no_pages(tmp_path):
    content = record("resource", b"--2024-- saved", "Content-Type: text/plain").replace(
        b"http://example.org/a", b"metadata://gnu.org/software/wget/warc/wget.log"
    )

    assert read(tmp_path, content)[1].dropped == {"crawler_log": 1}


@pytest.mark.parametrize(
    "head", ["", 'Content-Type: "text/html"\r\n', "Content-Type: text/html, x\r\n"]
)
def test_response_that_does_not_say_what_it_is_is_looked_at(tmp_path, head):
    http = f"HTTP/1.1 200 OK\r\nServer: x\r\n{head}\r\n".encode()

    [document], _ = read(tmp_path, record("response", http + HTML))

    assert document.text.split() == WORDS


def test_identified_type_counts_where_the_response_has_none(tmp_path):
    content = record(
        "response",
        b"HTTP/1.1 200 OK\r\n\r\nFirst <b>words.</b> Last.",
        "WARC-Identified-Payload-Type: text/html",
    )

    [document], _ = read(tmp_path, content)

    assert document.text.split() == WORDS


@pytest.mark.parametrize("fold", ["\r\n ", "\r\n\t", "\n  ", " \r\n\t "])
def test_folded_fields_of_a_record_are_whole(tmp_path, fold):
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
    content = record("response", http + HTML)
    for field in (b"WARC-Type:", b"WARC-Target-URI:", b"Content-Length:"):
        content = content.replace(field + b" ", field + fold.encode(), 1)

    [document], counts = read(tmp_path, content)

    assert document.url == "http://example.org/a"
    assert counts.records == {"response": 1}


@pytest.mark.parametrize(
    "label", ["utf8mb4", "windows-UTF-8", "Big5_Solaris", "none", "utf-8,utf-8", "\xe9"]
)
def test_label_that_nobody_knows_counts_as_none(tmp_path, label):
    html = f"<p>Этот текст в UTF-8</p>{HTML.decode()}"

    [document], _ = read(
        tmp_path, crawl.response(html, kind=f"text/html; charset={label}")
    )

    assert document.text.startswith("Этот текст в UTF-8")
