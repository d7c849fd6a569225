"""Every download ends with the right bytes or an error that says what to do."""

import dataclasses
import email.utils
import io
import itertools
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest

from data_prep import lock, progress
from data_prep.downloading import downloads, gzip_end, rate_limiter, transfer
from lmcodistill import errors
from tests.support import crawl, mirror

ROOT = pathlib.Path(__file__).resolve().parents[3]
PATH = "crawl-data/x/a.warc.wet.gz"
QUICK = transfer.DownloadPolicy(
    user_agent="test (me@example.org)",
    seconds_between_tries=0.01,
    max_wait_seconds=0.03,
    max_tries=4,
    timeout_seconds=0.4,
)


def incompressible(size, seed=0):
    return crawl.member(random.Random(seed).randbytes(size))


WHOLE = b"".join(incompressible(60_000, seed) for seed in range(5))


def download(wanted, folder, manners=QUICK, per_second=500.0):
    """Downloads and returns what was said."""
    said = io.StringIO()
    clock = rate_limiter.RateLimiter(per_second)
    downloads.download(wanted, folder, manners, clock, progress.Display(said))
    return said.getvalue()


def fetch(server, folder, paths=(PATH,), manners=QUICK, per_second=500.0):
    wanted = [transfer.RemoteFile(f"{server.url}/{p}", folder / p) for p in paths]
    download(wanted, folder, manners, per_second)
    return [one.path.read_bytes() for one in wanted]


