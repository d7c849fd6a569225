"""prep with near copies and shared lines searched, as a function of files."""

import dataclasses
import gzip
import json
import pathlib
import random

import pytest

from data_prep import work
from data_prep.reading import inputs
from lmcodistill.data import shards
from lmcodistill.settings import deduplication
from tests.integration import test_prep
from tests.support import crawl

WORDS = [f"word{i}" for i in range(3_000)]
NEAR = deduplication.Deduplication(near=True)


def page(seed):
    """Returns a page of 12 sentences, no two pages alike."""
    chosen = random.Random(seed)
    return "\n".join(
        f"The {' '.join(chosen.choices(WORDS, k=12))} and it is that."
        for _ in range(12)
    )


def wet(texts, is_part_of):
    info = crawl.record("warcinfo", f"isPartOf: {is_part_of}\r\n".encode(), url="i")
    records = [
        crawl.record("conversion", text.encode(), url=f"http://a/{i}", language="eng")
        for i, text in enumerate(texts)
    ]
    return b"".join(map(crawl.member, [info, *records]))


@pytest.fixture
def copies_folder(tmp_path):
    """Two crawls: 40 pages; 10 equal copies and 10 near copies of them, 10 more."""
    folder = tmp_path / "crawl"
    folder.mkdir()
    pages = [page(i) for i in range(50)]
    near = [text.replace("\nThe", "\nSo the", 1) for text in pages[10:20]]
    first = [*pages[:40], near[0]]
    second = [*pages[:10], *near, *pages[40:]]
    (folder / "a.warc.wet.gz").write_bytes(wet(first, "CC-MAIN-2024-22"))
    (folder / "b.warc.wet.gz").write_bytes(wet(second, "CC-MAIN-2024-26"))
    return folder


def prep(folder, output, chosen, num_workers=1):
    settings = dataclasses.replace(test_prep.settings(), deduplication=chosen)
    sources = inputs.find([str(folder)]).files
    return test_prep.run_pipeline(sources, output, settings, num_workers)


def test_near_copies_go_with_a_reason_of_their_own(copies_folder, tmp_path):
    report = prep(copies_folder, tmp_path / "data", NEAR)

    # near[0] is in both crawls: of the three versions of its page, one stays.
    assert report["total"]["dropped"] == {"duplicate": 11, "near_duplicate": 10}
    assert report["total"]["kept"] == 50
    for line in (report["total"], *report["files"]):
        assert line["read"] == line["kept"] + sum(line["dropped"].values())
    kept = []
    for path in (tmp_path / "data" / "documents").iterdir():
        with gzip.open(path, "rt", encoding="utf-8") as file:
            kept += [json.loads(line)["id"] for line in file]
    assert len(set(kept)) == len(kept) == 50


def test_exact_comparison_alone_keeps_near_copies(copies_folder, tmp_path):
    report = prep(copies_folder, tmp_path / "data", deduplication.Deduplication())

    assert report["total"]["dropped"] == {"duplicate": 11}


def test_scope_of_a_crawl_compares_each_crawl_alone(copies_folder, tmp_path):
    chosen = dataclasses.replace(NEAR, scope="crawl")

    report = prep(copies_folder, tmp_path / "data", chosen)

    assert report["total"]["dropped"] == {"near_duplicate": 1}


def test_workers_parts_and_memory_change_no_byte_of_the_shards(
    copies_folder, tmp_path, monkeypatch
):
    chosen = dataclasses.replace(NEAR, line_group_files=2)
    prep(copies_folder, tmp_path / "one", chosen)
    prep(copies_folder, tmp_path / "two", chosen, num_workers=2)
    monkeypatch.setattr("data_prep.rules.extract.PART_BYTES", 5_000)
    monkeypatch.setattr("data_prep.duplicates.copies._BUCKET_BYTES", 2_000)
    monkeypatch.setattr("data_prep.duplicates.copies._PARTS_PER_FILE", 2)
    monkeypatch.setattr("data_prep.duplicates.copies._MEMORY_PER_BLOCK_BYTE", 10_000)
    prep(copies_folder, tmp_path / "parts", chosen)

    one, parts = (test_prep.digests(tmp_path / name) for name in ("one", "parts"))
    assert test_prep.digests(tmp_path / "two") == one
    shards = {name for name in one if name.endswith(".tokens")}
    assert shards == {name for name in parts if name.endswith(".tokens")}
    assert {name: one[name] for name in shards} == {
        name: parts[name] for name in shards
    }


def test_shared_lines_go_and_what_is_left_is_what_the_shards_hold(tmp_path):
    folder = tmp_path / "crawl"
    folder.mkdir()
    notice = page("notice")
    texts = [f"{notice}\n{page(i)}" for i in range(20)]
    texts += [f"{notice}\nOnly this line is new on page {i}." for i in range(5)]
    (folder / "a.warc.wet.gz").write_bytes(wet(texts, "CC-MAIN-2024-22"))
    chosen = deduplication.Deduplication(line_group_files=1)

    report = prep(folder, tmp_path / "data", chosen)

    splits = test_prep.texts_of(shards.ShardSet(tmp_path / "data"))
    together = [text for texts in splits.values() for text in texts]
    # The page with the lowest id keeps the notice, as it is a long one.
    [keeper] = [text for text in together if notice in text]
    assert keeper in texts[:20]
    without_notice = [text.removeprefix(f"{notice}\n") for text in together]
    assert sorted(without_notice) == sorted(map(page, range(20)))
    assert report["total"]["dropped"] == {"duplicate_lines": 5}
    assert report["total"]["kept"] == len(together) == 20


def test_settings_of_the_comparison_cost_no_second_reading(copies_folder, tmp_path):
    output = tmp_path / "data"
    broken = test_prep.settings()
    broken = dataclasses.replace(
        broken, vocabulary=dataclasses.replace(broken.vocabulary, size=60_000)
    )
    sources = inputs.find([str(copies_folder)]).files
    with pytest.raises(Exception, match="VOCAB_SIZE"):
        test_prep.run_pipeline(sources, output, broken)
    commit_file = pathlib.Path(output / ".work" / "kept" / "000000.json")
    assert commit_file.exists()

    report = prep(copies_folder, output, NEAR)

    assert report["total"]["kept"] == 50


def test_search_that_was_interrupted_goes_on_to_the_same_bytes(
    copies_folder, tmp_path, monkeypatch
):
    chosen = dataclasses.replace(NEAR, line_group_files=1)
    prep(copies_folder, tmp_path / "undisturbed", chosen)
    write_commit, calls = work.write_commit, []

    def fail_at_times(path, value):
        calls.append(path)
        # Files: 2 read, then lines: 2 hashed, 1 compared, 1 gathered, and so on.
        if len(calls) in (4, 6, 9, 12, 14):
            raise KeyboardInterrupt
        write_commit(path, value)

    monkeypatch.setattr("data_prep.work.write_commit", fail_at_times)
    interrupted = 0
    while not (tmp_path / "data" / "manifest.json").exists():
        try:
            prep(copies_folder, tmp_path / "data", chosen)
        except KeyboardInterrupt:
            interrupted += 1

    stages = [str(path.parent.relative_to(tmp_path / "data/.work")) for path in calls]
    assert interrupted == 5
    assert {f"duplicates/{i}/{s}" for i in ("lines", "documents") for s in (
        "rows", "found", "parts",
    )} <= set(stages)  # fmt: skip
    digests = test_prep.digests
    assert digests(tmp_path / "data") == digests(tmp_path / "undisturbed")
