"""Headers as crawlers have kept them, and what they say of the page."""

import pytest

from data_prep.reading import http_messages

FIELDS = (b"Content-Type: text/html; charset=utf-8", b"Server: x")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n%b\r\n%b\r\n\r\n",
        b"HTTP/1.1 200 OK\n%b\n%b\n\n",
        b"HTTP/1.1 200 OK\r\n%b\n%b\r\n\n",
        b"HTTP/1.1 200 OK\n%b\r\n%b\n\r\n",
        b"HTTP/1.1 200 OK\r\r\n%b\r\r\n%b\r\r\n\r\r\n",
        b"HTTP/1.1 200\r\n%b\r\n%b\r\n\r\n",
        b"HTTP/2 200\r\n%b\r\n%b\r\n\r\n",
        b"\r\nHTTP/1.0 200 OK\r\n%b\r\n%b\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n%b\r\n%b\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: y\r\n\r\n" * 2
        + b"HTTP/1.1 200 OK\n%b\n%b\n\n",
    ],
)
def test_header_is_read_whatever_its_lines_end_in(head):
    response = http_messages.parse(head % FIELDS + b"<p>\n\nbody")

    assert response is not None
    assert response.status == 200
    assert response.body == b"<p>\n\nbody"
    assert response.fields == {
        "content-type": ["text/html; charset=utf-8"],
        "server": ["x"],
    }


def test_folded_line_belongs_to_the_field_before_it():
    response = http_messages.parse(
        b"HTTP/1.1 200 OK\r\n"
        b"Content-Type: text/html;\r\n  charset=utf-8\r\n\tx=y\r\n\r\n"
    )

    assert response is not None
    assert response.fields == {"content-type": ["text/html; charset=utf-8 x=y"]}


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"words",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n",
        b"\n" * 99,
    ],
)
def test_what_has_no_whole_header_is_no_response(message):
    assert http_messages.parse(message) is None


@pytest.mark.parametrize(
    ("values", "name", "charset"),
    [
        ([], "", ""),
        ([""], "", ""),
        (["text/html"], "text/html", ""),
        (["Text/HTML; Charset=UTF-8"], "text/html", "UTF-8"),
        (['"text/html"'], "text/html", ""),
        (["text/html, text/html; charset=utf-8"], "text/html", "utf-8"),
        (["text/html; charset=utf-8", "text/html"], "text/html", "utf-8"),
        (["text/html; charset=utf-8", "text/plain"], "text/plain", ""),
        (["text/html; charset=utf-8,utf-8"], "text/html", "utf-8"),
        (['text/html; charset="a,b"'], "text/html", "a,b"),
        (["text/html; charset='utf-8'"], "text/html", "utf-8"),
        (["html"], "", ""),
        (["*/*"], "", ""),
        (["unknown/unknown", "text/html"], "text/html", ""),
        (["text/html; charset="], "text/html", ""),
        (["text/html charset=utf-8"], "text/html", "utf-8"),
    ],
)
def test_content_types_say_one_type_and_one_label(values, name, charset):
    assert http_messages.media_type(values) == (name, charset)
