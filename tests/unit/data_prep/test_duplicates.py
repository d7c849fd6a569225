"""Copies of documents and of lines: what is found, and what is left."""

import collections
import dataclasses
import random

import numpy as np
import pytest

from data_prep import documents, work
from data_prep.duplicates import copies, line_duplicates, signatures, survivors
from data_prep.engines import exchange
from lmcodistill import errors
from lmcodistill.settings import deduplication

SETTINGS = deduplication.Deduplication(near=True)


def ignore(_):
    """Stands for a display."""


def rows_of(*rows):
    return np.array(sorted(rows), copies.ROW)


def blocks_of(rows, size):
    for start in range(0, len(rows), size):
        yield exchange.Block(rows[start : start + size], [])


def found_copies(tmp_path, rows, size):
    """Returns (part, number, kind) of every copy, in order, and their counts."""
    search = copies.of_documents(tmp_path)
    search.make()
    [bucket] = copies.key_ranges(search, 0)
    copies.find(bucket, blocks_of(rows, size))
    runs = copies.gather_step(search, 1, 1 << 20, with_short=False).find_runs()
    arrays = [np.fromfile(run.rows, copies.COPY) for run in runs]
    found = np.concatenate([np.zeros(0, copies.COPY), *arrays])
    found.sort(order=copies.COPY_ORDER)
    [parts] = copies.part_ranges(search, 3)
    copies.gather(parts, blocks_of(found, size))
    kept = np.fromfile(parts.output, copies.COPY).tolist()
    return kept, search.count(3)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lowest_rank_under_every_key_stays(tmp_path, size):
    # Items by (part, number). Key 2 is exact, keys 3 and 5 are near.
    rows = rows_of(
        (2, 10, 0, 0), (2, 20, 0, 1), (2, 30, 1, 0),
        (3, 5, 2, 7), (3, 10, 0, 0), (3, 20, 0, 1),
        (5, 30, 1, 0), (5, 40, 2, 2),
        (7, 1, 2, 9),
    )  # fmt: skip

    kept, counts = found_copies(tmp_path, rows, size)

    # Equal and near at once counts as equal, once.
    assert kept == [(0, 0, 1), (0, 1, 0), (1, 0, 0), (2, 2, 1)]
    assert counts == {
        0: {"duplicate": 1, "near_duplicate": 1},
        1: {"duplicate": 1},
        2: {"near_duplicate": 1},
    }


def test_one_key_with_very_many_rows_is_never_held_whole(tmp_path):
    num_rows = 100_000
    held = []

    def blocks():
        for start in range(0, num_rows, 1_000):
            rows = np.zeros(1_000, copies.ROW)
            rows["key"], rows["rank"] = 8, np.arange(start, start + 1_000)
            rows["number"] = rows["rank"]
            yield exchange.Block(rows, [])

    search = copies.of_documents(tmp_path)
    search.make()
    [bucket] = copies.key_ranges(search, 0)

    copies.find(bucket, blocks())

    held = [path.stat().st_size for path in (search.root / "found").glob("*.rows")]
    assert sum(held) == (num_rows - 1) * copies.COPY.itemsize
    assert max(held) == 1_000 * copies.COPY.itemsize


def test_ranges_of_keys_and_of_parts_leave_nothing_out(tmp_path):
    search = copies.of_documents(tmp_path)

    keys = copies.key_ranges(search, 3 * copies._BUCKET_BYTES)
    parts = copies.part_ranges(search, 2 * copies._PARTS_PER_FILE + 1)

    for ranges, end in ((keys, 1 << 64), (parts, 2 * copies._PARTS_PER_FILE + 1)):
        assert [r.commit_file.stem for r in ranges] == ["000000", "000001", "000002"]
        assert [ranges[0].low, ranges[-1].high] == [(0,), (end,)]
        assert [r.high for r in ranges[:-1]] == [r.low for r in ranges[1:]]


def write_part(root, file, texts):
    """Writes a part of documents whose ids are in the order of (file, number)."""
    folder = work.WorkFolder(root)
    folder.make()
    part = work.Part(file, 0, len(texts))
    found = [
        documents.Document(f"{file:08x}{number:024x}", text)
        for number, text in enumerate(texts)
    ]
    lines = [document.to_json_line() for document in found]
    folder.documents(part).write_bytes(b"".join(lines))
    return part


def sign(root, number, part, scope="", settings=SETTINGS):
    """Returns the keys of every document of the part."""
    search = copies.of_documents(root)
    search.make()
    task = signatures.SignTask(number, part, root, scope, settings)
    signatures.sign(task, ignore)
    rows = np.fromfile(search.rows(part), copies.ROW)
    assert rows.tolist() == sorted(rows.tolist())
    keys = collections.defaultdict(set)
    for key, _, of_part, of_number in rows.tolist():
        assert of_part == number
        keys[of_number].add(key)
    return [keys[i] for i in range(part.documents)]


NUMBERS = ("one", "two", "three", "four", "five", "six")
PROSE = " ".join(random.Random(0).choices(NUMBERS, k=90))


