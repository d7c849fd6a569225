"""Snapshots appear whole or not at all, in the order of their owner's lives."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from lmcodistill import errors
from lmcodistill.storage import faults, publication
from tests.support import snapshots
from tests.support.snapshots import check, publish, versions_in

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_snapshot_says_what_it_holds(tmp_path):
    snapshot = publish(tmp_path, 50, generation=2)

    assert snapshot.path == tmp_path / "export-000000050-i2"
    assert snapshot.version == (2, 50)
    assert snapshot.manifest() == {
        "a": 1,
        "step": 50,
        "incarnation": 2,
        "files": {
            "below/second.txt": {
                "bytes": 4,
                "sha256": hashlib.sha256(b"four").hexdigest(),
            },
            "first.txt": {
                "bytes": 13,
                "sha256": hashlib.sha256(b"one two three").hexdigest(),
            },
        },
    }
    check(snapshot)


def test_snapshot_stays_invisible_while_it_is_being_written(tmp_path):
    seen_by_peer = []

    def write_while_a_peer_looks(path):
        snapshots.write_two_files(path)
        seen_by_peer.extend(versions_in(tmp_path))
        seen_by_peer.append("looked")

    publish(tmp_path, 50, write_while_a_peer_looks)

    assert seen_by_peer == ["looked"]
    assert versions_in(tmp_path) == [(1, 50)]


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt])
def test_failure_while_writing_leaves_nothing(tmp_path, failure):
    def write_half(path):
        (path / "first.txt").write_bytes(b"one")
        raise failure

    with pytest.raises(failure):
        publish(tmp_path, 50, write_half)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", [1, 2], ids=["before rename", "before marker"])
def test_owner_who_lost_the_folder_leaves_nothing(tmp_path, call):
    with pytest.raises(errors.GroupLostError):
        publish(tmp_path, 50, check=snapshots.loses_at(call))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("point", ["written", "before_rename", "before_marker"])
def test_storage_that_fails_at_any_point_leaves_nothing(tmp_path, monkeypatch, point):
    publish(tmp_path, 50)
    monkeypatch.setenv(faults.VARIABLE, f"export.{point}@1:fail")

    with pytest.raises(OSError, match="No space left"):
        publish(tmp_path, 100)

    assert [p.name for p in tmp_path.iterdir()] == ["export-000000050-i1"]
    monkeypatch.delenv(faults.VARIABLE)
    check(publish(tmp_path, 100))


def test_folder_without_marker_is_invisible_and_swept(tmp_path):
    publish(tmp_path, 50)
    snapshot = publish(tmp_path, 100)
    (snapshot.path / publication.COMMIT_FILE).unlink()  # Died just before it.

    visible = versions_in(tmp_path)
    publication.sweep(tmp_path)

    assert visible == [(1, 50)]
    assert [p.name for p in tmp_path.iterdir()] == ["export-000000050-i1"]


def test_folder_without_marker_is_replaced_by_a_new_attempt(tmp_path):
    snapshot = publish(tmp_path, 50, lambda path: (path / "old").write_text("x"))
    (snapshot.path / publication.COMMIT_FILE).unlink()

    check(publish(tmp_path, 50))

    assert not (snapshot.path / "old").exists()


def test_committed_snapshot_is_never_rewritten_in_the_same_life(tmp_path):
    first = publish(tmp_path, 50, manifest={"a": 1})

    second = publish(tmp_path, 50, manifest={"a": 2})

    assert second == first
    assert second.manifest()["a"] == 1


def test_next_life_writes_beside_what_was_there(tmp_path):
    snapshots.flip_a_bit(publish(tmp_path, 50).path / "first.txt")

    check(publish(tmp_path, 50, generation=2))

    assert versions_in(tmp_path) == [(1, 50), (2, 50)]


def test_order_is_by_generation_and_step_not_by_time_of_writing(tmp_path):
    for generation, step in ((2, 100), (1, 2_000_000_000), (10, 50), (2, 50)):
        publish(tmp_path, step, generation=generation)
    os.utime(tmp_path / "export-000000050-i2", (4e9, 4e9))

    assert versions_in(tmp_path) == [(1, 2_000_000_000), (2, 50), (2, 100), (10, 50)]


def test_other_names_are_not_snapshots(tmp_path):
    for name in (
        "export-5-i1",
        "export-000000050",
        "export-000000050-i1.bak",
        "export-000000050-i",
        "ckpt-000000050-i1",
        "export-x-i1",
        "export-000000050-i01",
        "export-0000000050-i1",
        ".partial-export-000000050-i1",
    ):
        shutil.copytree(publish(tmp_path / "other", 50).path, tmp_path / name)

    assert versions_in(tmp_path) == []
    assert versions_in(tmp_path / "not there") == []


@pytest.mark.parametrize("name", ["export-000000050-i2", "export-000000051-i1"])
def test_snapshot_under_another_name_is_refused(tmp_path, name):
    # So nobody can present an old export, though it is signed, as the newest.
    shutil.copytree(publish(tmp_path / "other", 50).path, tmp_path / name)
    found = publication.committed(tmp_path, "export")[0]

    with pytest.raises(errors.SnapshotError, match="copied or renamed") as refusal:
        found.manifest()

    assert refusal.value.reason == "name"


def test_keep_newest_removes_the_oldest(tmp_path):
    for step in (150, 50, 200, 100):
        publish(tmp_path, step)
    publication.publish(
        tmp_path, "ckpt", 1, snapshots.write_two_files, {}, snapshots.owner()
    )

    publication.keep_newest(tmp_path, "export", 2)

    assert versions_in(tmp_path) == [(1, 150), (1, 200)]
    assert versions_in(tmp_path, "ckpt") == [(1, 1)]
    assert len(list(tmp_path.iterdir())) == 3


def test_keep_newest_leaves_what_is_protected(tmp_path):
    made = [publish(tmp_path, step) for step in (50, 100, 150, 200)]

    publication.keep_newest(tmp_path, "export", 1, protected=[made[0], made[2]])

    assert versions_in(tmp_path) == [(1, 50), (1, 150), (1, 200)]


def test_keep_newest_removes_futures_that_were_given_up(tmp_path):
    for step in (50, 100, 150):
        publish(tmp_path, step)
    # The next life went on from 50, and has come to 100.
    publish(tmp_path, 100, generation=2)

    publication.keep_newest(tmp_path, "export", 5)

    assert versions_in(tmp_path) == [(1, 50), (2, 100)]


def test_sweep_leaves_what_others_put_there(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".nfs0000000000001").touch()
    (tmp_path / "export-000000050-i1-backup").mkdir()
    (tmp_path / "export-000000050-i1").mkdir()
    (tmp_path / ".partial-export-000000050-i1-0123").mkdir()
    (tmp_path / ".progress.json.0123.partial").touch()

    publication.sweep(tmp_path)

    assert {p.name for p in tmp_path.iterdir()} == {
        "notes",
        "notes.txt",
        ".nfs0000000000001",
        "export-000000050-i1-backup",
    }


def test_sweep_of_a_folder_that_is_not_there_does_nothing(tmp_path):
    publication.sweep(tmp_path / "not there")

    assert list(tmp_path.iterdir()) == []


def test_manifest_is_read_by_people_too(tmp_path):
    content = (publish(tmp_path, 50).path / publication.MANIFEST).read_text()

    assert content == json.dumps(json.loads(content), indent=2, sort_keys=True) + "\n"


KEY, OTHER = b"k" * 32, b"o" * 32
MARKERS = {
    "signed with the reader's key": (KEY, KEY, None),
    "nothing is signed": (None, None, None),
    "not signed, though the reader has a key": (None, KEY, "not signed with the key"),
    "signed with another key": (OTHER, KEY, "not signed with the key"),
    "signed, and the reader has no key": (KEY, None, "no key was given"),
}


@pytest.mark.parametrize("case", MARKERS)
def test_who_has_the_key_reads_only_what_was_signed_with_it(tmp_path, case):
    writer, reader, refused = MARKERS[case]
    publish(tmp_path, 50, key=writer)
    found = publication.committed(tmp_path, "export", reader)[0]

    if refused is None:
        check(found)
        return
    with pytest.raises(errors.SnapshotError, match=refused) as refusal:
        found.manifest()
    assert refusal.value.reason == "signature"


def test_whoever_lacks_the_key_cannot_forge_a_manifest(tmp_path):
    """Whatever is changed, and whatever marker is put there, is refused."""
    snapshot = publish(tmp_path, 50, key=KEY)
    path = snapshot.path / publication.MANIFEST
    marker = (snapshot.path / publication.COMMIT_FILE).read_bytes()
    content = path.read_bytes()
    forged = content.replace(b'"a": 1', b'"a": 2')
    markers = [
        marker,
        hashlib.sha256(forged).hexdigest().encode(),
        b"hmac-sha256:" + hashlib.sha256(forged).hexdigest().encode(),
        publication.commit_text(forged, OTHER),
        b"",
        b"hmac-sha256:",
    ]
    flipped = [
        content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        for at in range(len(content))
    ]

    tries = [(forged, one) for one in markers] + [(one, marker) for one in flipped]
    for manifest, put in tries:
        path.write_bytes(manifest)
        (snapshot.path / publication.COMMIT_FILE).write_bytes(put)
        with pytest.raises(errors.SnapshotError) as refusal:
            snapshot.manifest()
        assert refusal.value.reason == "signature"


def test_key_is_not_shown():
    assert b"kkk".decode() not in repr(publication.Owner(1, lambda: None, KEY))
    assert "kkk" not in repr(publication.Snapshot(ROOT, 1, 1, KEY))


def test_reader_gets_all_of_a_snapshot_or_a_refusal_while_its_owner_removes_it(
    tmp_path,
):
    """An owner keeps one snapshot and removes the rest; a reader never fails."""
    exports, to = tmp_path / "exports", tmp_path / "copy"
    to.mkdir()
    publish(exports, 1)
    done = threading.Event()

    def own():
        for step in range(2, 50):
            publish(exports, step)
            publication.keep_newest(exports, "export", 1)
        done.set()

    owner = threading.Thread(target=own)
    owner.start()
    read = 0
    while not done.is_set():
        for snapshot in publication.committed(exports, "export"):
            try:
                manifest = snapshot.manifest()
                publication.verify(snapshot, manifest, "below/", to)
                publication.verify(snapshot, manifest)
            except errors.SnapshotError as refusal:
                assert refusal.reason == "missing_file"
                continue
            assert (to / "second.txt").read_bytes() == b"four"
            read += 1
    owner.join()

    assert read > 0
    assert versions_in(exports) == [(1, 49)]


PUBLISHER = """
import pathlib, sys
from lmcodistill.storage import publication

