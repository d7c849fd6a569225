"""Prefetching: slow, broken and hanging storage costs no step and no other peer."""

import pathlib
import threading
import time

import pytest

from lmcodistill import errors
from lmcodistill.codistill import policies, prefetch
from lmcodistill.storage import faults, layout, publication

_SOON = 20.0


def publish(folder, step, generation=1, files=2):
    def write(path):
        for index in range(files):
            (path / f"file-{index}").write_bytes(b"x" * 1000)

    return publication.publish(
        folder,
        layout.EXPORT,
        step,
        write,
        {},
        publication.Owner(generation, lambda: None),
    )


def read(request, snapshot):
    """Verifies as the training does; what is loaded is the version."""
    publication.verify(snapshot, snapshot.manifest())
    return snapshot.version


@pytest.fixture
def make(tmp_path):
    """Makes prefetchers of the peers' folders below the test's own."""

    def make(read=read, deadline_seconds=None, folder_of=None):
        return prefetch.Prefetcher(
            read,
            folder_of or (lambda peer: exports(tmp_path, peer)),
            deadline_seconds=deadline_seconds,
        )

    return make


def exports(root: pathlib.Path, peer: int) -> pathlib.Path:
    return root / str(peer) / "exports"


def request(peer=1, **changes):
    return policies.Request(peer, **changes)


def wait_until(is_so):
    give_up = time.monotonic() + _SOON
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def look(prefetcher, *requests):
    """Begins, waits, and takes."""
    assert prefetcher.begin(requests)
    wait_until(lambda: prefetcher.is_done)
    return prefetcher.take()


@pytest.fixture
def threads():
    """Returns the threads of this test's prefetchers; those of others may hang on."""
    before = set(threading.enumerate())
    return lambda: set(threading.enumerate()) - before


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(prefetch, "_LONGEST_POLL_SECONDS", 0.2)


def test_newest_of_every_peer_is_found(tmp_path, make):
    for step in (50, 100):
        publish(exports(tmp_path, 1), step)
    publish(exports(tmp_path, 2), 50, generation=3)

    found = look(make(), request(1), request(2))

    assert found == {1: (1, 100), 2: (3, 50)}


def test_peer_without_exports_is_left_out(tmp_path, make):
    publish(exports(tmp_path, 1), 50)

    found = look(make(), request(1), request(2))

    assert found == {1: (1, 50)}


def test_nothing_older_than_what_teaches_is_taken(tmp_path, make):
    for step in (50, 100):
        publish(exports(tmp_path, 1), step)

    assert look(make(), request(held=(1, 50))) == {1: (1, 100)}
    assert look(make(), request(held=(1, 100))) == {}
    assert look(make(), request(held=(2, 50))) == {}


def test_nothing_too_stale_is_taken(tmp_path, make):
    publish(exports(tmp_path, 1), 50)

    assert look(make(), request(oldest=50)) == {1: (1, 50)}
    assert look(make(), request(oldest=51)) == {}


def test_damaged_export_is_refused_and_the_one_before_serves(tmp_path, caplog, make):
    publish(exports(tmp_path, 1), 50)
    (publish(exports(tmp_path, 1), 100).path / "file-1").write_bytes(b"y" * 1000)
    prefetcher = make()

    found = look(prefetcher, request())

    assert found == {1: (1, 50)}
    assert prefetcher.refusals == {"digest": 1}
    assert "event=export_refused peer=1 kind=digest" in caplog.text


def test_one_batch_is_under_way_at_a_time(tmp_path, make):
    publish(exports(tmp_path, 1), 50)
    prefetcher = make()
    first = [request()]

    assert prefetcher.begin(first)
    assert not prefetcher.begin([request(held=(1, 1))])
    wait_until(lambda: prefetcher.is_done)
    assert not prefetcher.begin(first)

    assert prefetcher.requests == first
    assert prefetcher.take() == {1: (1, 50)}
    assert prefetcher.requests == ()
    with pytest.raises(RuntimeError, match="Nothing is staged"):
        prefetcher.take()


@pytest.fixture
def looks(tmp_path):
    """The folders that were looked into, one after the other."""
    folders = []

    def look_into(peer):
        folders.append(exports(tmp_path, peer))
        return folders[-1]

    look_into.folders = folders
    return look_into


def test_fixed_step_is_waited_for(tmp_path, make, looks):
    publish(exports(tmp_path, 1), 50)
    prefetcher = make(folder_of=looks)
    prefetcher.begin([request(step=100)])
    wait_until(lambda: len(looks.folders) > 3)
    was_done = prefetcher.is_done

    publish(exports(tmp_path, 1), 150)
    publish(exports(tmp_path, 1), 100)
    wait_until(lambda: prefetcher.is_done)

    assert not was_done
    assert prefetcher.take() == {1: (1, 100)}


def test_fixed_step_that_is_damaged_is_waited_for_in_the_next_life(
    tmp_path, caplog, make, looks
):
    (publish(exports(tmp_path, 1), 100).path / "file-1").write_bytes(b"y" * 1000)
    prefetcher = make(folder_of=looks)
    prefetcher.begin([request(step=100)])
    wait_until(lambda: prefetcher.refusals and len(looks.folders) > 1)

    publish(exports(tmp_path, 1), 100, generation=2)
    wait_until(lambda: prefetcher.is_done)

    assert prefetcher.take() == {1: (2, 100)}
    assert prefetcher.refusals == {"digest": 1}
    assert caplog.text.count("event=export_refused") == 1  # Not at every poll.