def left_in(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def server():
    with mirror.running({PATH: WHOLE}) as one:
        yield one


FAULTS = {
    "503": [mirror.refuse(503)],
    "403 twice": [mirror.refuse(403), mirror.refuse(403)],
    "429 and 500": [mirror.refuse(429), mirror.refuse(500)],
    "bad Retry-After": [mirror.refuse(503, Retry_After="soon")],
    "reset before the body": [mirror.reset(0)],
    "reset in the body": [mirror.reset(100_000)],
    "short body": [mirror.cut(100_000)],
    "short body, length of it": [mirror.cut(100_000, claim=100_000)],
    "length too large": [mirror.cut(None, claim=len(WHOLE) + 9)],
    "length too small": [mirror.cut(None, claim=len(WHOLE) - 9)],
    "range ignored": [mirror.cut(100_000), mirror.ignore_range],
    "silence": [mirror.silent(1.0, 100_000)],
    "no length": [mirror.without_length()],
    "no length, cut": [mirror.without_length(100_000)],
    "chunks": [mirror.in_chunks()],
    "chunks, cut": [mirror.in_chunks(100_000)],
    "416": [mirror.cut(100_000), mirror.refuse(416)],
    "all of it": [
        mirror.refuse(503),
        mirror.reset(50_000),
        mirror.refuse(403),
        mirror.cut(100_000),
        mirror.silent(1.0, 20_000),
        mirror.reset(7),
    ],
}


@pytest.mark.parametrize("script", FAULTS.values(), ids=FAULTS)
def test_a_server_that_recovers_gives_the_right_bytes(server, tmp_path, script):
    server.script[PATH] = list(script)

    assert fetch(server, tmp_path) == [WHOLE]
    assert left_in(tmp_path) == [".lock", "a.warc.wet.gz"]


def test_what_has_come_is_not_sent_again(server, tmp_path):
    server.script[PATH] = [mirror.reset(100_000), mirror.cut(50_000)]

    fetch(server, tmp_path)

    first, second, third = server.ranges(PATH)
    assert (first, second) == (None, "bytes=100000-")
    assert third == "bytes=150000-"
    assert server.requests(PATH)[1].headers["if-range"] == '"0"'


def test_a_file_that_changes_between_tries_is_of_one_version(server, tmp_path):
    new = b"".join(incompressible(60_000, seed) for seed in range(7, 12))

    def change(handler, content, tag):
        server.files[PATH], server.tags[PATH] = new, '"new"'
        mirror.serve(handler, new, '"new"')

    server.script[PATH] = [mirror.cut(100_000), change]

    assert fetch(server, tmp_path) == [new]


def test_a_server_that_sends_a_part_of_another_version_is_not_believed(
    server, tmp_path
):
    def lie(handler, content, tag):
        del handler.headers["If-Range"]
        mirror.serve(handler, bytes(len(content)), '"other"')

    server.script[PATH] = [mirror.cut(100_000), lie]

    assert fetch(server, tmp_path) == [WHOLE]


def test_without_a_validator_a_file_is_fetched_anew(server, tmp_path):
    del server.tags[PATH]
    server.script[PATH] = [mirror.cut(100_000)]

    assert fetch(server, tmp_path) == [WHOLE]
    assert server.ranges(PATH) == [None, None]


@pytest.mark.parametrize("status", [404, 410, 401])
def test_what_the_server_does_not_have_is_named_at_once(server, tmp_path, status):
    server.always[PATH] = mirror.refuse(status)

    with pytest.raises(errors.DataError, match=f"{PATH}.*{status}.*--mirror"):
        fetch(server, tmp_path)

    assert len(server.log) == 1
    assert left_in(tmp_path) == [".lock"]


STUBBORN = {
    "403": mirror.refuse(403),
    "reset": mirror.reset(0),
    "length too large": mirror.cut(None, claim=len(WHOLE) + 9),
    "no length, cut": mirror.without_length(100_000),
    "silence": mirror.silent(0.5, 0),
}


@pytest.mark.parametrize("act", STUBBORN.values(), ids=STUBBORN)
def test_a_server_that_never_recovers_is_given_up_with_its_words(server, tmp_path, act):
    server.always[PATH] = act
    manners = dataclasses.replace(QUICK, max_tries=2, timeout_seconds=0.2)

    with pytest.raises(errors.DataError, match=f"{PATH} could not be fetched.*tries"):
        fetch(server, tmp_path, manners=manners)

    assert not (tmp_path / PATH).exists()


def test_nobody_at_the_address_is_an_error_that_says_so(tmp_path):
    wanted = [transfer.RemoteFile("http://127.0.0.1:9/a.gz", tmp_path / "a.gz")]
    manners = dataclasses.replace(QUICK, max_tries=1)

    with pytest.raises(errors.DataError, match="Connection refused"):
        download(wanted, tmp_path, manners)


def test_a_file_that_is_cut_on_the_server_too_is_kept_with_a_warning(server, tmp_path):
    server.files[PATH] = WHOLE[:-100]
    wanted = [transfer.RemoteFile(f"{server.url}/{PATH}", tmp_path / PATH)]

    said = download(wanted, tmp_path)

    assert (tmp_path / PATH).read_bytes() == WHOLE[:-100]
    assert len(server.log) == 2
    assert "warning:" in said and "in the middle" in said


def test_a_page_in_place_of_the_file_is_refused(server, tmp_path):
    server.files[PATH] = b"<html>Please log in.</html>"

    with pytest.raises(errors.DataError, match="is no gzip file, twice.*proxy"):
        fetch(server, tmp_path)

    assert not (tmp_path / PATH).exists()


def test_a_file_larger_than_allowed_fills_no_disk(server, tmp_path):
    wanted = [transfer.RemoteFile(f"{server.url}/{PATH}", tmp_path / PATH, 1_000)]

    for act in (mirror.serve, mirror.without_length()):
        server.always[PATH] = act
        with pytest.raises(errors.DataError, match="larger than the 1,000 bytes"):
            download(wanted, tmp_path)

    assert sum(p.stat().st_size for p in tmp_path.rglob(".a*.partial")) == 0


def test_the_server_sees_who_asks(server, tmp_path):
    fetch(server, tmp_path)

    headers = server.log[0].headers
    assert headers["user-agent"] == "test (me@example.org)"
    assert headers["accept-encoding"] == "identity"


def test_a_file_that_is_there_is_not_asked_for(server, tmp_path):
    fetch(server, tmp_path)
    fetch(server, tmp_path)

    assert len(server.log) == 1


def test_requests_keep_their_distance_whatever_the_number_of_threads(tmp_path):
    paths = [f"{i}.gz" for i in range(8)]
    contents = {path: incompressible(100) for path in paths}
    manners = dataclasses.replace(QUICK, parallel=8)

    with mirror.running(contents) as server:
        fetch(server, tmp_path, paths, manners, per_second=20.0)
        times = [request.time for request in server.log]

    # Seven times 50 ms, less what held the first up on its way.
    assert len(times) == 8
    assert times[-1] - times[0] >= 4 * 0.05


def test_tries_for_one_file_keep_their_distance_and_grow_apart(server, tmp_path):
    server.script[PATH] = [mirror.refuse(503)] * 4
    manners = dataclasses.replace(
        QUICK, seconds_between_tries=0.05, max_wait_seconds=1.0, max_tries=9
    )

    fetch(server, tmp_path, manners=manners)

    times = [request.time for request in server.log]
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert all(gap >= 0.05 for gap in gaps)
    assert gaps[3] >= 0.05 * 2**3


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_makes_every_file_wait(tmp_path, form):
    def act(handler, content, tag):
        date = email.utils.formatdate(time.time() + 2, usegmt=True)
        after = "1" if form == "seconds" else date
        mirror.refuse(403, Retry_After=after)(handler, content, tag)

    paths = ["a.gz", "b.gz", "c.gz"]
    manners = dataclasses.replace(QUICK, parallel=1)

    with mirror.running({path: incompressible(100) for path in paths}) as server:
        server.script["a.gz"] = [act]
        fetch(server, tmp_path, paths, manners)
        times = [request.time for request in server.log]

    assert times[1] - times[0] >= 0.95


def test_a_refusal_of_one_file_slows_the_others_down(tmp_path):
    paths = [f"{i}.gz" for i in range(4)]
    manners = dataclasses.replace(
        QUICK, parallel=2, seconds_between_tries=1.5, max_wait_seconds=1.5
    )

    with mirror.running({path: incompressible(100) for path in paths}) as server:
        server.script["0.gz"] = [mirror.refuse(503)]
        server.script["1.gz"] = [mirror.late(1.0)]
        fetch(server, tmp_path, paths, manners)
        refused = server.requests("0.gz")[0].time
        others = [server.requests(path)[0].time for path in paths[2:]]

    assert min(others) - refused >= 1.5


def test_two_runs_do_not_share_a_folder_at_once(server, tmp_path):
    held = lock.held(tmp_path / ".lock", "downloading to", tmp_path, "--download_dir")

    with held, pytest.raises(errors.UsageError, match="Another"):
        fetch(server, tmp_path)


def test_a_killed_download_goes_on_where_it_was(tmp_path):
    whole = b"".join(incompressible(300_000, seed) for seed in range(3))
    program = (
        "import sys, pathlib\n"
        "from tests.unit.data_prep import test_downloads as t\n"
        "class Server: url = sys.argv[1]\n"
        "t.fetch(Server, pathlib.Path(sys.argv[2]))\n"
    )
    with mirror.running({PATH: whole}) as server:
        server.script[PATH] = [mirror.silent(30.0, 400_000)]
        command = [sys.executable, "-c", program, server.url, str(tmp_path)]
        child = subprocess.Popen(command, cwd=ROOT)
        partial = tmp_path / "crawl-data/x/.a.warc.wet.gz.partial"
        deadline = time.monotonic() + 30
        while not (partial.exists() and partial.stat().st_size > 300_000):
            assert time.monotonic() < deadline, "nothing was downloaded"
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert not (tmp_path / PATH).exists()

        assert fetch(server, tmp_path) == [whole]

        (asked,) = {r for r in server.ranges(PATH) if r}
        assert int(asked.removeprefix("bytes=").rstrip("-")) > 300_000


def test_a_file_that_was_whole_when_the_process_died_only_gets_its_name(
    server, tmp_path
):
    fetch(server, tmp_path)
    final = tmp_path / PATH
    final.rename(final.with_name(f".{final.name}.partial"))
    final.with_name(f".{final.name}.partial.json").write_text(
        f'{{"url": "{server.url}/{PATH}", "validator": "x", "length": {len(WHOLE)}}}'
    )

    assert fetch(server, tmp_path) == [WHOLE]
    assert len(server.log) == 1


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (WHOLE, ""),
        (WHOLE + bytes(512), ""),
        (WHOLE[:-1], "cut"),
        (WHOLE[: -len(WHOLE) // 2], "cut"),
        (WHOLE + b"\x1f", "cut"),
        (WHOLE + b"\x1f\x8b\x08\x00", "cut"),
        (b"\x1f\x8b\x08", "cut"),
        (b"", "no gzip"),
        (b"<html>", "no gzip"),
        (crawl.member(bytes(200 << 20)), ""),
    ],
)
def test_the_end_of_a_gzip_file_is_judged_by_its_last_members(tmp_path, content, fault):
    (tmp_path / "x.gz").write_bytes(content)

    assert gzip_end.fault_of(tmp_path / "x.gz") == fault