def test_equal_texts_share_every_key_and_near_ones_some_near_key(tmp_path):
    near = PROSE + " and one word more, or a few."
    part = write_part(tmp_path, 0, [PROSE, PROSE.upper(), near, "Another text."])

    first, upper, other, short = sign(tmp_path, 4, part)

    assert first == upper
    assert sorted(key % 2 for key in first) == [0] + [1] * 14
    assert {key % 2 for key in first & other} == {1}
    assert [key % 2 for key in short] == [0]
    assert not short & first


def test_documents_of_different_scopes_share_no_key(tmp_path):
    part = write_part(tmp_path, 0, [PROSE])

    [one] = sign(tmp_path, 0, part, scope="CC-MAIN-2024-22")
    [two] = sign(tmp_path, 0, part, scope="CC-MAIN-2024-26")

    assert len(one) == len(two) == 15
    assert not one & two


@pytest.mark.parametrize(("exact", "near", "kinds"), [(1, 0, {0}), (0, 1, {1})])
def test_only_the_keys_asked_for_are_made(tmp_path, exact, near, kinds):
    chosen = dataclasses.replace(SETTINGS, exact=bool(exact), near=bool(near))
    part = write_part(tmp_path, 0, [PROSE])

    [keys] = sign(tmp_path, 0, part, settings=chosen)

    assert {key % 2 for key in keys} == kinds


@pytest.mark.parametrize(
    ("declared", "path", "crawl"),
    [
        ("CC-MAIN-2024-22", "x/CC-MAIN-2020-05/a.gz", "CC-MAIN-2024-22"),
        ("", "CC-MAIN-2018-34/x/CC-MAIN-2020-05/a.gz", "CC-MAIN-2020-05"),
        ("", "a/CC-MAIN-20240512.warc.wet.gz", ""),
    ],
)
def test_crawl_is_what_the_file_says_or_its_path(tmp_path, declared, path, crawl):
    assert signatures.crawl_of(declared, tmp_path / path) == crawl


def search_lines(root, parts, groups):
    """Hashes the lines of all parts and finds their copies."""
    search = copies.of_lines(root)
    search.make()
    for number, part in enumerate(parts):
        task = line_duplicates.LineTask(number, part, root, groups[number])
        line_duplicates.hash_lines(task, ignore)
    work.WorkFolder(root).write_parts(parts)
    step = copies.find_step(search, 1 << 20)
    [bucket] = copies.key_ranges(search, exchange.total_bytes(step))
    exchange.collect_from_runs(step, bucket, ignore)
    step = copies.gather_step(search, 1, 1 << 20, with_short=False)
    [bucket] = copies.part_ranges(search, len(parts))
    exchange.collect_from_runs(step, bucket, ignore)


def test_lines_of_a_lower_document_of_the_group_go(tmp_path):
    menu = "Home | About\n\n"
    first = write_part(tmp_path, 0, [f"{menu}Cats sleep.\nCats sleep.", "\n\nDogs."])
    second = write_part(tmp_path, 1, ["  home |  ABOUT \nBirds.\n\ncats sleep.\n"])
    other = write_part(tmp_path, 2, [f"{menu}Fish."])
    parts = [first, second, other]

    search_lines(tmp_path, parts, groups=[0, 0, 1])

    left = survivors.Survivors(tmp_path, False, True)
    texts = [
        [document.text for _, document in left.read(number, part, ignore)]
        for number, part in enumerate(parts)
    ]
    assert texts == [
        # Repeats inside the document that keeps a line are its own.
        [f"{menu}Cats sleep.\nCats sleep.", "\n\nDogs."],
        ["Birds."],
        [f"{menu}Fish."],
    ]


def test_document_that_loses_too_much_goes_with_a_reason_of_its_own(tmp_path):
    chosen = dataclasses.replace(SETTINGS, line_group_files=1, min_words_left=4)
    texts = ["Shared line here.\nA b c.", "Shared line here.\nOnly three words."]
    texts += ["Shared line here.\nThese are four words.", "Short."]
    part = write_part(tmp_path, 0, texts)
    search_lines(tmp_path, [part], groups=[0])

    keys = sign(tmp_path, 0, part, settings=chosen)

    search = copies.of_documents(tmp_path)
    short = np.fromfile(search.too_short(part), copies.COPY).tolist()
    assert short == [(0, 1, copies.TOO_SHORT)]
    assert [bool(found) for found in keys] == [True, False, True, True]


def test_survivors_keep_their_numbers(tmp_path):
    part = write_part(tmp_path, 0, ["a", "b", "c"])
    search = copies.of_documents(tmp_path)
    search.make()
    found = np.array([(0, 1, copies.EXACT)], copies.COPY)
    [bucket] = copies.part_ranges(search, 1)
    copies.gather(bucket, blocks_of(found, 1))

    kept = survivors.Survivors(tmp_path, True, False).read(0, part, ignore)

    assert [(number, d.text) for number, d in kept] == [(0, "a"), (2, "c")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scope": "file"}, "scope = 'file' cannot work: expected one of crawl, run"),
        ({"num_bands": 0}, "num_bands = 0"),
        ({"min_near_words": -1}, "min_near_words = -1"),
        ({"memory_bytes": 1_000}, "memory_bytes = 1000"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, words):
    with pytest.raises(errors.UsageError, match=words):
        deduplication.Deduplication(**changes)
