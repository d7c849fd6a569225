"""Snapshots appear whole or not at all, and what was damaged is refused."""

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
from lmcodistill.storage import files, publication

ROOT = pathlib.Path(__file__).resolve().parents[3]


def write_two_files(path: pathlib.Path) -> None:
    (path / "first.txt").write_bytes(b"one two three")
    (path / "below").mkdir()
    (path / "below" / "second.txt").write_bytes(b"four")


def publish(folder, step, write=write_two_files, manifest=None):
    return publication.publish(folder, "export", step, write, manifest or {"a": 1})


def steps_in(folder):
    return [snapshot.step for snapshot in publication.committed(folder, "export")]


def check(snapshot):
    """Does what a reader does: everything is verified, then copied."""
    manifest = snapshot.manifest()
    publication.check_files(snapshot, manifest)


def test_snapshot_says_what_it_holds(tmp_path):
    snapshot = publish(tmp_path, 50)

    assert snapshot.path == tmp_path / "export-000000050"
    assert snapshot.manifest() == {
        "a": 1,
        "step": 50,
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
        write_two_files(path)
        seen_by_peer.extend(steps_in(tmp_path))
        seen_by_peer.append("looked")

    publish(tmp_path, 50, write_while_a_peer_looks)

    assert seen_by_peer == ["looked"]
    assert steps_in(tmp_path) == [50]


@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt])
def test_failure_while_writing_leaves_nothing(tmp_path, failure):
    def write_half(path):
        (path / "first.txt").write_bytes(b"one")
        raise failure

    with pytest.raises(failure):
        publish(tmp_path, 50, write_half)

    assert list(tmp_path.iterdir()) == []


def test_folder_without_marker_is_invisible_and_swept(tmp_path):
    publish(tmp_path, 50)
    snapshot = publish(tmp_path, 100)
    (snapshot.path / publication.MARKER).unlink()  # Died just before it.

    visible = steps_in(tmp_path)
    publication.sweep(tmp_path)

    assert visible == [50]
    assert [p.name for p in tmp_path.iterdir()] == ["export-000000050"]


def test_folder_without_marker_is_replaced_by_a_new_attempt(tmp_path):
    snapshot = publish(tmp_path, 50, lambda path: (path / "old").write_text("x"))
    (snapshot.path / publication.MARKER).unlink()

    check(publish(tmp_path, 50))

    assert not (snapshot.path / "old").exists()


def test_committed_snapshot_is_never_rewritten(tmp_path):
    first = publish(tmp_path, 50, manifest={"a": 1})

    second = publish(tmp_path, 50, manifest={"a": 2})

    assert second == first
    assert second.manifest()["a"] == 1


def test_damaged_snapshot_is_written_anew(tmp_path):
    # A run that fell back to an older one comes to this step again.
    flip_a_bit(publish(tmp_path, 50).path / "first.txt")

    check(publish(tmp_path, 50))


def test_order_is_by_step_not_by_time_of_writing(tmp_path):
    for step in (100, 2_000_000_000, 50):
        publish(tmp_path, step)
    os.utime(tmp_path / "export-000000050", (4e9, 4e9))

    assert steps_in(tmp_path) == [50, 100, 2_000_000_000]


def test_other_names_are_not_snapshots(tmp_path):
    for name in ("export-5", "export-000000050.bak", "ckpt-000000050", "export-x"):
        shutil.copytree(publish(tmp_path / "other", 50).path, tmp_path / name)

    assert steps_in(tmp_path) == []
    assert steps_in(tmp_path / "not there") == []


def test_keep_newest_removes_the_oldest_by_step(tmp_path):
    for step in (150, 50, 200, 100):
        publish(tmp_path, step)
    publication.publish(tmp_path, "ckpt", 1, write_two_files, {})

    publication.keep_newest(tmp_path, "export", 2)

    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "ckpt-000000001",
        "export-000000150",
        "export-000000200",
    ]


