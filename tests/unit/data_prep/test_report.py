"""The report as a page."""

import collections
import copy
import html.parser

import pytest

from data_prep import counts as counts_lib
from data_prep import profile
from data_prep.reports import page as page_lib
from data_prep.reports import report as report_lib
from data_prep.rules import extract
from lmcodistill import errors

SPLIT = {
    "documents": 4,
    "tokens": 104,
    "words": 80,
    "bytes": 410,
    "unknown": 0,
    "inexact": 0,
    "bytes_per_token": 4.1,
}
LINE = {
    "name": "a.wet.gz",
    "bytes": 1_000,
    "read": 10,
    "kept": 4,
    "dropped": {"too_few_words": 4, "duplicate": 2},
    "note": "",
    "truncated": False,
    "damaged": 0,
    "encodings": {},
    "replaced": 0,
}
REPORT = {
    "total": {
        "read": 10,
        "kept": 4,
        "dropped": {"too_few_words": 3, "near_duplicate": 2, "duplicate": 1},
        "files": 1,
        "bytes": 1_000,
        "damaged_files": 0,
        "truncated_files": 0,
        "recoded_files": 0,
        "ignored_files": 0,
        "languages_found": {"eng": 8, "not looked at": 2},
        "lengths": [{"least": 64, "below": 91, "documents": 7}],
        "hosts": {"example.org": 5, "a.org": 2},
    },
    "files": [LINE],
    "splits": {"train-00000-of-00001": SPLIT, "validation": SPLIT},
    "vocabulary": {
        "type": "unigram",
        "size": 300,
        "fingerprint": "f" * 64,
        "sample": {"documents": 4, "bytes": 410},
    },
    "settings": {"Prep": {"seed": 0}},
    "timings": {"seconds": {"read": 2.0}, "cpu_seconds": {"read": 3.5}},
}


class _Page(html.parser.HTMLParser):
    """What a browser would see: tags, and the text of the page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + "|"


def changed(**total):
    report = copy.deepcopy(REPORT)
    report["total"].update(total)
    return report


def test_page_is_well_formed_and_loads_nothing_from_anywhere():
    page = page_lib.render(REPORT)

    seen = _Page(page)
    assert seen.open == []
    assert not {"script", "link", "img", "iframe"} & set(seen.tags)
    assert "http" not in page and "url(" not in page


def test_page_tells_what_was_kept_dropped_and_why():
    text = _Page(page_lib.render(REPORT)).text

    assert "4 of 10 documents kept (40.0%)" in text
    assert "too_few_words|3|30.0%" in text
    assert "3 of the 7 documents that passed the rules went as copies" in text
    assert "equal to another, but for case and white space|1|14.3%" in text
    assert "near copy of another|2|28.6%" in text


def test_page_tells_lengths_languages_hosts_compression_and_time():
    text = _Page(page_lib.render(REPORT)).text

    assert "7 documents of 64 to 90 bytes" in text
    assert "eng|8|80.0%" in text
    assert "example.org|5|71.4%" in text
    assert "validation|4.100" in text
    assert "read|2.0|3.5" in text


def test_languages_beyond_the_most_frequent_are_added_up():
    many = {f"l{i:02d}": 100 - i for i in range(20)}

    text = _Page(page_lib.render(changed(languages_found=many, read=2_000))).text

    assert "l14|86" in text and "l15" not in text
    assert f"5 others|{sum(100 - i for i in range(15, 20))}" in text


def test_files_in_trouble_come_first_and_the_rest_is_limited(monkeypatch):
    monkeypatch.setattr(page_lib, "_MAX_FILES", 2)
    report = changed(truncated_files=1)
    report["files"] = [
        {**LINE, "name": "first.gz"},
        {**LINE, "name": "second.gz"},
        {**LINE, "name": "third.gz", "truncated": True, "damaged": 3},
    ]

    text = _Page(page_lib.render(report)).text

    assert "1 truncated file(s): see below." in text
    assert text.index("third.gz") < text.index("first.gz")
    assert "truncated; damaged x3" in text
    assert "second.gz" not in text and "1 more are in report.json" in text


@pytest.mark.parametrize(
    "change",
    [
        lambda r, bad: r["files"][0].update(name=bad, note=bad),
        lambda r, bad: r["total"].update(dropped={bad: 1}),
        lambda r, bad: r["total"].update(languages_found={bad: 1}),
        lambda r, bad: r["total"].update(hosts={bad: 1}),
        lambda r, bad: r["settings"].update({bad: {bad: bad}}),
        lambda r, bad: r["splits"].update({bad: SPLIT}),
    ],
)
def test_page_escapes_whatever_comes_from_outside(change):
    report = copy.deepcopy(REPORT)
    before = _Page(page_lib.render(report)).tags

    change(report, "<script>alert(1)</script><b onclick='x'>&\"")

    page = page_lib.render(report)
    assert "<script" not in page and "<b" not in page.replace("<body", "")
    assert "script" not in _Page(page).tags and "b" not in before


def test_report_of_nothing_can_be_shown():
    report = changed(
        read=0, kept=0, dropped={}, languages_found={}, lengths=[], hosts={}
    )
    report["splits"] = {"validation": {**SPLIT, "tokens": 0, "bytes_per_token": None}}
    report["timings"] = {"seconds": {}, "cpu_seconds": {}}

    assert "0 of 0 documents kept" in _Page(page_lib.render(report)).text


def extracted(**fields):
    counts = counts_lib.Counts(read=9, kept=9)
    for name, value in fields.items():
        setattr(counts, name, value)
    return extract.Extracted("a.txt", 100, "ab", counts, profile.Profile(), ())


def test_text_in_another_encoding_is_said_and_costs_a_strict_run():
    result = extracted(
        encodings=collections.Counter({"windows-1252": 40, "shift_jis": 2}), replaced=3
    )

    assert report_lib.warnings_of(result) == [
        "a.txt is not all UTF-8; lines were read as what they look like: 40 as "
        "windows-1252, 2 as shift_jis",
        "a.txt has 3 place(s) that are no text; U+FFFD stands there now",
    ]
    lines = [report_lib.file_line(x, {}) for x in (extracted(), result)]
    with pytest.raises(errors.DataError, match=r"1 of 2 .* not in UTF-8 \(a\.txt\)"):
        report_lib.refuse_damage(lines)
    report_lib.refuse_damage(lines[:1])


def test_page_says_what_text_was_read_as():
    report = changed(recoded_files=1)
    report["files"] = [{**LINE, "encodings": {"windows-1252": 40}, "replaced": 3}]

    text = _Page(page_lib.render(report)).text

    assert "1 file(s) that are not UTF-8: see below." in text
    assert "40 lines read as windows-1252; 3 x U+FFFD" in text
