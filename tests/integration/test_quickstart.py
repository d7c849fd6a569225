"""The quick start's corpus, made for real; the whole of it is run by hand."""

import gzip
import hashlib
import re
import subprocess
import sys
import zlib

import pytest

from data_prep import counts as counts_lib
from data_prep.reading import readers
from lmcodistill.quickstart import corpus as corpus_maker
from lmcodistill.quickstart import results
from lmcodistill.settings import prep

MIN_BYTES_OF_TEXT = 400_000


@pytest.fixture(scope="module")
def corpus(root, tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "corpus.warc.wet.gz"
    command = [
        sys.executable,
        "-m",
        "lmcodistill.quickstart.corpus",
        "--output",
        str(path),
    ]
    subprocess.run(command, check=True, cwd=root)
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


def test_same_python_writes_the_same_bytes(corpus):
    again = corpus_maker.wet_file(list(corpus_maker.pages()), corpus.name)

    assert (
        hashlib.sha256(again).hexdigest()
        == hashlib.sha256(corpus.read_bytes()).hexdigest()
    )


def test_prep_reads_every_page_as_english(corpus):
    counted = counts_lib.Counts()
    found = list(
        readers.read_documents(
            readers.Source(corpus, corpus.name, prep.Prep(), counted, lambda size: None)
        )
    )
    records = gzip.decompress(corpus.read_bytes()).count(b"WARC-Type: conversion")

    assert len(found) == records > 70
    assert {page.language for page in found} == {"eng"}
    assert len({page.url for page in found}) == len(found)
    assert not (counted.truncated or counted.damaged or counted.dropped)
    assert sum(len(page.text.encode()) for page in found) > MIN_BYTES_OF_TEXT


def test_tables_and_indentation_become_lines_of_words():
    assert (
        corpus_maker.as_fetched("\n  a   b\n  +----+\n\n   | c |  \n") == "a b\n\n| c |"
    )


def outcome_of(student, plain):
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

    return results.Measured(
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
def test_verdict_follows_the_numbers_whichever_way(student, plain, word, steps):
    said = results.verdict(outcome_of(student, plain))

    assert said[0].startswith(word)
    assert said[1].startswith("No difference: ")
    assert steps in said[2]
    assert "2.5 times the work" in said[3]
