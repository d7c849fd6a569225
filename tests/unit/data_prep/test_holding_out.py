"""What of a text is held out: enough, not too much, and no file on both sides."""

import random

import pytest

from data_prep import documents
from data_prep.tokens import holding_out, partition
from lmcodistill.settings import prep

SPLITS = ("validation", "guide", "train")


def text_files(count, size=40_000):
    return [holding_out.KeptFile(i, f"{i}.txt", True, 8, size) for i in range(count)]


def rows(count, size=4_000):
    """One file of so many source documents, and what tells their sizes."""
    ids = [documents.make_id("rows", str(i)) for i in range(count)]
    file = holding_out.KeptFile(0, "rows", False, count, count * size)
    return [file], lambda number: ((id_, size) for id_ in ids)


def nothing_to_ask(number):
    raise AssertionError("sizes of documents were asked for")


def dealt(files, sizes=nothing_to_ask, **settings):
    """Returns the source documents of each split, as (file, id or None)."""
    chosen = prep.Prep(**{"guide_fraction": 0.0, **settings})
    held_out, chances = holding_out.choose(chosen, files, sizes)
    found = {split: [] for split in SPLITS}
    for file in files:
        rule = partition.ByHash(chosen.seed, 1, held_out, chances.get(file.number))
        whole = file.number in chances
        for id_ in ["0" * 32] if whole else [id_ for id_, _ in sizes(file.number)]:
            split = rule.place(id_, 0).split
            key = split if split in SPLITS else "train"
            found[key].append((file.number, None if whole else id_))
    return found


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [4, 10, 25, 60, 300])
def test_few_text_files_are_held_out_whole_and_never_none(count, seed):
    found = dealt(text_files(count), seed=seed)

    assert found["validation"]
    assert len(found["validation"]) <= max(count // 4, 1)
    # A tenth of the files, until they are 20: one in a hundred is fewer.
    assert len(found["validation"]) >= min(max(count // 10, 1), 20)
    assert sum(map(len, found.values())) == count
    assert all(id_ is None for split in found.values() for _, id_ in split)


@pytest.mark.parametrize("seed", range(20))
def test_order_of_files_changes_nothing(seed):
    files = [file._replace(bytes=1_000 * (file.number + 1)) for file in text_files(30)]
    shuffled = random.Random(seed).sample(files, len(files))

    one, other = (dealt(x, seed=seed, guide_fraction=0.05) for x in (files, shuffled))

    assert {k: sorted(v) for k, v in one.items()} == {
        k: sorted(v) for k, v in other.items()
    }


@pytest.mark.parametrize("seed", range(10))
def test_those_of_the_lowest_hashes_are_held_out(seed):
    files, sizes = rows(300)
    chances = {id_: partition.draw(id_, seed).validation for id_, _ in sizes(0)}

    found = dealt(files, sizes, seed=seed, guide_fraction=0.02)
    validation, guide, train = (
        sorted(chances[id_] for _, id_ in found[split]) for split in SPLITS
    )

    # One in a hundred is three; 20 documents of 4,000 bytes are 80,000.
    assert len(validation) == 20
    assert validation[-1] < guide[0]
    assert guide[-1] < train[0]


def test_bytes_count_as_well_as_documents():
    files, sizes = rows(3_000, size=50)

    # A tenth of 150,000 bytes, as 40,000 would be more than that.
    assert len(dealt(files, sizes)["validation"]) == 300


@pytest.mark.parametrize("seed", range(10))
def test_much_text_is_dealt_by_its_share_and_not_looked_at(seed):
    files, _ = rows(10_000)

    held_out, chances = holding_out.choose(
        prep.Prep(seed=seed, validation_fraction=0.01, guide_fraction=0.005),
        files,
        nothing_to_ask,
    )

    assert held_out == partition.HeldOut(0.01, 0.01, 0.015)
    assert chances == {}


def test_share_that_holds_enough_is_left_as_it_is():
    files, sizes = rows(300)

    assert holding_out.choose(
        prep.Prep(validation_fraction=0.2, guide_fraction=0.1), files, sizes
    ).held_out == pytest.approx((0.2, 0.2, 0.3))


def test_chance_cannot_hold_out_more_than_twice_the_share():
    def count(seed):
        return len(
            dealt(text_files(10), seed=seed, validation_fraction=0.2)["validation"]
        )

    counts = [count(seed) for seed in range(200)]

    # Of 10 files, more than 4 would fall below 0.2 in one of 30 deals.
    assert set(counts) == {1, 2, 3, 4}


@pytest.mark.parametrize("seed", range(20))
def test_text_file_that_is_half_of_all_is_trained_on_and_never_cut(seed):
    files = [*text_files(20), holding_out.KeptFile(20, "book.txt", True, 99, 800_000)]

    found = dealt(files, seed=seed, validation_fraction=0.05)

    assert (20, None) in found["train"]
    assert found["validation"]


def test_one_large_text_is_cut_between_its_sections():
    _, sizes = rows(100)
    files = [holding_out.KeptFile(0, "book.txt", True, 100, 400_000)]

    found = dealt(files, sizes)

    assert len(found["validation"]) == 10
    assert len(found["train"]) == 90


def test_pages_are_held_out_beside_text_files_by_one_measure():
    pages, sizes = rows(180, size=40_000)
    texts = [file._replace(number=file.number + 1) for file in text_files(120)]

    found = dealt([*pages, *texts], sizes)

    assert len(found["validation"]) == 20
    assert {id_ is None for _, id_ in found["validation"]} == {True, False}


@pytest.mark.parametrize("count", [12, 40])
def test_guide_has_a_source_of_its_own_where_a_quarter_holds_both(count):
    found = dealt(text_files(count), guide_fraction=1e-9)

    assert len(found["guide"]) == 1


def test_text_of_few_sources_goes_without_a_guide_unless_its_share_has_one():
    found = [
        len(dealt(text_files(6), seed=seed, guide_fraction=share)["guide"])
        for share in (1e-9, 0.2)
        for seed in range(20)
    ]

    assert set(found[:20]) == {0}
    assert 0 < sum(found[20:]) < 60  # Of 120 files, 24 expected.
    assert not dealt(text_files(40), guide_fraction=0.0)["guide"]


def test_file_whose_documents_were_all_copies_is_not_held_out():
    files = text_files(20)
    held = {number for number, _ in dealt(files)["validation"]}
    files = [f._replace(documents=0) if f.number in held else f for f in files]

    _, chances = holding_out.choose(
        prep.Prep(guide_fraction=0.0), files, nothing_to_ask
    )

    assert not held & set(chances)