def test_what_is_dropped_is_forgotten(tmp_path, threads, make):
    prefetcher = make()
    prefetcher.begin([request(step=100)])

    prefetcher.drop()
    publish(exports(tmp_path, 2), 50)

    assert look(prefetcher, request(2)) == {2: (1, 50)}
    wait_until(lambda: not threads())


def test_storage_that_fails_is_said_and_the_others_are_read(tmp_path, caplog, make):
    # A name that is too long is a failure that root gets too.
    def folder_of(peer):
        return tmp_path / ("x" * 300) if peer == 1 else exports(tmp_path, peer)

    publish(exports(tmp_path, 2), 50)

    found = look(make(folder_of=folder_of), request(1), request(2))

    assert found == {2: (1, 50)}
    assert "event=storage_failed peer=1" in caplog.text


def test_bug_in_a_reader_is_not_silent_and_the_others_are_read(tmp_path, caplog, make):
    def read_or_fail(request, snapshot):
        return read(request, snapshot) if request.peer == 2 else [][0]

    for peer in (1, 2):
        publish(exports(tmp_path, peer), 50)

    found = look(make(read_or_fail), request(1), request(2))

    assert found == {2: (1, 50)}
    assert "IndexError" in caplog.text


def test_slow_reading_costs_whoever_asks_nothing(tmp_path, monkeypatch, make):
    """A second for each file; the questions between steps take microseconds."""
    publish(exports(tmp_path, 1), 50, files=0)
    monkeypatch.setenv(faults.VARIABLE, "storage.read@1+:sleep=1")
    prefetcher = make(lambda request, snapshot: snapshot.manifest()["step"])
    began, longest = time.monotonic(), 0.0

    prefetcher.begin([request()])
    while not prefetcher.is_done and time.monotonic() - began < 30.0:
        asked = time.perf_counter()
        prefetcher.begin([request()])
        longest = max(longest, time.perf_counter() - asked)
        time.sleep(0.001)

    assert prefetcher.take() == {1: 50}
    assert time.monotonic() - began > 2.0  # Manifest and marker.
    assert longest < 0.5


def test_hanging_read_is_abandoned_and_the_next_look_works(
    tmp_path, monkeypatch, caplog, make
):
    publish(exports(tmp_path, 1), 50)
    prefetcher = make(deadline_seconds=0.5)
    monkeypatch.setenv(faults.VARIABLE, "storage.read@1:sleep=3600")
    began = time.monotonic()

    first = look(prefetcher, request())
    second = look(prefetcher, request())

    assert (first, second) == ({}, {1: (1, 50)})
    assert 0.5 <= time.monotonic() - began < 10.0
    assert "event=reading_abandoned peer=1" in caplog.text


def hangs_for(peers, until):
    def read_or_hang(request, snapshot):
        if request.peer in peers:
            until.wait(_SOON)
        return read(request, snapshot)

    return read_or_hang


def test_peer_that_hangs_costs_no_other_peer_its_update(tmp_path, threads, make):
    for peer in (1, 2, 3):
        publish(exports(tmp_path, peer), 50)
    freed = threading.Event()
    prefetcher = make(hangs_for({1}, freed), deadline_seconds=0.3)
    requests = [request(peer) for peer in (1, 2, 3)]

    found = [look(prefetcher, *requests) for _ in range(6)]
    num_threads = len(threads())
    freed.set()
    wait_until(lambda: not threads())

    assert found[0] == {}
    assert all(set(f) == {2, 3} for f in found[1:])
    assert num_threads <= 2
    assert set(look(prefetcher, *requests)) == {1, 2, 3}  # It came back.


def test_late_outcome_is_forgotten(tmp_path, threads, make):
    publish(exports(tmp_path, 1), 50)
    freed = threading.Event()
    prefetcher = make(hangs_for({1}, freed), deadline_seconds=0.2)
    look(prefetcher, request())

    publish(exports(tmp_path, 1), 100)
    freed.set()
    wait_until(lambda: not threads())

    assert look(prefetcher, request()) == {1: (1, 100)}
    assert prefetcher.refusals == {}


def test_peers_that_are_read_slowly_all_have_their_turn(tmp_path, threads, make):
    for peer in range(1, 7):
        publish(exports(tmp_path, peer), 50)

    def read_slowly(request, snapshot):
        time.sleep(0.15)
        return read(request, snapshot)

    prefetcher = make(read_slowly, deadline_seconds=0.4)
    requests = [request(peer) for peer in range(1, 7)]
    found: set[int] = set()

    for _ in range(6):
        found |= look(prefetcher, *requests).keys()
        wait_until(lambda: not threads())

    assert found == {1, 2, 3, 4, 5, 6}


def test_refusal_is_an_error_of_the_export_alone(tmp_path, make):
    def refuse(request, snapshot):
        raise errors.SnapshotError("knows nothing", reason="probe")

    publish(exports(tmp_path, 1), 50)
    prefetcher = make(refuse)

    assert look(prefetcher, request()) == {}
    assert look(prefetcher, request()) == {}
    assert prefetcher.refusals == {"probe": 2}
