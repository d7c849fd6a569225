"""Staging: slow, broken and hanging storage costs no step and no other peer."""

import pathlib
import threading
import time

import pytest

from lmcodistill import errors
from lmcodistill.codistill import prefetch
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
    """Verifies as the training does; the lesson is the version."""
    publication.verify(snapshot, snapshot.manifest())
    return snapshot.version


def make(read=read, deadline_seconds=None):
    return prefetch.Stager(read, deadline_seconds=deadline_seconds)


def exports(root: pathlib.Path, peer: int) -> pathlib.Path:
    return root / str(peer) / "exports"


def request(root, peer=1, **changes):
    return prefetch.Request(peer, exports(root, peer), **changes)


def wait_until(is_so):
    give_up = time.monotonic() + _SOON
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def look(stager, *requests):
    """Begins, waits, and takes."""
    assert stager.begin(requests)
    wait_until(lambda: stager.is_done)
    return stager.take()


@pytest.fixture
def threads():
    """Returns the threads of this test's stagers; those of others may hang on."""
    before = set(threading.enumerate())
    return lambda: set(threading.enumerate()) - before


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(prefetch, "_LONGEST_POLL_SECONDS", 0.2)


def test_newest_of_every_peer_is_found(tmp_path):
    for step in (50, 100):
        publish(exports(tmp_path, 1), step)
    publish(exports(tmp_path, 2), 50, generation=3)

    found = look(make(), request(tmp_path, 1), request(tmp_path, 2))

    assert found == {1: (1, 100), 2: (3, 50)}


def test_peer_without_exports_is_left_out(tmp_path):
    publish(exports(tmp_path, 1), 50)

    found = look(make(), request(tmp_path, 1), request(tmp_path, 2))

    assert found == {1: (1, 50)}


def test_nothing_older_than_what_teaches_is_taken(tmp_path):
    for step in (50, 100):
        publish(exports(tmp_path, 1), step)

    assert look(make(), request(tmp_path, held=(1, 50))) == {1: (1, 100)}
    assert look(make(), request(tmp_path, held=(1, 100))) == {}
    assert look(make(), request(tmp_path, held=(2, 50))) == {}


def test_nothing_too_stale_is_taken(tmp_path):
    publish(exports(tmp_path, 1), 50)

    assert look(make(), request(tmp_path, oldest=50)) == {1: (1, 50)}
    assert look(make(), request(tmp_path, oldest=51)) == {}


def test_damaged_export_is_refused_and_the_one_before_serves(tmp_path, caplog):
    publish(exports(tmp_path, 1), 50)
    (publish(exports(tmp_path, 1), 100).path / "file-1").write_bytes(b"y" * 1000)
    stager = make()

    found = look(stager, request(tmp_path))

    assert found == {1: (1, 50)}
    assert stager.refusals == {"digest": 1}
    assert "event=export_refused peer=1 kind=digest" in caplog.text


def test_one_batch_is_under_way_at_a_time(tmp_path):
    publish(exports(tmp_path, 1), 50)
    stager = make()
    first = [request(tmp_path)]

    assert stager.begin(first)
    assert not stager.begin([request(tmp_path, held=(1, 1))])
    wait_until(lambda: stager.is_done)
    assert not stager.begin(first)

    assert stager.requests == first
    assert stager.take() == {1: (1, 50)}
    assert stager.requests == ()
    with pytest.raises(RuntimeError, match="Nothing is staged"):
        stager.take()


def test_fixed_step_is_waited_for(tmp_path):
    publish(exports(tmp_path, 1), 50)
    stager = make()
    stager.begin([request(tmp_path, step=100)])
    time.sleep(0.3)
    was_done = stager.is_done

    publish(exports(tmp_path, 1), 150)
    publish(exports(tmp_path, 1), 100)
    wait_until(lambda: stager.is_done)

    assert not was_done
    assert stager.take() == {1: (1, 100)}


def test_fixed_step_that_is_damaged_is_waited_for_in_the_next_life(tmp_path, caplog):
    (publish(exports(tmp_path, 1), 100).path / "file-1").write_bytes(b"y" * 1000)
    stager = make()
    stager.begin([request(tmp_path, step=100)])
    wait_until(lambda: stager.refusals)
    time.sleep(0.5)

    publish(exports(tmp_path, 1), 100, generation=2)
    wait_until(lambda: stager.is_done)

    assert stager.take() == {1: (2, 100)}
    assert stager.refusals == {"digest": 1}
    assert caplog.text.count("event=export_refused") == 1  # Not at every poll.


def test_what_is_dropped_is_forgotten(tmp_path, threads):
    stager = make()
    stager.begin([request(tmp_path, step=100)])

    stager.drop()
    publish(exports(tmp_path, 2), 50)

    assert look(stager, request(tmp_path, 2)) == {2: (1, 50)}
    wait_until(lambda: not threads())


