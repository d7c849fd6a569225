"""The quick start's corpus, made for real; the whole of it is run by hand."""

import gzip
import hashlib
import importlib.util
import re
import subprocess
import sys
import zlib

import pytest

from data_prep import counts as counts_lib
from data_prep.reading import readers
from lmcodistill.settings import prep

MIN_BYTES_OF_TEXT = 1_500_000


def load(root, name):
    """Imports a program of tools/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, root / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def corpus(root, tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.warc.wet.gz"
    program = str(root / "tools" / "quickstart_corpus.py")
    subprocess.run([sys.executable, program, "--output", str(path)], check=True)
    return path


def members(content):
    """Yields the gzip members of a file, each decompressed by itself."""
    while content:
        member = zlib.decompressobj(wbits=31)
        yield member.decompress(content)
        assert member.eof
        content = member.unused_data


def test_corpus_is_one_gzip_member_per_record_with_true_lengths(corpus):
    records = list(members(corpus.read_bytes()))

    assert b"WARC-Type: warcinfo" in records[0]
    assert all(b"WARC-Type: conversion" in record for record in records[1:])
    for record in records:
        head, _, rest = record.partition(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])
        assert head.startswith(b"WARC/1.0\r\n")
        assert rest[length:] == b"\r\n\r\n"


def test_same_python_writes_the_same_bytes(root, corpus):
    maker = load(root, "quickstart_corpus")
    again = maker.wet_file(list(maker.pages()), corpus.name)

    assert (
        hashlib.sha256(again).hexdigest()
        == hashlib.sha256(corpus.read_bytes()).hexdigest()
    )


def test_prep_reads_every_page_as_english(corpus):
    counted = counts_lib.Counts()
    found = list(
        readers.read_documents(
            corpus, corpus.name, prep.Prep(), counted, lambda size: None
        )
    )
    records = gzip.decompress(corpus.read_bytes()).count(b"WARC-Type: conversion")

    assert len(found) == records > 200
    assert {page.language for page in found} == {"eng"}
    assert len({page.url for page in found}) == len(found)
    assert not (counted.truncated or counted.damaged or counted.dropped)
    assert sum(len(page.text.encode()) for page in found) > MIN_BYTES_OF_TEXT


def test_docstrings_are_those_of_module_classes_and_functions(root):
    maker = load(root, "quickstart_corpus")
    source = b'''"""A module."""
class Box:
    """Holds things."""
    def open(self):
        """Opens it."""
        def inner():
            """Not an interface, but text."""
    def undocumented(self): pass
'''

    assert maker.docstrings("boxes", source) == (
        "boxes\n\nA module.\n\nBox: Holds things.\n\nBox.open: Opens it.\n\n"
        "Box.open.inner: Not an interface, but text."
    )
    assert maker.docstrings("broken", b"def (:") == ""


def test_tables_and_indentation_become_lines_of_words(root):
    maker = load(root, "quickstart_corpus")

    assert maker.as_fetched("\n  a   b\n  +----+\n\n   | c |  \n") == "a b\n\n| c |"


def outcome_of(root, student, plain):
    results = load(root, "quickstart_results")

    def scored(value):
        return {
            "steps": [10],
            "cross_entropy": value,
            "perplexity_per_token": 100.0,
            "bits_per_byte": 2.0,
        }

    def reported(*values):
        return [
            {"kind": "validation", "step": 5 * i + 5, "cross_entropy": value}
            for i, value in enumerate(values)
        ]

    return results, results.Outcome(
        two=[scored(student), scored(student), scored(student)],
        plain=scored(plain),
        two_cost=results.Cost(20.0, 40.0),
        plain_cost=results.Cost(10.0, 16.0),
        two_reports=[reported(4.4, student)] * 2,
        plain_reports=reported(4.6, plain),
    )


@pytest.mark.parametrize(
    ("student", "plain", "word", "steps"),
    [
        (4.0, 4.5, "Better: ", "at step 5 where the plain student was at step 10"),
        (4.5, 4.0, "Worse: ", "never came down"),
        (4.0, 4.01, "No difference: ", "at step 10 where"),
        (4.01, 4.0, "No difference: ", "never came down"),
    ],
)
def test_verdict_follows_the_numbers_whichever_way(root, student, plain, word, steps):
    results, outcome = outcome_of(root, student, plain)
    said = results.verdict(outcome)

    assert said[0].startswith(word)
    assert said[1].startswith("No difference: ")
    assert steps in said[2]
    assert "2.5 times the work" in said[3]
