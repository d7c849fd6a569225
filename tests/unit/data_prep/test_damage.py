"""What a damaged WET file costs: the damaged records, counted, and no others."""

import random

import pytest

from data_prep import counts as counts_lib
from data_prep import work
from data_prep.reading import archives
from data_prep.rules import extract
from lmcodistill.settings import filtering, prep
from tests.support import crawl


def urls_of(path):
    counts = counts_lib.Counts()
    records = archives.read_records(
        path,
        counts,
        max_record_bytes=1 << 20,
        kinds=frozenset({"conversion"}),
        advance=lambda _: None,
    )
    return [record.headers["warc-target-uri"] for record in records], counts


def flipped(member, rng):
    damaged = bytearray(member)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def cut(member, rng):
    return member[: rng.randrange(1, len(member))]


def missing(member, rng):
    start = rng.randrange(len(member))
    return member[:start] + member[start + 40 :]


@pytest.fixture(scope="module")
def members():
    """2,000 pages after a warcinfo record."""
    return crawl.wet(range(2_000), sentences=2)


@pytest.mark.parametrize("damage", [flipped, cut, missing])
def test_one_damaged_member_in_a_hundred_costs_no_other_record(
    tmp_path, members, damage
):
    rng = random.Random(3)
    hit = rng.sample(range(1, len(members)), 20)
    content = list(members)
    for index in hit:
        content[index] = damage(content[index], rng)
    path = tmp_path / "a.warc.wet.gz"
    path.write_bytes(b"".join(content))

    urls, counts = urls_of(path)

    left = {f"http://example.org/{i}" for i in range(2_000)}
    left -= {f"http://example.org/{i - 1}" for i in hit}
    # A flipped bit in the time or the name of a member harms nothing.
    assert left <= set(urls)
    assert len(urls) + counts.damaged == 2_000
    assert not counts.truncated


def test_file_cut_at_every_member_boundary_and_inside_counts_right(tmp_path):
    members = crawl.wet(range(40), sentences=2)
    whole, path, end = b"".join(members), tmp_path / "a.warc.wet.gz", 0
    for number, member in enumerate(members):
        before, end = end, end + len(member)
        for stop in (end, end - 1, end - 8, before + len(member) // 2, before + 5):
            path.write_bytes(whole[:stop])

            urls, counts = urls_of(path)

            # Cut between two members, nothing can tell; downloads check the length.
            complete = number if stop == end else max(0, number - 1)
            assert len(urls) == complete, (number, stop)
            assert counts.truncated == (stop != end), (number, stop)
            assert counts.damaged == 0


def test_members_that_change_places_change_nothing_but_the_order(tmp_path):
    members = crawl.wet(range(10))
    path = tmp_path / "a.warc.wet.gz"
    path.write_bytes(b"".join(reversed(members)))

    urls, counts = urls_of(path)

    assert urls == [f"http://example.org/{i}" for i in reversed(range(10))]
    assert counts.damaged == 0


def test_hole_of_zeros_between_members_is_damage_and_no_end(tmp_path):
    members = crawl.wet(range(10))
    members.insert(5, b"\0" * 200_000)
    path = tmp_path / "a.warc.wet.gz"
    path.write_bytes(b"".join(members))

    urls, counts = urls_of(path)

    assert len(urls) == 10
    assert (counts.damaged, counts.truncated) == (1, False)


def test_file_padded_with_zeros_is_whole(tmp_path):
    path = tmp_path / "a.warc.wet.gz"
    path.write_bytes(b"".join(crawl.wet(range(10))) + b"\0" * 200_000)

    urls, counts = urls_of(path)

    assert len(urls) == 10
    assert (counts.damaged, counts.truncated) == (0, False)


def test_records_may_begin_in_one_member_and_end_in_another(tmp_path):
    content = b"".join(crawl.page(i) for i in range(30))
    blocks = [content[i : i + 1_000] for i in range(0, len(content), 1_000)]
    path = tmp_path / "a.warc.wet.gz"
    path.write_bytes(b"".join(map(crawl.member, blocks)))

    urls, counts = urls_of(path)

    assert len(urls) == 30
    assert counts.damaged == 0


def test_file_may_not_hold_more_than_its_budget_in_many_small_bombs(tmp_path):
    path = tmp_path / "a.warc.gz"
    bomb = crawl.member(b"\n" * (1 << 20))
    path.write_bytes(bomb * 20 + crawl.member(crawl.page(0)))

    urls, counts = urls_of(path)

    assert urls == []
    assert counts.damaged == 1


def test_types_and_languages_that_a_file_makes_up_do_not_fill_its_report(tmp_path):
    folder = work.WorkFolder(tmp_path / "work")
    folder.make()
    path = tmp_path / "a.warc"
    pages = [crawl.page(i, language=f"\x1b[{i}m") for i in range(20)]
    odd = [crawl.record(f"type-{i}", b"") for i in range(50)]
    path.write_bytes(b"".join(pages + odd))
    rules = filtering.Rules(language=filtering.LanguageRule(language=""))
    task = extract.ReadTask(0, path, "a", folder.root, prep.Prep(), rules)

    extract.extract(task, lambda _: None)

    found = extract.read_result(folder, 0)
    assert found.counts.records == {"conversion": 20, "other": 50}
    assert set(found.counts.languages) == {"unknown"}
