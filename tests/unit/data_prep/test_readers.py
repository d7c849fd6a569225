import bz2
import gzip
import json
import lzma

import pytest

from data_prep import counts as counts_lib
from data_prep.reading import readers
from lmcodistill.settings import prep
from tests.support import crawl


def read(path, **settings):
    counts = counts_lib.Counts()
    found = readers.read_documents(
        readers.Source(path, path.name, prep.Prep(**settings), counts, lambda _: None)
    )
    return list(found), counts


def texts(path, **settings):
    return [document.text for document in read(path, **settings)[0]]


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_wet_record_becomes_a_document_with_address_and_language(tmp_path):
    content = b"".join(crawl.wet([7], language="eng,deu"))

    [document], _ = read(write(tmp_path, "a.warc.wet.gz", content))

    assert document.url == "http://example.org/7"
    assert document.language == "eng"
    assert document.is_web
    assert document.text.startswith("The owner of the old house")


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (crawl.response("x", status="404 Not Found"), "not_status_200"),
        (crawl.response("x", kind="image/png"), "not_html"),
        (crawl.record("response", b"no http here"), "not_http"),
    ],
)
def test_response_without_text_is_dropped_with_a_reason(tmp_path, response, reason):
    _, counts = read(write(tmp_path, "a.warc.gz", crawl.member(response)))

    assert counts.dropped == {reason: 1}
    assert counts.read == 1


def test_response_becomes_the_text_of_its_page(tmp_path):
    html = "<html><body><p>First words.</p><script>no()</script><p>Last.</p></body>"
    content = crawl.member(crawl.response(html))

    [document], _ = read(write(tmp_path, "a.warc.gz", content), html_main_content=False)

    assert document.text.split() == ["First", "words.", "Last."]


def test_wat_file_is_ignored_with_a_sentence_that_says_so(tmp_path):
    content = crawl.member(crawl.record("metadata", b"{}"))

    found, counts = read(write(tmp_path, "a.warc.wat.gz", content))

    assert found == []
    assert "WAT" in counts.note and "WET" in counts.note


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"filedesc://a.arc 0.0.0.0", "ARC"),
        (b"\x00\x01\x02\x03", "neither"),
    ],
)
def test_file_of_another_kind_is_ignored_with_a_note(tmp_path, content, word):
    found, counts = read(write(tmp_path, "a.bin", content))

    assert found == []
    assert word in counts.note


def test_json_lines_are_read_by_field_and_bad_ones_counted(tmp_path):
    lines = [
        json.dumps({"body": "one", "url": "http://a"}),
        "{not json",
        json.dumps({"text": "another field"}),
        "",
        "[" * 5_000,
        json.dumps({"body": "two"}),
    ]
    path = write(tmp_path, "a.jsonl", "\n".join(lines).encode())

    found, counts = read(path, jsonl_text_field="body")

    assert [(d.text, d.url) for d in found] == [("one", "http://a"), ("two", "")]
    assert counts.dropped == {"bad_json": 2, "no_text_field": 1}


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_text_is_read_and_a_cut_one_counted(tmp_path, compress):
    content = compress(b"\n".join(b"line %d" % i for i in range(8_000)))

    whole = texts(write(tmp_path, "a.txt.x", content), text_documents="lines")
    found, counts = read(
        write(tmp_path, "b.txt.x", content[: len(content) // 2]),
        text_documents="lines",
    )

    assert len(whole) == 8_000
    assert [d.text for d in found] == whole[: len(found)]
    assert counts.truncated and counts.damaged == 0


def test_text_is_cut_between_paragraphs(tmp_path):
    path = write(tmp_path, "a.txt", b"aaaa\nbb\n\ncccc\n\n\ndddd\neeee\nffff\n\ngg")

    # Of at least 6 bytes; a paragraph of twice that is cut at its line.
    assert texts(path, text_section_bytes=6) == [
        "aaaa\nbb",
        "cccc",
        "dddd\neeee\nffff",
        "gg",
    ]


def test_text_can_be_one_document_per_line_or_per_file(tmp_path):
    path = write(tmp_path, "a.txt", b"one\n\ntwo\r\n")

    assert texts(path, text_documents="lines") == ["one", "two"]
    assert texts(path, text_documents="files") == ["one\n\ntwo"]


def test_overlong_line_is_dropped_and_the_next_one_read(tmp_path):
    path = write(tmp_path, "a.txt", b"x" * 5_000 + b"\nshort\n")

    found, counts = read(path, text_documents="lines", max_record_bytes=100)

    assert [d.text for d in found] == ["short"]
    assert counts.dropped == {"record_too_large": 1}


def test_ids_depend_on_the_name_and_the_place_and_on_nothing_else(tmp_path):
    first = read(write(tmp_path, "a.txt", b"one\ntwo\n"), text_documents="lines")[0]
    again = read(write(tmp_path, "a.txt", b"one\ntwo\n"), text_documents="lines")[0]
    other = read(write(tmp_path, "b.txt", b"one\ntwo\n"), text_documents="lines")[0]

    assert [d.id for d in first] == [d.id for d in again]
    assert len({d.id for d in first + other}) == 4


def pretokenized(path, unit):
    settings = prep.Prep(pretokenized_documents=unit)
    found = readers.read_pretokenized(
        readers.Source(path, path.name, settings, counts_lib.Counts(), lambda _: None)
    )
    return [document.text for document in found]


def test_pretokenized_lines_are_all_kept_blank_ones_too(tmp_path):
    path = write(tmp_path, "a.txt", b" a <unk> b \n\n c\n")

    assert pretokenized(path, "lines") == ["a <unk> b", "", "c"]


def test_articles_begin_at_titles_and_not_at_section_headings(tmp_path):
    path = write(
        tmp_path, "a.txt", b" \n = One = \n \n a\n = = Part = = \n b\n = Two = \n c\n"
    )

    assert pretokenized(path, "articles") == [
        "\n= One =\n\na\n= = Part = =\nb",
        "= Two =\nc",
    ]
