"""Storage on an object store: a real S3 protocol, a real server on loopback."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from lmcodistill import errors
from lmcodistill.codistill import policies, prefetch
from lmcodistill.exports import lookup
from lmcodistill.storage import files, places, publication
from lmcodistill.supervision import lease
from tests.support import snapshots
from tests.support.snapshots import check, publish, versions_in

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(params=["s3", "memory"])
def where(request) -> places.Place:
    if request.param == "memory":
        return places.place(f"memory://{os.urandom(4).hex()}")
    return places.place(request.getfixturevalue("object_store").new_place())


@pytest.fixture
def s3(object_store) -> places.Place:
    return places.place(object_store.new_place())


def python(code: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_snapshot_comes_back(where, tmp_path):
    snapshot = publish(where, 50)
    publish(where, 100, generation=2)

    found = publication.committed(where, "export")
    publication.verify(found[0], found[0].manifest(), "below", tmp_path)

    assert [s.version for s in found] == [(1, 50), (2, 100)]
    assert found[0] == snapshot
    assert (tmp_path / "second.txt").read_bytes() == snapshots.SECOND
    for snapshot in found:
        check(snapshot)
    assert lookup.find(str(where)).version == (2, 100)


def test_names_and_files_are_what_they_are(where):
    snapshot = publish(where, 50)

    assert places.names_in(where) == ["export-000000050-i1"]
    assert sorted(places.names_in(snapshot.path)) == [
        "COMMITTED",
        "below",
        "first.txt",
        "manifest.json",
    ]
    assert places.names_in(snapshot.path / "first.txt") == []
    assert places.names_in(where / "not there") == []
    assert places.is_file(snapshot.path / "first.txt")
    assert not places.is_file(snapshot.path / "below")
    assert not places.is_file(snapshot.path / "not there")


def test_nothing_is_visible_before_the_marker_and_failures_leave_nothing(where):
    seen = []

    def write(path):
        snapshots.write_two_files(path)
        seen.append(versions_in(where))

    publish(where, 50, write)
    for call in (1, 2):
        with pytest.raises(errors.GroupLostError):
            publish(where, 100, check=snapshots.loses_at(call))

    assert seen == [[]]
    assert places.names_in(where) == ["export-000000050-i1"]


def test_what_a_killed_writer_left_is_invisible_and_swept(where):
    snapshot = publish(where, 50)
    publish(where, 100)
    places.remove_file(snapshot.path / publication.COMMIT_FILE)

    visible = versions_in(where)
    publication.sweep(where)

    assert visible == [(1, 100)]
    assert places.names_in(where) == ["export-000000100-i1"]


def test_only_the_newest_and_the_protected_stay(where):
    made = [publish(where, step) for step in (50, 100, 150, 200)]
    publish(where, 150, generation=2)

    publication.keep_newest(where, "export", 1, protected=made[:1])

    assert versions_in(where) == [(1, 50), (2, 150)]
    assert len(places.names_in(where)) == 2


DAMAGES = {
    "digest": lambda p: files.write_bytes(p, b"fouR"),
    "size": lambda p: files.write_bytes(p, b"four!"),
    "missing_file": places.remove_file,
}


@pytest.mark.parametrize("reason", DAMAGES)
def test_damage_is_refused_by_its_reason(where, reason):
    snapshot = publish(where, 50)
    DAMAGES[reason](snapshot.path / "below" / "second.txt")

    with pytest.raises(errors.SnapshotError) as refusal:
        check(snapshot)

    assert refusal.value.reason == reason


def test_file_longer_than_a_request_comes_back(s3, tmp_path):
    content = os.urandom(1 << 20) * 60  # More than one range, more than one part.
    snapshot = publish(s3, 50, lambda path: (path / "large").write_bytes(content))

    publication.verify(snapshot, snapshot.manifest(), "large", tmp_path)

    assert (tmp_path / "large").read_bytes() == content


def test_signed_snapshots_are_read_with_the_key_only(where):
    publish(where, 50, key=b"k" * 32)

    check(publication.committed(where, "export", b"k" * 32)[0])
    for key in (None, b"o" * 32):
        with pytest.raises(errors.SnapshotError) as refusal:
            publication.committed(where, "export", key)[0].manifest()
        assert refusal.value.reason == "signature"


def test_lease_is_held_renewed_lost_and_given_up(where, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    own, lost = lease.Lease.acquire(where), threading.Event()
    own.keep(lambda error: lost.set())
    with pytest.raises(errors.GroupLostError, match=f"held by process {os.getpid()} "):
        lease.Lease.acquire(where)
    own.renew()
    own.check()

    other = lease.Lease.acquire(where, take_over=True)
    was_told = lost.wait(10.0)
    with pytest.raises(errors.GroupLostError, match="This process held"):
        own.check()
    other.release()

    assert was_told
    assert (own.generation, other.generation) == (2, 3)
    assert lease.Lease.acquire(where).generation == 4


RACER = """
import sys
from lmcodistill import errors
from lmcodistill.storage import places
from lmcodistill.supervision import lease
for line in sys.stdin:
    try:
        lease.Lease.acquire(places.place(line.strip()))
        print("owner", flush=True)
    except errors.GroupLostError:
        print("refused", flush=True)
