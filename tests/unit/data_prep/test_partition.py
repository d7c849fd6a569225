import pytest

from data_prep import documents
from data_prep.tokens import partition
from lmcodistill.storage import layout

IDS = [documents.make_id("file", str(i)) for i in range(4_000)]


def place_all(*, guide=0.0, **changes):
    rule = {"num_partitions": 3, "held_out": partition.HeldOut(0.1, 0.1, 0.1 + guide)}
    by_hash = partition.ByHash(**{"seed": 0, **rule, **changes})
    return {id_: by_hash.place(id_, 0) for id_ in IDS}


def test_hash_never_changes_between_versions():
    # Written down once: a change here moves every document of every corpus.
    assert documents.make_id("file", "0") == "c655680ade5b38c2c2887c6dfe460291"
    assert (
        partition.draw("c655680ade5b38c2c2887c6dfe460291", 0).key
        == 10_025_101_763_014_712_893
    )


def test_splits_have_the_sizes_that_were_asked_for():
    splits = [place.split for place in place_all().values()]

    # 400 and 1,200 expected; four standard deviations are 76 and 116.
    assert abs(splits.count("validation") - 400) < 76
    for i in range(3):
        name = layout.DataLayout.train_name(i, 3)
        assert abs(splits.count(name) - 1_200) < 116


def test_held_out_documents_stay_held_out_whatever_the_partitions():
    def held_out(places):
        return {id_ for id_, place in places.items() if place.split == "validation"}

    assert held_out(place_all()) == held_out(place_all(num_partitions=8))
    assert held_out(place_all()) != held_out(place_all(seed=1))


def test_guide_takes_its_share_of_training_and_moves_nothing_else():
    before, after = place_all(), place_all(guide=0.1)

    moved = [id_ for id_ in IDS if before[id_] != after[id_]]

    # 400 expected; four standard deviations are 76.
    assert abs(len(moved) - 400) < 76
    assert {after[id_].split for id_ in moved} == {"guide"}
    assert "validation" not in {before[id_].split for id_ in moved}
    assert all(before[id_].key == after[id_].key for id_ in moved)


def test_one_number_for_all_documents_moves_them_as_one_and_keeps_their_order():
    alone, together = place_all(), place_all(chance=0.05)

    assert {place.split for place in together.values()} == {"validation"}
    assert [p.key for p in together.values()] == [p.key for p in alone.values()]


def test_order_of_the_shuffle_is_unrelated_to_the_order_of_reading():
    keys = [place.key for place in place_all().values()]
    ascending = sum(a < b for a, b in zip(keys[:-1], keys[1:], strict=True))

    # Half of 3,999 expected; four standard deviations of an eighth are 73.
    assert abs(ascending - 2_000) < 80


def in_order(**changes):
    rule = {"split": "train", "first": 0, "guide_fraction": 0.0}
    return partition.ByOrder(**{**rule, **changes})


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_pretokenized_text_is_cut_into_consecutive_slices(count):
    rule = in_order(num_documents=7, num_partitions=count)

    places = [rule.place("", number) for number in range(7)]

    assert [place.key for place in places] == list(range(7))
    assert [place.split for place in places] == sorted(p.split for p in places)
    for place in places:
        low, high = rule.key_range(place.split)
        assert low <= place.key < high


def numbers_of_guide(num_documents, fraction):
    rule = in_order(
        num_documents=num_documents, num_partitions=2, guide_fraction=fraction
    )
    places = [rule.place("", number) for number in range(num_documents)]
    for number, place in enumerate(places):
        low, high = rule.key_range(place.split)
        assert low <= place.key == number < high
    return [number for number, place in enumerate(places) if place.split == "guide"]


def test_guide_of_a_text_in_order_is_neighbours_from_every_part_of_it():
    # 32 of 320 documents: the last 2 of each of 16 stretches of 20.
    expected = [20 * i + k for i in range(16) for k in (18, 19)]

    assert numbers_of_guide(320, 0.1) == expected


@pytest.mark.parametrize(
    ("num_documents", "fraction", "expected"),
    [
        (600, 0.01, [99, 199, 299, 399, 499, 599]),
        (7, 0.2, [6]),  # 1.4 documents.
        (7, 0.05, []),  # A third of one.
        (7, 0.0, []),
    ],
)
def test_short_text_in_order_gives_what_was_asked_for_rounded(
    num_documents, fraction, expected
):
    assert numbers_of_guide(num_documents, fraction) == expected


def test_guide_of_a_text_in_order_moves_no_other_document():
    alone = in_order(num_documents=1_003, num_partitions=3)
    guided = in_order(num_documents=1_003, num_partitions=3, guide_fraction=0.05)

    places = [(alone.place("", n), guided.place("", n)) for n in range(1_003)]

    assert sum(guide.split == "guide" for _, guide in places) == 50
    assert all(guide in (a, a._replace(split="guide")) for a, guide in places)


def test_held_out_text_in_order_gives_nothing_to_the_guide():
    rule = in_order(
        split="test", num_documents=20, num_partitions=1, guide_fraction=0.5
    )

    assert {rule.place("", n).split for n in range(20)} == {"test"}


def test_ranges_cover_all_keys_once():
    ranges = partition.equal_ranges(0, partition.KEY_END, 3)

    assert ranges[0][0] == 0
    assert ranges[-1][1] == partition.KEY_END
    assert [r[1] for r in ranges[:-1]] == [r[0] for r in ranges[1:]]
