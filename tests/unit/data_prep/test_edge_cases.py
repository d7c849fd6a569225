"""Real archives with known oddities, each with what must become of it."""

import pathlib

import pytest

from data_prep import counts as counts_lib
from data_prep.reading import readers
from data_prep.rules import languages
from lmcodistill.settings import prep

SHARED = pathlib.Path(__file__).resolve().parents[3] / "../shared/data"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="../shared/data is not beside this checkout"
)

# File, pages found, pages dropped by the reader, damaged places, whether it is cut.
OUTCOMES = (
    # One gzip member for all six records.
    ("edge-cases/example-bad.warc.gz.bad", 1, 2, 0, False),
    # The header says `chunked`; the page is not.
    ("edge-cases/example-bad-non-chunked.warc.gz", 1, 1, 0, False),
    ("edge-cases/example-wrong-chunks.warc.gz", 1, 0, 0, False),
    ("edge-cases/example-iana.org-chunked.warc", 1, 0, 0, False),
    # Its length reaches beyond the record, into the next ones.
    ("edge-cases/example-trunc.warc", 0, 0, 1, False),
    ("edge-cases/example.warc", 1, 1, 0, False),
    ("edge-cases/example.warc.gz", 1, 1, 0, False),
    ("edge-cases/example-digest.warc", 0, 0, 0, False),
    ("edge-cases/example-resource.warc.gz", 1, 0, 0, False),
    ("edge-cases/example-space-in-target-uri.warc.gz", 0, 1, 0, False),
    ("edge-cases/example-wget-bad-target-uri.warc.gz", 1, 2, 0, False),
    ("edge-cases/example.arc.gz", 0, 0, 0, False),
    ("edge-cases/hello-world.warc.gz", 1, 2, 0, False),
    ("edge-cases/jwarc-cc.warc.gz", 1, 0, 0, False),
    ("edge-cases/post-test.warc.gz", 0, 3, 0, False),
    ("commoncrawl-2020/warcfile.warc.gz", 16, 0, 0, False),
    # FastWARC and warcio end it without an error; FastWARC hands out the record.
    ("commoncrawl-2020/clipped.warc.gz", 0, 0, 0, True),
    ("commoncrawl-2020/block-sized-records.warc.gz", 0, 3, 0, False),
    ("commoncrawl-whirlwind/whirlwind.warc.gz", 1, 0, 0, False),
    ("commoncrawl-whirlwind/whirlwind.warc.wet.gz", 1, 0, 0, False),
    ("commoncrawl-whirlwind/whirlwind.warc.wat.gz", 0, 0, 0, False),
    ("dc-law/dc-law.warc.gz", 1_566, 0, 0, False),
    ("dolma-2024/sample-0000.warc.gz", 22, 2, 0, False),
    ("internetarchive-2008/example.warc.gz", 130, 169, 0, False),
)


def read(name):
    path = SHARED / f"warc-{name}"
    counts, found = counts_lib.Counts(), []
    for document in readers.read_documents(
        readers.Source(path, path.name, prep.Prep(), counts, lambda _: None)
    ):
        counts.keep(len(document.text), "")
        found.append(document)
    return found, counts


@needs_shared
@pytest.mark.parametrize(("name", "pages", "dropped", "damaged", "is_cut"), OUTCOMES)
def test_every_known_oddity_has_its_outcome(name, pages, dropped, damaged, is_cut):
    found, counts = read(name)

    assert len(found) == pages
    assert counts.dropped.total() == dropped
    assert (counts.damaged, counts.truncated) == (damaged, is_cut)


@needs_shared
def test_table_names_every_archive_there_is():
    there = {path.relative_to(SHARED) for path in SHARED.glob("warc-*/*arc*")}

    assert {f"warc-{name}" for name, *_ in OUTCOMES} == set(map(str, there))


@needs_shared
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "commoncrawl-whirlwind/whirlwind.warc.wat.gz",
            ("WAT", "give the WET or WARC"),
        ),
        ("edge-cases/example.arc.gz", ("ARC file", "warcio recompress")),
        ("edge-cases/example-digest.warc", ("no page", "4 request")),
    ],
)
def test_archive_without_pages_has_a_sentence_that_says_so(name, words):
    found, counts = read(name)

    assert found == []
    assert all(word in counts.note for word in words)


@needs_shared
def test_lists_of_names_of_2008_stay_english():
    found, _ = read("internetarchive-2008/example.warc.gz")

    long = [document.text for document in found if len(document.text) >= 500]
    english = sum(languages.identify(text)[0] == "eng" for text in long)
    assert len(long) > 60
    assert english >= 0.97 * len(long)
