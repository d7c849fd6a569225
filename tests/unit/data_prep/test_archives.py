import pathlib

import pytest

from data_prep import counts as counts_lib
from data_prep.reading import archives
from tests.support import crawl

SHARED = pathlib.Path(__file__).resolve().parents[3] / "../shared/data"
EDGE_CASES = SHARED / "warc-edge-cases"
needs_shared = pytest.mark.skipif(
    not EDGE_CASES.is_dir(), reason="../shared/data is not beside this checkout"
)
URLS = [f"http://example.org/{n}" for n in range(10)]


def read(path, max_record_bytes=1 << 20):
    counts = counts_lib.Counts()
    records = archives.read_records(
        path,
        counts,
        max_record_bytes=max_record_bytes,
        kinds=frozenset({"conversion", "response"}),
        advance=lambda _: None,
    )
    return [record.headers["warc-target-uri"] for record in records], counts


def write(tmp_path, content):
    path = tmp_path / "file.warc.wet.gz"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("is_gzip", [True, False])
def test_every_record_of_a_whole_file_is_read(tmp_path, is_gzip):
    members = crawl.wet(range(10))
    if not is_gzip:
        members = [crawl.record("warcinfo", b"x"), *map(crawl.page, range(10))]

    urls, counts = read(write(tmp_path, b"".join(members)))

    assert urls == URLS
    assert counts.records == {"warcinfo": 1, "conversion": 10}
    assert (counts.damaged, counts.truncated) == (0, False)


def test_body_has_exactly_the_bytes_that_its_header_declares(tmp_path):
    path = write(tmp_path, crawl.member(crawl.record("conversion", b" a\r\n\r\nb ")))

    [record] = archives.read_records(
        path,
        counts_lib.Counts(),
        max_record_bytes=100,
        kinds=frozenset({"conversion"}),
        advance=lambda _: None,
    )

    assert record.body == b" a\r\n\r\nb "


def test_file_cut_at_any_byte_yields_the_complete_records_before_the_cut(tmp_path):
    members = crawl.wet(range(3), sentences=1)
    content = b"".join(members)
    ends = [sum(map(len, members[: i + 1])) for i in range(len(members))]

    # With fewer bytes, nothing says that it is gzip.
    for cut in range(3, len(content), 7):
        urls, counts = read(write(tmp_path, content[:cut]))

        complete = sum(end <= cut for end in ends)
        assert urls == URLS[: max(0, complete - 1)], cut
        assert counts.truncated == (cut not in ends), cut
        assert counts.damaged == 0, cut


def test_uncompressed_file_cut_in_a_body_is_truncated_and_keeps_the_rest(tmp_path):
    content = b"".join(map(crawl.page, range(3)))

    urls, counts = read(write(tmp_path, content[:-200]))

    assert urls == URLS[:2]
    assert counts.truncated


def test_one_flipped_member_costs_only_its_own_record(tmp_path):
    members = crawl.wet(range(10))
    damaged = bytearray(members[4])
    damaged[len(damaged) // 2] ^= 0xFF
    members[4] = bytes(damaged)

    urls, counts = read(write(tmp_path, b"".join(members)))

    assert urls == URLS[:3] + URLS[4:]
    assert (counts.damaged, counts.truncated) == (1, False)


@pytest.mark.parametrize("length", ["-5", "nine", "", "9" * 30, "999999", "40"])
def test_wrong_content_length_costs_only_its_own_record(tmp_path, length):
    bad = crawl.record("conversion", b"x" * 50, url="bad", length=length)
    members = crawl.wet(range(10))
    members.insert(5, crawl.member(bad))

    urls, counts = read(write(tmp_path, b"".join(members)))

    assert urls == URLS
    assert (counts.damaged, counts.truncated) == (1, False)


def test_wrong_length_in_an_uncompressed_file_costs_only_its_own_record(tmp_path):
    bad = crawl.record("conversion", b"x" * 50, url="bad", length=10**9)
    pages = list(map(crawl.page, range(10)))
    pages.insert(5, bad)

    urls, counts = read(write(tmp_path, b"".join(pages)))

    assert urls == URLS
    assert (counts.damaged, counts.truncated) == (1, False)


@pytest.mark.parametrize(
    "junk",
    [
        b"WARC/1.0\r\n" + b"x" * (1 << 20),
        b"WARC/1.0\r\n" + b"a: b\r\n" * 100_000,
        b"WARC/1.0\0\r\n\xff\xfe: \0\r\n\r\n",
        b"no archive at all\r\n" * 3,
    ],
    ids=["endless_line", "endless_header", "odd_bytes", "text"],
)
def test_hostile_header_costs_only_its_own_member(tmp_path, junk):
    members = crawl.wet(range(10))
    members.insert(5, crawl.member(junk))

    urls, counts = read(write(tmp_path, b"".join(members)))

    assert urls == URLS
    assert counts.damaged == 1


def test_gzip_bomb_is_left_before_it_is_unpacked(tmp_path):
    bomb = crawl.record("conversion", b"a" * (8 << 20), url="bomb")
    members = crawl.wet(range(10))
    members.insert(5, crawl.member(bomb))

    urls, counts = read(write(tmp_path, b"".join(members)), max_record_bytes=1 << 30)

    assert urls == URLS
    assert counts.damaged == 1


def test_record_over_the_limit_is_dropped_with_a_reason(tmp_path):
    large = crawl.record("conversion", bytes(range(256)) * 20, url="large")
    path = write(tmp_path, crawl.member(large) + crawl.member(crawl.page(0)))

    urls, counts = read(path, max_record_bytes=5_000)

    assert urls == URLS[:1]
    assert counts.dropped == {"record_too_large": 1}


def test_all_records_in_one_gzip_member_are_read(tmp_path):
    content = crawl.member(b"".join(map(crawl.page, range(10))))

    urls, counts = read(write(tmp_path, content))

    assert urls == URLS
    assert counts.damaged == 0


def test_member_far_larger_than_a_block_ends_where_it_ends(tmp_path):
    # Poorly compressible, and more than zlib gives back at once.
    body = bytes((i * i * 31 + i // 7) % 251 for i in range(700_000))
    large = crawl.record("conversion", body, url="large")
    content = crawl.member(large) + b"".join(crawl.wet(range(10)))

    urls, counts = read(write(tmp_path, content))

    assert urls == ["large", *URLS]
    assert counts.damaged == 0


@needs_shared
@pytest.mark.parametrize(
    ("name", "records", "damaged", "truncated"),
    [
        ("example.warc.gz", 6, 0, False),
        ("example.warc", 6, 0, False),
        ("example-bad.warc.gz.bad", 6, 0, False),
        ("example-trunc.warc", 3, 1, False),
        ("jwarc-cc.warc.gz", 1, 0, False),
    ],
)
def test_known_oddities_are_read_or_counted(name, records, damaged, truncated):
    _, counts = read(EDGE_CASES / name)

    assert counts.records.total() == records
    assert (counts.damaged, counts.truncated) == (damaged, truncated)


@needs_shared
def test_cut_record_of_a_real_crawl_is_not_handed_out():
    urls, counts = read(SHARED / "warc-commoncrawl-2020" / "clipped.warc.gz")

    assert urls == []
    assert counts.truncated