def write(path):
    for index in range(20):
        (path / f"file-{index}.txt").write_bytes(b"x" * 1000)

own = publication.Owner(1, lambda: None)
for step in range(1, 1_000_000):
    publication.publish(pathlib.Path(sys.argv[1]), "export", step, write, {}, own)
"""


def start_publisher(folder, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(folder)],
        cwd=ROOT,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("point", "visible"),
    [("written", 2), ("before_rename", 2), ("before_marker", 2), ("after_marker", 3)],
)
def test_kill_at_a_point_leaves_what_was_committed_and_is_swept(
    tmp_path, point, visible
):
    publisher = start_publisher(tmp_path, LMCODISTILL_FAULT=f"export.{point}@3:kill")
    assert publisher.wait(timeout=60) == -signal.SIGKILL

    found = publication.committed(tmp_path, "export")
    publication.sweep(tmp_path)

    assert [s.version for s in found] == [(1, step + 1) for step in range(visible)]
    for snapshot in found:
        check(snapshot)
    assert len(list(tmp_path.iterdir())) == visible


def test_kill_at_any_moment_leaves_only_whole_snapshots(tmp_path):
    publisher = start_publisher(tmp_path)
    deadline = time.monotonic() + 60.0
    while len(versions_in(tmp_path)) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    publisher.send_signal(signal.SIGKILL)
    assert publisher.wait(timeout=30) == -signal.SIGKILL

    found = publication.committed(tmp_path, "export")

    assert len(found) >= 3
    for snapshot in found:
        check(snapshot)
        assert len(snapshot.manifest()["files"]) == 20
    publication.sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == len(found)