def test_storage_that_fails_is_said_and_the_others_are_read(tmp_path, caplog):
    # A name that is too long is a failure that root gets too.
    broken = prefetch.Request(1, tmp_path / ("x" * 300))
    publish(exports(tmp_path, 2), 50)

    found = look(make(), broken, request(tmp_path, 2))

    assert found == {2: (1, 50)}
    assert "event=storage_failed peer=1" in caplog.text


def test_bug_in_a_reader_is_not_silent_and_the_others_are_read(tmp_path, caplog):
    def read_or_fail(request, snapshot):
        return read(request, snapshot) if request.peer == 2 else [][0]

    for peer in (1, 2):
        publish(exports(tmp_path, peer), 50)

    found = look(make(read_or_fail), request(tmp_path, 1), request(tmp_path, 2))

    assert found == {2: (1, 50)}
    assert "IndexError" in caplog.text


def test_slow_reading_costs_whoever_asks_nothing(tmp_path, monkeypatch):
    """A second for each file; the questions between steps take microseconds."""
    publish(exports(tmp_path, 1), 50, files=0)
    monkeypatch.setenv(faults.VARIABLE, "storage.read@1+:sleep=1")
    stager = make(lambda request, snapshot: snapshot.manifest()["step"])
    began, longest = time.monotonic(), 0.0

    stager.begin([request(tmp_path)])
    while not stager.is_done and time.monotonic() - began < 30.0:
        asked = time.perf_counter()
        stager.begin([request(tmp_path)])
        longest = max(longest, time.perf_counter() - asked)
        time.sleep(0.001)

    assert stager.take() == {1: 50}
    assert time.monotonic() - began > 2.0  # Manifest and marker.
    assert longest < 0.5


def test_hanging_read_is_abandoned_and_the_next_look_works(
    tmp_path, monkeypatch, caplog
):
    publish(exports(tmp_path, 1), 50)
    stager = make(deadline_seconds=0.5)
    monkeypatch.setenv(faults.VARIABLE, "storage.read@1:sleep=3600")
    began = time.monotonic()

    first = look(stager, request(tmp_path))
    second = look(stager, request(tmp_path))

    assert (first, second) == ({}, {1: (1, 50)})
    assert 0.5 <= time.monotonic() - began < 10.0
    assert "event=reading_abandoned peer=1" in caplog.text


def hangs_for(peers, until):
    def read_or_hang(request, snapshot):
        if request.peer in peers:
            until.wait(_SOON)
        return read(request, snapshot)

    return read_or_hang


def test_peer_that_hangs_costs_no_other_peer_its_lesson(tmp_path, threads):
    for peer in (1, 2, 3):
        publish(exports(tmp_path, peer), 50)
    freed = threading.Event()
    stager = make(hangs_for({1}, freed), deadline_seconds=0.3)
    requests = [request(tmp_path, peer) for peer in (1, 2, 3)]

    found = [look(stager, *requests) for _ in range(6)]
    num_threads = len(threads())
    freed.set()
    wait_until(lambda: not threads())

    assert found[0] == {}
    assert all(set(f) == {2, 3} for f in found[1:])
    assert num_threads <= 2
    assert set(look(stager, *requests)) == {1, 2, 3}  # It came back.


def test_late_outcome_is_forgotten(tmp_path, threads):
    publish(exports(tmp_path, 1), 50)
    freed = threading.Event()
    stager = make(hangs_for({1}, freed), deadline_seconds=0.2)
    look(stager, request(tmp_path))

    publish(exports(tmp_path, 1), 100)
    freed.set()
    wait_until(lambda: not threads())

    assert look(stager, request(tmp_path)) == {1: (1, 100)}
    assert stager.refusals == {}


def test_peers_that_are_read_slowly_all_have_their_turn(tmp_path, threads):
    for peer in range(1, 7):
        publish(exports(tmp_path, peer), 50)

    def read_slowly(request, snapshot):
        time.sleep(0.15)
        return read(request, snapshot)

    stager = make(read_slowly, deadline_seconds=0.4)
    requests = [request(tmp_path, peer) for peer in range(1, 7)]
    found: set[int] = set()

    for _ in range(6):
        found |= look(stager, *requests).keys()
        wait_until(lambda: not threads())

    assert found == {1, 2, 3, 4, 5, 6}


def test_refusal_is_an_error_of_the_export_alone(tmp_path):
    def refuse(request, snapshot):
        raise errors.SnapshotError("knows nothing", reason="probe")

    publish(exports(tmp_path, 1), 50)
    stager = make(refuse)

    assert look(stager, request(tmp_path)) == {}
    assert look(stager, request(tmp_path)) == {}
    assert stager.refusals == {"probe": 2}
