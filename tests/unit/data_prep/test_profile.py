"""Lengths and hosts of documents, counted in bounded memory."""

import json
import random

import pytest

from data_prep import profile


def profile_of(*pages):
    made = profile.Profile()
    for num_bytes, url in pages:
        made.keep(num_bytes, url)
    return made


@pytest.mark.parametrize("num_bytes", [0, 1, 2, 3, 4, 5, 6, 90, 91, 1_000, 2**40])
def test_every_length_is_within_its_range(num_bytes):
    (found,) = profile_of((num_bytes, "")).length_ranges()

    assert found.least <= num_bytes < found.below
    assert found.documents == 1


def test_ranges_follow_each_other_without_gaps_and_grow_by_half_an_octave():
    found = profile_of(*((n, "") for n in range(2_000))).length_ranges()

    assert found[0].least == 0
    assert all(a.below == b.least for a, b in zip(found, found[1:], strict=False))
    assert sum(one.documents for one in found) == 2_000
    for one in found[12:-1]:
        assert one.documents == one.below - one.least
        assert one.below / one.least == pytest.approx(2**0.5, rel=0.02)


def test_hosts_are_counted_without_case_port_or_user():
    urls = [
        "http://A.org/x",
        "https://me:pw@a.org:8080/",
        "http://b.org",
        "",
        "http://[",
    ]

    made = profile_of(*((1, url) for url in urls))

    assert made.hosts == {"a.org": 2, "b.org": 1}


def test_top_hosts_are_ordered_by_count_then_name():
    made = profile_of(*((1, f"http://{h}/") for h in "cbabc"))

    assert list(made.top_hosts(2).items()) == [("b", 2), ("c", 2)]


def test_frequent_hosts_survive_where_many_are_seen_once(monkeypatch):
    monkeypatch.setattr(profile, "_MAX_HOSTS", 100)
    urls = ["http://often/"] * 300 + [f"http://once{i}/" for i in range(3_000)]
    random.Random(0).shuffle(urls)

    made = profile_of(*((1, url) for url in urls))

    assert len(made.hosts) <= 100
    (host,) = made.top_hosts(1)
    assert host == "often"


def test_long_names_of_hosts_are_cut():
    made = profile_of((1, f"http://{'a' * 10_000}/"))

    (host,) = made.hosts
    assert len(host) == 253


def test_languages_that_strangers_make_up_are_limited_in_number_and_length():
    made = profile.Profile()

    for i in range(10_000):
        made.find(f"x{i}" + "y" * 1_000)
    made.find("")

    assert len(made.languages) == 201
    assert max(map(len, made.languages)) <= 20
    assert made.languages.total() == 10_001


def test_counts_come_back_from_json_and_add_up():
    made = profile_of((5, "http://a/"), (900, "http://b/"), (900, ""))
    made.find("eng")
    other = profile_of((5, "http://a/"))
    other.find("eng")

    again = profile.Profile.from_json(json.loads(json.dumps(made.to_json())))
    assert again == made
    again.add(other)

    assert again.hosts == {"a": 2, "b": 1}
    assert again.languages == {"eng": 2}
    assert sum(found.documents for found in again.length_ranges()) == 4