def flip_a_bit(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_link(path: pathlib.Path) -> None:
    same = path.with_name("same content")
    path.rename(same)
    path.symlink_to(same)


def replace_by_pipe(path: pathlib.Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = {
    "flipped bit": (flip_a_bit, "has SHA-256"),
    "truncated": (lambda p: os.truncate(p, 3), "has 3 bytes; its manifest says 4"),
    "longer": (lambda p: p.write_bytes(b"four!"), "has 5 bytes"),
    "empty": (lambda p: os.truncate(p, 0), "has 0 bytes"),
    "deleted": (pathlib.Path.unlink, "is missing"),
    "a link": (replace_by_link, "no regular file"),
    "a pipe": (replace_by_pipe, "no regular file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_refused_by_its_reason(tmp_path, damage):
    snapshot = publish(tmp_path, 50)
    do, reason = DAMAGES[damage]
    do(snapshot.path / "below" / "second.txt")
    manifest = snapshot.manifest()
    (tmp_path / "copy").mkdir()

    with pytest.raises(errors.SnapshotError, match=reason):
        publication.check_files(snapshot, manifest)
    with pytest.raises(errors.SnapshotError, match=reason):
        publication.copy_verified(snapshot, manifest, "below/", tmp_path / "copy")


MANIFEST_DAMAGES = {
    "flipped bit": (flip_a_bit, "does not match the digest"),
    "truncated": (lambda p: os.truncate(p, 20), "is not readable|does not match"),
    "deleted": (pathlib.Path.unlink, "is not readable"),
    "a pipe": (replace_by_pipe, "is not readable"),
    "gigabytes": (lambda p: os.truncate(p, 1 << 40), "is not readable"),
}


@pytest.mark.parametrize("damage", MANIFEST_DAMAGES)
def test_damaged_manifest_is_refused(tmp_path, damage):
    snapshot = publish(tmp_path, 50)
    do, reason = MANIFEST_DAMAGES[damage]
    do(snapshot.path / publication.MANIFEST)

    with pytest.raises(errors.SnapshotError, match=reason):
        snapshot.manifest()


@pytest.mark.parametrize("content", [b"", b"0" * 64, b"\xff", b"x" * (1 << 21)])
def test_damaged_marker_is_refused(tmp_path, content):
    snapshot = publish(tmp_path, 50)
    (snapshot.path / publication.MARKER).write_bytes(content)

    with pytest.raises(errors.SnapshotError, match="not readable|does not match"):
        snapshot.manifest()


def forge(snapshot, **changes):
    """Changes a manifest as its writer could: the marker fits it."""
    manifest = {**snapshot.manifest(), **changes}
    content = files.to_json(manifest).encode()
    (snapshot.path / publication.MANIFEST).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    (snapshot.path / publication.MARKER).write_text(digest)


@pytest.mark.parametrize(
    "name",
    ["../outside", "below/../../outside", "/etc/hostname", ".hidden", "a//b", ""],
)
def test_name_that_could_leave_the_folder_is_refused(tmp_path, name):
    (tmp_path / "outside").write_bytes(b"four")
    snapshot = publish(tmp_path, 50)
    listed = snapshot.manifest()["files"]
    forge(snapshot, files={**listed, name: listed["below/second.txt"]})

    with pytest.raises(errors.SnapshotError, match="plain relative paths"):
        publication.check_files(snapshot, snapshot.manifest())


@pytest.mark.parametrize(
    "table", [None, [], {}, "first.txt", {"first.txt": 13}, {"first.txt": None}]
)
def test_table_of_files_that_is_none_is_refused(tmp_path, table):
    snapshot = publish(tmp_path, 50)
    forge(snapshot, files=table)

    with pytest.raises(
        errors.SnapshotError, match="lists no files|lists 'first.txt' as"
    ):
        publication.check_files(snapshot, snapshot.manifest())


def test_copy_takes_only_what_was_asked_for(tmp_path):
    snapshot = publish(tmp_path / "folder", 50)
    to = tmp_path / "copy"
    to.mkdir()

    publication.copy_verified(snapshot, snapshot.manifest(), "below/", to)

    assert [(p.name, p.read_bytes()) for p in to.iterdir()] == [("second.txt", b"four")]


def test_copy_refuses_what_the_manifest_does_not_list(tmp_path):
    snapshot = publish(tmp_path, 50)
    (snapshot.path / "more").mkdir()
    (snapshot.path / "more" / "third.txt").write_text("unlisted")

    with pytest.raises(errors.SnapshotError, match="lists no files below 'more/'"):
        publication.copy_verified(snapshot, snapshot.manifest(), "more/", tmp_path)


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
                publication.copy_verified(snapshot, manifest, "below/", to)
                publication.check_files(snapshot, manifest)
            except errors.SnapshotError:
                continue
            assert (to / "second.txt").read_bytes() == b"four"
            read += 1
    owner.join()

    assert read > 0
    assert steps_in(exports) == [49]


PUBLISHER = """
import pathlib, sys
from lmcodistill.storage import publication

def write(path):
    (path / "first.txt").write_bytes(b"half")
    print("half written", flush=True)
    sys.stdin.read()  # Never comes.

publication.publish(pathlib.Path(sys.argv[1]), "export", 100, write, {})
"""


def test_kill_in_the_middle_leaves_nothing_visible_and_is_swept(tmp_path):
    publish(tmp_path, 50)
    publisher = subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert publisher.stdout.readline() == "half written\n"
    publisher.send_signal(signal.SIGKILL)
    assert publisher.wait(timeout=30) == -signal.SIGKILL
    publisher.communicate()

    litter = [p for p in tmp_path.iterdir() if p.name != "export-000000050"]
    half = [p.read_bytes() for p in litter[0].iterdir()]
    visible = steps_in(tmp_path)
    publication.sweep(tmp_path)

    assert (len(litter), half) == (1, [b"half"])
    assert visible == [50]
    assert [p.name for p in tmp_path.iterdir()] == ["export-000000050"]
    check(publish(tmp_path, 100))


KILLED_ANYWHERE = """
import pathlib, sys
from lmcodistill.storage import publication

def write(path):
    for index in range(20):
        (path / f"file-{index}.txt").write_bytes(b"x" * 1000)

step = 0
while True:
    step += 1
    publication.publish(pathlib.Path(sys.argv[1]), "export", step, write, {})
"""


def test_kill_at_any_moment_leaves_only_whole_snapshots(tmp_path):
    publisher = subprocess.Popen(
        [sys.executable, "-c", KILLED_ANYWHERE, str(tmp_path)], cwd=ROOT
    )
    deadline = time.monotonic() + 60.0
    while len(steps_in(tmp_path)) < 3 and time.monotonic() < deadline:
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


def test_sweep_of_a_folder_that_is_not_there_does_nothing(tmp_path):
    publication.sweep(tmp_path / "not there")

    assert list(tmp_path.iterdir()) == []


def test_manifest_is_read_by_people_too(tmp_path):
    content = (publish(tmp_path, 50).path / publication.MANIFEST).read_text()

    assert content == json.dumps(json.loads(content), indent=2, sort_keys=True) + "\n"
