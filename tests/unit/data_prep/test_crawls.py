"""Which files of a crawl are read, and what is no path of one."""

import gzip
import io
import itertools
import pathlib

import pytest

from data_prep import progress
from data_prep.downloading import crawls
from lmcodistill import errors
from lmcodistill.settings import crawls as crawl_settings
from tests.support import crawl, mirror

NAME = "CC-MAIN-2024-22"
LIST = f"crawl-data/{NAME}/wet.paths.gz"
PATHS = [
    f"crawl-data/{NAME}/segments/1715971057216.39/wet/"
    f"CC-MAIN-20240517233122-20240518023122-{i:05d}.warc.wet.gz"
    for i in range(6)
]


def request(folder, server=None, **changes):
    values = {
        "crawls": (NAME,),
        "paths_file": "",
        "wet_files": 2,
        "warc_files": 0,
        "mirror": server.url if server else crawl_settings.MIRROR,
        "download_dir": folder,
        "contact": "me@example.org",
        "downloads": 2,
        "requests_per_second": 500.0,
    }
    return crawl_settings.CrawlRequest(**{**values, **changes})


def fetch(*arguments, **changes):
    display = progress.Display(io.StringIO())
    return crawls.fetch(request(*arguments, **changes), display)


@pytest.fixture
def server():
    files = {p: b"".join(crawl.wet([i])) for i, p in enumerate(PATHS)}
    files[LIST] = gzip.compress("\n".join(PATHS).encode() + b"\n")
    with mirror.running(files) as one:
        yield one


def test_a_crawl_named_is_files_here(server, tmp_path):
    found = fetch(tmp_path, server)

    assert len(found) == 2
    for path in found:
        name = str(path.relative_to(tmp_path))
        assert name in PATHS
        assert path.read_bytes() == server.files[name]


def test_the_list_and_the_files_are_asked_for_at_one_pace(server, tmp_path):
    fetch(tmp_path, server, requests_per_second=4.0)

    times = [request.time for request in server.log]
    assert len(times) == 3
    assert times[1] - times[0] > 0.1


def test_asking_for_more_keeps_what_was_chosen():
    chosen = [crawls.choose(PATHS, n) for n in range(7)]

    assert all(more[: len(less)] == less for less, more in itertools.pairwise(chosen))
    assert chosen[6] != PATHS and sorted(chosen[6]) == PATHS
    assert crawls.choose(PATHS[::-1], 3) == chosen[3]


def test_a_second_run_asks_for_what_is_new_alone(server, tmp_path):
    fetch(tmp_path, server)
    before = len(server.log)

    fetch(tmp_path, server, wet_files=3)

    assert len(server.log) == before + 1


def test_a_paths_file_takes_the_place_of_the_list(server, tmp_path):
    (tmp_path / "p.gz").write_bytes(gzip.compress("\r\n".join(PATHS[1:4]).encode()))

    found = fetch(
        tmp_path, server, crawls=(), paths_file=str(tmp_path / "p.gz"), wet_files=0
    )

    assert [str(p.relative_to(tmp_path)) for p in found] == PATHS[1:4]
    assert not server.requests(LIST)


def test_a_crawl_that_is_not_there_is_an_error_that_names_its_list(server, tmp_path):
    with pytest.raises(errors.DataError, match=r"CC-MAIN-2031-07/wet.paths.gz.*404"):
        fetch(tmp_path, server, crawls=("CC-MAIN-2031-07",))


def test_more_files_than_there_are_is_a_usage_error(server, tmp_path):
    with pytest.raises(errors.UsageError, match="has WET 6"):
        fetch(tmp_path, server, wet_files=7)


def test_a_list_of_another_crawl_is_refused(server, tmp_path):
    server.files[LIST] = gzip.compress(b"crawl-data/CC-MAIN-2013-20/a.warc.wet.gz\n")

    with pytest.raises(errors.DataError, match="no path of CC-MAIN-2024-22"):
        fetch(tmp_path, server)


NO_PATHS = [
    "/etc/passwd.gz",
    "../a.gz",
    "crawl-data/../../a.gz",
    "crawl-data//a.gz",
    "crawl-data/./a.gz",
    "crawl-data/.hidden.gz",
    "crawl-data/a\\b.gz",
    "crawl-data/a\0b.gz",
    "crawl-data/a b.gz",
    "crawl-data/a%2e%2e.gz",
    "crawl-data/\x1b[2J.gz",
    "crawl-data/é.gz",
    "http://example.org/a.gz",
    "~/a.gz",
    "a" * 300 + ".gz",
    "a/" * 50 + "a.gz",
    "crawl-data/a.txt",
]


@pytest.mark.parametrize("line", NO_PATHS)
def test_what_is_no_path_is_refused_with_its_line(tmp_path, line):
    path = tmp_path / "paths"
    path.write_text(f"{PATHS[0]}\n{line}\n", encoding="utf-8")

    with pytest.raises(errors.DataError, match="line 2"):
        crawls.read_paths(path)


DAMAGED = {
    "empty": (b"", "lists no path"),
    "cut": (gzip.compress(b"a.gz\n" * 9)[:-3], "damaged gzip"),
    "changed": (gzip.compress(b"a.gz\n" * 9)[:-8] + bytes(8), "damaged gzip"),
    "bomb": (gzip.compress(bytes(1 << 20)) * 200, "too large"),
    "members": (gzip.compress(b"") * 10_000, "lists no path"),
}


@pytest.mark.parametrize(("content", "words"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_list_is_refused(tmp_path, content, words):
    (tmp_path / "paths.gz").write_bytes(content)

    with pytest.raises(errors.DataError, match=words):
        crawls.read_paths(tmp_path / "paths.gz")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crawls": ("CC-MAIN-2024-22/../x",)}, "--crawl"),
        ({"crawls": ("2024-22",)}, "CC-MAIN-2024-22"),
        ({"paths_file": "p"}, "Give one of the two"),
        ({"wet_files": 0}, "--wet_files=10"),
        ({"wet_files": -1}, "--wet_files"),
        ({"contact": ""}, "Common Crawl asks who"),
        ({"contact": "me"}, "--contact"),
        ({"contact": "me@example.org\r\nX: y"}, "--contact"),
        ({"mirror": "data.commoncrawl.org"}, "--mirror"),
        ({"mirror": "file:///etc"}, "--mirror"),
        ({"mirror": "http://x:99999999"}, "--mirror"),
        ({"mirror": "http://[::1"}, "--mirror"),
        ({"downloads": 0}, "--downloads"),
        ({"downloads": 1_000}, "--downloads"),
        ({"requests_per_second": 0.0}, "--requests_per_second"),
        ({"requests_per_second": float("nan")}, "--requests_per_second"),
    ],
)
def test_a_request_that_cannot_work_says_why(changes, words):
    with pytest.raises(errors.UsageError, match=words):
        request(pathlib.Path("downloads"), **changes)
