"""Files are what their content says; the name decides where that leaves it open."""

import bz2
import gzip
import json
import lzma
import sys

import pyarrow
import pytest
from backports import zstd
from pyarrow import parquet

from data_prep import counts as counts_lib
from data_prep.reading import file_kinds, json_values, readers
from data_prep.reports import report
from data_prep.rules import extract
from lmcodistill import errors
from lmcodistill.settings import prep

TEXTS = [f'The {i}th "stone" lay in\nthe [river] {{bed}}.' for i in range(40)]
OBJECTS = [{"id": i, "text": text} for i, text in enumerate(TEXTS)]
LINES = "\n".join(map(json.dumps, OBJECTS)).encode()
ARRAY = json.dumps(OBJECTS).encode()
PRETTY = json.dumps(OBJECTS, indent=2).encode()
# One object after the other, as `jq .` writes them.
PRETTY_OBJECTS = "\n".join(json.dumps(x, indent=2) for x in OBJECTS).encode()
PROSE = b"Objects are written as follows.\n" + LINES


def read(path, **settings):
    counts = counts_lib.Counts()
    found = readers.read_documents(
        readers.Source(path, path.name, prep.Prep(**settings), counts, lambda _: None)
    )
    return [document.text for document in found], counts


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "name",
    [
        *("a.jsonl", "A.JSONL", "a.ndjson", "a.jl", "a.jsonlines", "a.json"),
        *("part-00000", "a.txt", "blob", "a.json.txt", "a.jsonl.bak"),
    ],
)
@pytest.mark.parametrize("content", [LINES, b"\xef\xbb\xbf" + LINES, b"\n" + LINES])
def test_lines_of_objects_are_json_lines_by_any_name(tmp_path, name, content):
    assert read(write(tmp_path, name, content))[0] == TEXTS


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lzma.compress, zstd.compress]
)
@pytest.mark.parametrize(
    ("name", "content"),
    [("a.JL.gz", LINES), ("a.xyz", LINES), ("a.json.ZST", ARRAY), ("b", PRETTY)],
)
def test_compressed_json_is_known_too(tmp_path, compress, name, content):
    assert read(write(tmp_path, name, compress(content)))[0] == TEXTS


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
@pytest.mark.parametrize("indent", [None, 2])
def test_json_in_another_encoding_is_decoded_and_said(tmp_path, encoding, indent):
    texts = [f"{text} caf\u00e9 na\u00efve d\u00e9j\u00e0 vu" for text in TEXTS]
    objects = [{"text": text} for text in texts]
    array = json.dumps(objects, indent=indent, ensure_ascii=False).encode(encoding)

    found, counts = read(write(tmp_path, "a.json", array))

    assert found == texts
    assert counts.encodings.total() > 0


@pytest.mark.parametrize("name", ["a.json", "A.JSON", "a.jsonl", "blob"])
@pytest.mark.parametrize("content", [ARRAY, PRETTY, b" \r\n" + PRETTY + b"\n"])
def test_array_of_objects_is_read_by_any_name(tmp_path, name, content):
    assert read(write(tmp_path, name, content))[0] == TEXTS


def test_objects_of_several_lines_are_read_if_the_name_says_json(tmp_path):
    assert read(write(tmp_path, "a.json", PRETTY_OBJECTS))[0] == TEXTS
    assert file_kinds.kind_of(write(tmp_path, "a.txt", PRETTY_OBJECTS)) == "text"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("notes.json.txt", b"About JSON: a note.\n", "text"),
        ("notes.txt", PROSE, "text"),
        ("code.txt", b"{\n  int a;\n}\n", "text"),
        ("list.txt", b"[1] A footnote.\n[2] Another.\n", "text"),
        ("a.jsonl", b"{not json\n" + LINES, "jsonl"),
        ("a.jsonl", b'["one"]\n["two"]\n', "jsonl"),
        ("a.json", b'["one",\n"two"]\n', "json"),
        ("a.jsonl", b"\n\n", "jsonl"),
        ("long", b'{"text": "' + b"x" * 99_999 + b'"}\n' + LINES, "jsonl"),
        ("a.WARC", b"no record", "warc"),
        ("a", b"WARC/1.0\r\n", "warc"),
        ("a.txt", b"a\x0cform feed, \x1b[1mcolour\x1b[0m, a NUL: \0.\n" * 3, "text"),
        # The text of another script, in an encoding of one byte a letter.
        ("a.txt", bytes(range(0xC0, 0x100)) * 9, "text"),
    ],
)  # fmt: skip
def test_kind_is_the_contents_and_then_the_names(tmp_path, name, content, kind):
    assert file_kinds.kind_of(write(tmp_path, name, content)) == kind


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "PDF"),
        (b"%!PS-Adobe-3.0\n", "PostScript"),
        (b"{\\rtf1\\ansi text}", "RTF"),
        (b"PK\x03\x04\x14\x06\x08mimetypeapplication/epub+zip", "unpack it"),
        (b"7z\xbc\xaf\x27\x1c\x04", "unpack it"),
        (b"\xff\xd8\xff\xe1JFIF", "neither"),
        (b"GIF89a", "neither"),
        (b"notes.txt".ljust(257, b" ") + b"ustar  ", "unpack it"),
        (b"\x7fELF\x02\x01\x01\x03" * 20, "neither"),
        # Numbers, none of them 0.
        (bytes(range(1, 256)) * 9, "neither"),
        (b"notes" + b"\0" * 600, "neither"),
        (gzip.compress(b"PAR1" + b"x" * 99, mtime=0), "compressed as a whole"),
        (zstd.compress(b"WARC/1.0\r\n"), "recompress it with gzip"),
    ],
)
def test_what_is_no_text_is_ignored_with_a_note(tmp_path, content, word):
    texts, counts = read(write(tmp_path, "a.txt", content))

    assert texts == []
    assert word in counts.note


