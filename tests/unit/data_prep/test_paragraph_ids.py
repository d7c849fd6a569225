"""Exactly the listed paragraphs are kept, and what was not found is counted."""

import collections
import json
import pathlib
import subprocess
import sys

import pytest

from data_prep import counts as counts_lib
from data_prep import documents, work
from data_prep.reading import readers
from data_prep.rules import extract, paragraph_ids
from lmcodistill import errors
from lmcodistill.settings import filtering, paragraphs, prep
from tests.support import crawl, paragraph_lists
from tools.corpora import paragraph_list

ROOT = pathlib.Path(__file__).resolve().parents[3]
WHIRLWIND = (
    ROOT / "../shared/data/warc-commoncrawl-whirlwind/whirlwind.warc.wet.gz"
).resolve()
SETTINGS = paragraphs.ParagraphList(sha256="0" * 64)
BODIES = [
    b"One.\nTwo is a longer line.\n\nThree.",
    b"\nFour is also a long line.\n   \nFive.\nSix.\n",
    b"",
    "Sev\u00e9n.\r\nEight comes behind.".encode(),
]
# As they are counted: six lines with text, two pages without.
TEXTS = [
    "One.",
    "Two is a longer line.",
    "Three.",
    "Four is also a long line.",
    "Five.",
    "Six.",
    "Sev\u00e9n.",
    "Eight comes behind.",
]


def wet_of(path, bodies, language="eng"):
    members = [
        crawl.member(crawl.record("conversion", body, url=f"u{i}", language=language))
        for i, body in enumerate(bodies)
    ]
    path.write_bytes(b"".join(members))
    return path


def keep(tmp_path, sources, listed, settings=SETTINGS):
    """Returns the kept texts and the counts of each source."""
    folder = work.WorkFolder(tmp_path / "work")
    folder.make()
    plan = {"inputs": [{"name": path.name} for path in sources]}
    folder.plan.write_text(json.dumps(plan))
    index = paragraph_ids.IndexTask(listed, folder.root)
    paragraph_ids.index(index, lambda _: None)
    found = []
    for number, path in enumerate(sources):
        task = extract.ReadTask(
            file=number,
            path=path,
            source=path.name,
            root=folder.root,
            settings=prep.Prep(),
            rules=filtering.Rules(),
            kind="paragraph_list",
            paragraphs=settings,
        )
        extract.extract(task, lambda _: None)
        done = extract.read_result(folder, number)
        texts = [
            documents.Document.from_json(line).text
            for part in done.parts
            for line in work.json_lines(folder.documents(part))
        ]
        found.append((texts, done.counts))
    return found


def listed(tmp_path, text):
    path = tmp_path / "list.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("ids", [[0], [7], [1, 3], [0, 1, 2], [2, 4, 5, 6], range(8)])
def test_the_listed_paragraphs_are_kept_and_no_other(tmp_path, ids):
    path = wet_of(tmp_path / "a.warc.wet.gz", BODIES)
    encoded = paragraph_lists.encode(ids)

    ((texts, counts),) = keep(tmp_path, [path], listed(tmp_path, f"a.wet,{encoded}"))

    assert "\n".join(texts).split("\n") == [TEXTS[i] for i in ids]
    assert counts.paragraphs == {"found": len(ids), "not_found": 0}
    assert counts.read == 4
    assert counts.dropped == {"not_in_paragraph_list": 4 - len(texts)}


@pytest.mark.parametrize(
    ("reading", "first_id", "encoded", "kept"),
    [
        ("non_blank_lines", 1, "2 6", [TEXTS[1], TEXTS[7]]),
        ("lines", 0, "0 1 2", ["One.\nTwo is a longer line.\nThree."]),
        ("lines", 0, "2", []),
        ("lines", 0, "7 1", ["Six.", "Sev\u00e9n."]),
        ("blocks", 0, "0 2", ["One.\nTwo is a longer line.", TEXTS[3]]),
        ("blocks", 1, "1 1", ["One.\nTwo is a longer line.\n\nThree."]),
    ],
)
def test_paragraphs_are_counted_as_the_settings_say(
    tmp_path, reading, first_id, encoded, kept
):
    path = wet_of(tmp_path / "a.warc.wet.gz", BODIES)
    settings = paragraphs.ParagraphList("0" * 64, first_id, reading)

    ((texts, _),) = keep(tmp_path, [path], listed(tmp_path, f"a,{encoded}"), settings)

    assert texts == kept


def test_listed_paragraphs_that_are_not_there_are_counted(tmp_path):
    path = wet_of(tmp_path / "a.warc.wet.gz", BODIES)

    ((texts, counts),) = keep(tmp_path, [path], listed(tmp_path, "a,7 1 100"))

    assert texts == ["Eight comes behind."]
    assert counts.paragraphs == {"found": 1, "not_found": 2}


def test_a_file_without_a_row_keeps_nothing(tmp_path):
    one = wet_of(tmp_path / "a.warc.wet.gz", BODIES)
    other = wet_of(tmp_path / "b.warc.wet.gz", BODIES)

    found = keep(tmp_path, [one, other], listed(tmp_path, "a,0"))

    assert [texts for texts, _ in found] == [["One."], []]
    assert found[1][1].dropped == {"not_in_paragraph_list": 4}


