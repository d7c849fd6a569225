"""Small crawl files, made byte by byte, for the tests of data_prep."""

import gzip
import io

SENTENCE = "The {0} of the old house walked slowly to the river and sat down there. "
# 16 stems and 8 endings: enough different words for some hundred pieces.
_STEMS = (
    "garden window letter captain winter market morning summer river house friend "
    "doctor sister teacher singer owner"
)
_ENDINGS = ("", "s", "ly", "ful", "less", "ness", "ing", "ship")
WORDS = [stem + ending for stem in _STEMS.split() for ending in _ENDINGS]


def record(kind, body, *, url="http://example.org/", length=None, language=None):
    """Returns one WARC record; `length` overrides the true Content-Length."""
    length = len(body) if length is None else length
    lines = [
        "WARC/1.0",
        f"WARC-Type: {kind}",
        f"WARC-Target-URI: {url}",
        f"WARC-Record-ID: <urn:uuid:{url}>",
        f"Content-Length: {length}",
    ]
    if language:
        lines.append(f"WARC-Identified-Content-Language: {language}")
    return "\r\n".join([*lines, "", ""]).encode() + body + b"\r\n\r\n"


def page(number, *, language="eng", sentences=12):
    """Returns a WET record that passes every rule, different for each number."""
    people = ("owner", "friend", "doctor", "captain", "sister", "teacher", "singer")
    who = people[number % len(people)]
    lines = [
        SENTENCE.format(who) + f"It was the {number}th day, and visit {i} of that week."
        for i in range(sentences)
    ]
    body = "\n".join(lines).encode()
    url = f"http://example.org/{number}"
    return record("conversion", body, url=url, language=language)


def member(content):
    """Returns one gzip member, without a time in it."""
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", fileobj=buffer, mtime=0) as file:
        file.write(content)
    return buffer.getvalue()


def wet(numbers, **options):
    """Returns the gzip members of a WET file: a warcinfo record, then pages."""
    info = record("warcinfo", b"software: none\r\n", url="info")
    return [member(info), *(member(page(n, **options)) for n in numbers)]


def response(html, *, status="200 OK", kind="text/html", url="http://example.org/"):
    """Returns a WARC response record."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n\r\n"
    return record("response", head.encode() + html.encode(), url=url)