def test_values_are_counted_one_by_one(tmp_path):
    content = b'[{"text": "a"}, {"text": 1}, {"text": "b" oops}, "c", {"text": "' + (
        b"x" * 99 + b'"}, {"text": "d"}]'
    )

    texts, counts = read(write(tmp_path, "a.json", content), max_record_bytes=50)

    assert texts == ["a", "d"]
    assert counts.dropped == {"no_text_field": 2, "bad_json": 1, "record_too_large": 1}
    assert not counts.truncated


@pytest.mark.parametrize("end", [1, 10, len(ARRAY) // 2])
def test_cut_array_keeps_what_is_whole_and_is_counted(tmp_path, end):
    texts, counts = read(write(tmp_path, "a.json", ARRAY[:-end]))

    assert texts == TEXTS[: len(texts)] and len(texts) >= 15
    assert counts.truncated


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("content", [ARRAY, PRETTY, PRETTY_OBJECTS, LINES])
def test_values_do_not_depend_on_where_the_file_is_cut_into_chunks(content, size):
    chunks = [content[i : i + size] for i in range(0, len(content), size)]

    values = [json.loads(value) for value in json_values.split(chunks, 1 << 20)]

    assert values == OBJECTS


def write_parquet(path, columns, **options):
    parquet.write_table(pyarrow.table(columns), path, **options)
    return path


@pytest.mark.parametrize("codec", ["snappy", "zstd", "gzip", "none"])
def test_parquet_is_read_by_its_fields(tmp_path, codec):
    urls = [None, *("http://example.org/" for _ in TEXTS[1:])]
    path = write_parquet(
        tmp_path / "part-0.c000",
        {"url": urls, "body": TEXTS, "n": range(len(TEXTS))},
        compression=codec,
        row_group_size=7,
    )
    counts, advanced = counts_lib.Counts(), []
    source = readers.Source(
        *(path, "a", prep.Prep(jsonl_text_field="body"), counts, advanced.append)
    )

    found = list(readers.read_documents(source))

    assert [document.text for document in found] == TEXTS
    assert [document.url for document in found[:2]] == ["", "http://example.org/"]
    assert len({document.id for document in found}) == len(TEXTS)
    assert sum(advanced) == path.stat().st_size


@pytest.mark.parametrize(
    ("columns", "texts", "dropped"),
    [
        ({"text": ["a", None, "x" * 99, "b"]}, ["a", "b"],
         {"no_text_field": 1, "record_too_large": 1}),
        ({"text": [1, 2]}, [], {"no_text_field": 2}),
        ({"text": [{"a": "b"}]}, [], {"no_text_field": 1}),
        ({"other": ["a", "b"]}, [], {"no_text_field": 2}),
        ({"text": pyarrow.array([], pyarrow.string())}, [], {}),
    ],
)  # fmt: skip
def test_row_without_a_text_is_counted(tmp_path, columns, texts, dropped):
    path = write_parquet(tmp_path / "a.parquet", columns)

    found, counts = read(path, max_record_bytes=50)

    assert (found, counts.dropped) == (texts, dropped)


@pytest.mark.parametrize("damage", ["cut", "flipped", "bomb"])
def test_damaged_parquet_is_counted(tmp_path, damage):
    texts = ["the same text " * 1_000] * 20_000 if damage == "bomb" else TEXTS
    path = write_parquet(tmp_path / "a.parquet", {"text": texts}, row_group_size=9_000)
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-20])
    elif damage == "flipped":
        path.write_bytes(content[:20] + b"\xff" * 99 + content[119:])

    size, counts = 0, counts_lib.Counts()
    source = readers.Source(path, "a", prep.Prep(), counts, lambda _: None)
    for document in readers.read_documents(source):
        size += len(document.text)

    assert counts.damaged == 1
    assert size <= 50 * path.stat().st_size + (4 << 20)


def test_parquet_without_pyarrow_is_refused_with_what_to_install(tmp_path, monkeypatch):
    path = write_parquet(tmp_path / "a.parquet", {"text": TEXTS})
    # As if it were not installed, which it is here.
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(errors.UsageError, match=r"lmcodistill\[parquet\]"):
        read(path)


def test_advice_for_json_without_the_field_names_the_field():
    counts = counts_lib.Counts()
    counts.drop("no_text_field")
    result = extract.Extracted("a.json", 1, "0" * 64, counts, None, ())

    message = report.nothing_kept([result])

    assert "jsonl_text_field" in message and "LANGUAGE" not in message