def test_rows_of_one_file_come_together(tmp_path):
    path = wet_of(tmp_path / "a.warc.wet.gz", BODIES)

    ((texts, counts),) = keep(tmp_path, [path], listed(tmp_path, "a,7\nb,3\na,0 7"))

    assert texts == ["One.", "Eight comes behind."]
    assert counts.paragraphs["found"] == 2


@pytest.mark.parametrize(
    "name",
    [
        "CC-1-00000.warc.wet.gz",
        "CC-1-00000.warc.gz",
        "CC-1-00000",
        "crawl-data/CC-MAIN-2017-26/segments/1/wet/CC-1-00000.warc.wet.gz",
        "https://commoncrawl.s3.amazonaws.com/x/CC-1-00000.warc.wet.gz",
        "..\\..\\CC-1-00000.wet",
    ],
)
def test_a_file_is_known_by_the_last_part_of_its_name(name):
    assert paragraph_ids.key_of(name) == "CC-1-00000"


def test_behind_a_lost_record_the_numbers_are_unknown(tmp_path):
    path = wet_of(tmp_path / "a.warc.wet.gz", BODIES[:1])
    broken = bytearray(crawl.member(crawl.record("conversion", b"Lost.", url="x")))
    broken[30:60] = bytes(30)
    rest = wet_of(tmp_path / "rest", BODIES[3:]).read_bytes()
    path.write_bytes(path.read_bytes() + bytes(broken) + rest)

    ((texts, counts),) = keep(
        tmp_path, [path], listed(tmp_path, "a," + " ".join("0111111"))
    )

    assert counts.damaged == 1
    assert texts == ["One.\nTwo is a longer line.\nThree."]
    assert counts.dropped == {"paragraph_number_unknown": 1}


def test_a_list_for_other_files_is_an_error_that_shows_both_names(tmp_path):
    path = wet_of(tmp_path / "a.warc.wet.gz", BODIES)

    with pytest.raises(errors.DataError, match=r"a\.warc\.wet\.gz.*such as 'other'"):
        keep(tmp_path, [path], listed(tmp_path, "other,1"))

    assert not (tmp_path / "work" / "paragraphs").exists()


def test_a_list_made_by_a_rule_gives_what_the_rule_chose(tmp_path):
    wets = []
    for number in range(2):
        path = tmp_path / f"{number}.warc.wet.gz"
        pages = crawl.wet(range(9 * number, 9 * number + 9))
        path.write_bytes(b"".join(pages) + wet_of(tmp_path / "x", BODIES).read_bytes())
        wets.append(path)
    rule = paragraph_list.is_long(5)
    paragraph_list.write(tmp_path / "list.tar.bz2", wets, rule, SETTINGS)

    found = keep(tmp_path, wets, tmp_path / "list.tar.bz2")

    for path, (texts, counts) in zip(wets, found, strict=True):
        pages = readers.read_documents(
            readers.Source(path, "", prep.Prep(), counts_lib.Counts(), lambda _: None)
        )
        lines = [line for page in pages for line in page.text.split("\n")]
        chosen = [line for line in lines if len(line.split()) >= 5]
        assert "\n".join(texts).split("\n") == chosen
        assert len(chosen) > 100
        assert counts.paragraphs == {"found": len(chosen), "not_found": 0}


@pytest.mark.skipif(not WHIRLWIND.exists(), reason="no ../shared/data here")
def test_a_list_of_a_real_wet_file_gives_its_paragraphs(tmp_path):
    command = [sys.executable, "-m", "tools.corpora.paragraph_list"]
    command += [str(WHIRLWIND), "--output", str(tmp_path / "list.tar.bz2")]
    command += ["--language", "spa", "--min_words", "8"]
    subprocess.run(command, check=True, cwd=ROOT)

    ((texts, counts),) = keep(tmp_path, [WHIRLWIND], tmp_path / "list.tar.bz2")

    lines = texts[0].split("\n")
    assert min(len(line.split()) for line in lines) >= 8
    assert counts.paragraphs == {"found": len(lines), "not_found": 0}
    assert len(lines) >= 5


def test_an_index_that_was_cut_short_is_made_anew(tmp_path):
    path = wet_of(tmp_path / "a.warc.wet.gz", BODIES)
    (tmp_path / "work" / ".paragraphs.x.partial").mkdir(parents=True)
    source = listed(tmp_path, "a,0")

    for _ in range(2):  # The second time it is there already.
        ((texts, _),) = keep(tmp_path, [path], source)

    assert texts == ["One."]


def test_the_digest_of_the_list_is_part_of_the_settings(tmp_path):
    path = listed(tmp_path, "a,0")

    settings = paragraph_ids.with_digest(paragraphs.ParagraphList(), str(path))

    assert len(settings.sha256) == 64
    assert paragraph_ids.with_digest(settings, str(path)) == settings
    with pytest.raises(errors.DataError, match="SHA-256"):
        paragraph_ids.with_digest(SETTINGS, str(path))
    with pytest.raises(errors.UsageError, match="--paragraph_ids"):
        paragraph_ids.with_digest(SETTINGS, "")
    with pytest.raises(errors.UsageError, match="is not a file"):
        paragraph_ids.with_digest(SETTINGS, str(tmp_path))


def test_counts_of_paragraphs_survive_the_commit_file():
    counts = counts_lib.Counts(paragraphs=collections.Counter(found=2, not_found=0))

    assert counts_lib.Counts.from_json(counts.to_json()) == counts
