import pytest

from data_prep import documents
from data_prep.tokens import partition
from lmcodistill.storage import layout

IDS = [documents.make_id("file", str(i)) for i in range(4_000)]


def place_all(**changes):
    rule = {"seed": 0, "validation_fraction": 0.1, "num_partitions": 3, **changes}
    by_hash = partition.ByHash(**rule)
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


def test_order_of_the_shuffle_is_unrelated_to_the_order_of_reading():
    keys = [place.key for place in place_all().values()]
    ascending = sum(a < b for a, b in zip(keys[:-1], keys[1:], strict=True))

    # Half of 3,999 expected; four standard deviations of an eighth are 73.
    assert abs(ascending - 2_000) < 80


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_pretokenized_text_is_cut_into_consecutive_slices(count):
    rule = partition.ByOrder("train", first=0, num_documents=7, num_partitions=count)

    places = [rule.place("", number) for number in range(7)]

    assert [place.key for place in places] == list(range(7))
    assert [place.split for place in places] == sorted(p.split for p in places)
    for place in places:
        low, high = rule.key_range(place.split)
        assert low <= place.key < high


def test_ranges_cover_all_keys_once():
    ranges = partition.equal_ranges(0, partition.KEY_END, 3)

    assert ranges[0][0] == 0
    assert ranges[-1][1] == partition.KEY_END
    assert [r[1] for r in ranges[:-1]] == [r[0] for r in ranges[1:]]
