"""Pages that would hold up or crash whoever reads them cost only themselves."""

import gzip
import os
import signal
import zlib

import pytest

from data_prep import lifetime
from data_prep.reading import page_process
from lmcodistill import errors

LIMIT = 4 << 20
PAGE = b"<html><body><p>First words of a page.</p><p>Last words.</p></body></html>"


def extract(body, fields=(), kind="text/html", seconds=5.0):
    head = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", *fields, "", ""]
    return page_process.extract_text(
        "\r\n".join(head).encode() + body,
        main_content=False,
        max_bytes=LIMIT,
        max_seconds=seconds,
    )


def kill_reader(*signals):
    """Sends signals to the process that reads pages; other tests have children too."""
    reader = page_process._processes[os.getpid()]._process
    for number in signals:
        os.kill(reader.pid, number)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (PAGE, "Server: none"),
        (gzip.compress(PAGE, mtime=0), "Content-Encoding: gzip"),
        (zlib.compress(PAGE), "Content-Encoding: deflate"),
        (b"20\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        # Stored decoded, under the headers that it came with.
        (PAGE, "Transfer-Encoding: chunked"),
        (PAGE, "Content-Encoding: gzip"),
        (PAGE, "Content-Encoding: br"),
    ],
)
def test_page_is_decoded_as_its_header_says_or_as_it_is(body, field):
    if b"%b" in body:
        body %= (PAGE[:32], len(PAGE) - 32, PAGE[32:])

    text, reason = extract(body, [field])

    assert reason is None
    assert text.split() == ["First", "words", "of", "a", "page.", "Last", "words."]


@pytest.mark.parametrize(
    ("body", "fields", "reason"),
    [
        (
            gzip.compress(b"x" * (LIMIT + 1), mtime=0),
            ["Content-Encoding: gzip"],
            "record_too_large",
        ),
        (
            gzip.compress(PAGE, mtime=0)[:-30],
            ["Content-Encoding: gzip, gzip"],
            "unreadable_page",
        ),
        (b"5\r\nab", ["Transfer-Encoding: chunked"], "unreadable_page"),
    ],
)
def test_page_that_cannot_be_decoded_is_dropped_with_a_reason(body, fields, reason):
    assert extract(body, fields) == ("", reason)


@pytest.mark.parametrize(
    "charset", ["punycode", "hex", "zip", "\0", "no-such", "utf-32"]
)
def test_charset_that_lies_costs_at_most_the_page(charset):
    text, reason = extract(PAGE, kind=f"text/html; charset={charset}")

    assert reason or isinstance(text, str)


@pytest.mark.parametrize(
    ("html", "seconds", "reason"),
    [
        (b"<a><div>" * 100_000 + b"</a>" * 100_000, 0.5, "slow_page"),
        (b"<table><tr><td>" * 250_000, 5.0, "unreadable_page"),
    ],
    ids=["time", "memory"],
)
def test_page_that_kills_its_reader_is_dropped_and_the_next_one_is_read(
    html, seconds, reason
):
    assert extract(html, seconds=seconds) == ("", reason)
    assert extract(PAGE).reason is None


def test_reader_that_is_killed_from_outside_is_replaced_and_no_page_is_lost():
    extract(PAGE)
    kill_reader(signal.SIGKILL)

    assert extract(PAGE).reason is None


def test_reader_that_is_killed_again_and_again_ends_the_run(monkeypatch):
    monkeypatch.setattr(page_process, "_processes", {})
    monkeypatch.setattr(page_process._PageProcess, "ask", _killed)

    with pytest.raises(errors.DataError, match="num_workers"):
        extract(PAGE)


def _killed(reader, *_):
    reader._process.kill()


def test_signals_that_stop_a_run_do_not_cost_the_page_at_hand():
    extract(PAGE)
    kill_reader(signal.SIGTERM, signal.SIGINT)

    assert extract(PAGE).reason is None


def test_answer_that_nobody_waited_for_is_not_taken_for_that_of_the_next_page(
    monkeypatch,
):
    ask = page_process._PageProcess.ask
    monkeypatch.setattr(page_process._PageProcess, "ask", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(b"<p>one</p>")
    monkeypatch.setattr(page_process._PageProcess, "ask", ask)

    assert extract(b"<p>two</p>").text == "two"


def _interrupted(reader, request, body):
    reader._connection.send_bytes(request)
    reader._connection.send_bytes(body)
    raise KeyboardInterrupt


def test_time_of_the_reader_counts():
    before = lifetime._helper_seconds

    extract(b"<p>some words</p>" * 20_000)

    assert lifetime._helper_seconds > before