"""


@pytest.mark.parametrize("count", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_no_race_has_two_owners(s3, count):
    racers = [python(RACER) for _ in range(count)]
    owners = []
    for race in range(5):
        for racer in racers:
            racer.stdin.write(f"{s3}/{race}\n")
            racer.stdin.flush()
        owners.append([r.stdout.readline() for r in racers].count("owner\n"))
    for racer in racers:
        racer.communicate()

    assert owners == [1] * 5


WRITER = """
import sys
from lmcodistill.storage import places, publication
folder = places.place(sys.argv[1])
own = publication.Owner(int(sys.argv[2]), lambda: None)
step = 0
while True:
    step += 1
    def write(path):
        for index in range(3):
            (path / f"{index}.txt").write_bytes(f"{step} {index} ".encode() * 1000)
    publication.publish(folder, "export", step, write, {}, own)
    publication.keep_newest(folder, "export", 1)
"""


def test_reader_gets_all_of_a_snapshot_or_a_refusal(s3, tmp_path):
    writer = python(WRITER, s3, 1)
    read, refused, give_up = 0, 0, time.monotonic() + 60.0
    while (read < 20 or refused < 1) and time.monotonic() < give_up:
        for snapshot in publication.committed(s3, "export"):
            try:
                manifest = snapshot.manifest()
                publication.verify(snapshot, manifest, "", tmp_path)
            except errors.SnapshotError as refusal:
                assert refusal.reason == "missing_file"
                refused += 1
                continue
            for index in range(3):
                content = (tmp_path / f"{index}.txt").read_bytes()
                assert content == f"{snapshot.step} {index} ".encode() * 1000
            read += 1
    writer.kill()
    writer.communicate()

    assert read >= 20
    for snapshot in publication.committed(s3, "export"):
        with contextlib.suppress(errors.SnapshotError):
            check(snapshot)


def test_killed_writer_leaves_whole_snapshots_and_nothing_else(s3):
    for life in (1, 2):
        writer, give_up = python(WRITER, s3, life), time.monotonic() + 60.0
        while not any(v >= (life, 3) for v in versions_in(s3)):
            assert time.monotonic() < give_up
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        publication.sweep(s3)
        found = publication.committed(s3, "export")
        for snapshot in found:
            check(snapshot)
        assert len(places.names_in(s3)) == len(found) in (1, 2)


def read(request, snapshot):
    check(snapshot)
    return snapshot.version


def wait_until(is_so) -> None:
    give_up = time.monotonic() + 60.0
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def wait_for(prefetcher) -> dict:
    wait_until(lambda: prefetcher.is_done)
    return prefetcher.take()


def test_server_that_is_down_is_a_failure_and_never_an_absence(s3, object_store):
    """None of these may believe that there is nothing."""
    snapshot = publish(s3 / "exports", 50)
    own = lease.Lease.acquire(s3 / "leases")
    object_store.stop()
    looks = [
        lambda: publication.committed(s3 / "exports", "export"),
        lambda: publication.sweep(s3 / "exports"),
        lambda: publication.keep_newest(s3 / "exports", "export", 1),
        lambda: publish(s3 / "exports", 100),
        lambda: lease.Lease.acquire(s3 / "leases"),
        own.check,
    ]

    for look in looks:
        with pytest.raises(OSError, match="Could not connect"):
            look()
    with pytest.raises(errors.SnapshotError) as refusal:
        snapshot.manifest()
    with pytest.raises(errors.SnapshotError, match="cannot be looked at"):
        lookup.find(str(s3))
    object_store.start()

    assert refusal.value.reason == "storage"
    assert versions_in(s3 / "exports") == [(1, 50)]
    own.check()
    check(publish(s3 / "exports", 100))


def test_prefetcher_and_lease_outlive_a_server_that_is_down(
    s3, object_store, caplog, monkeypatch
):
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    publish(s3 / "exports", 50)
    own, lost = lease.Lease.acquire(s3 / "leases"), threading.Event()
    own.keep(lambda error: lost.set())
    prefetcher = prefetch.Prefetcher(
        read, lambda peer: s3 / "exports", deadline_seconds=60.0
    )
    request = policies.Request(1)

    object_store.stop()
    prefetcher.begin([request])
    while_down = wait_for(prefetcher)
    wait_until(lambda: "event=lease_not_renewed" in caplog.text)
    object_store.start()
    prefetcher.begin([request])
    afterwards = wait_for(prefetcher)
    wait_until(lambda: "event=lease_renewed" in caplog.text)
    own.release()

    assert (while_down, afterwards) == ({}, {1: (1, 50)})
    assert "event=storage_failed peer=1" in caplog.text
    assert not lost.is_set()
    assert lease.newest(s3 / "leases").released


def test_slow_server_is_waited_for_beside_the_training(s3, object_store):
    publish(s3 / "exports", 50)
    prefetcher = prefetch.Prefetcher(
        read, lambda peer: s3 / "exports", deadline_seconds=60.0
    )
    object_store.delay(0.3)
    began, longest = time.monotonic(), 0.0

    prefetcher.begin([policies.Request(1)])
    while not prefetcher.is_done:
        asked = time.perf_counter()
        prefetcher.begin([])
        longest = max(longest, time.perf_counter() - asked)
        time.sleep(0.01)

    assert prefetcher.take() == {1: (1, 50)}
    assert time.monotonic() - began > 1.0
    assert longest < 0.5


def test_server_too_slow_for_the_deadline_is_asked_again_later(s3, object_store):
    publish(s3 / "exports", 50)
    prefetcher = prefetch.Prefetcher(
        read, lambda peer: s3 / "exports", deadline_seconds=1.0
    )

    def look() -> dict:
        prefetcher.begin([policies.Request(1)])
        return wait_for(prefetcher)

    object_store.delay(2.0)
    first = look()
    object_store.delay(0.0)

    assert first == {}
    wait_until(lambda: look() == {1: (1, 50)})


def test_bucket_that_is_not_there_is_said_when_something_is_written(object_store):
    where = places.place("s3://no-such-bucket/run")

    assert places.names_in(where) == []
    with pytest.raises(OSError, match="bucket does not exist"):
        lease.Lease.acquire(where)


def test_no_credentials_are_a_failure_that_is_named(object_store, tmp_path):
    code = (
        "import sys\nfrom lmcodistill.storage import places\n"
        "try: places.names_in(places.place(sys.argv[1]))\n"
        "except OSError as error: print(error)\n"
    )
    environment = {k: v for k, v in os.environ.items() if "_KEY" not in k}
    done = subprocess.run(
        [sys.executable, "-c", code, object_store.new_place()],
        cwd=ROOT,
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert "NoCredentialsError" in done.stdout
