"""What was damaged or forged is refused, by its reason, and never waited for."""

import os
import pathlib
import socket
import time

import pytest

from lmcodistill import errors
from lmcodistill.storage import publication
from tests.support import snapshots


def make_socket(path: pathlib.Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = pathlib.Path.cwd()
        os.chdir(path.parent)  # The name of a socket must be short.
        made.bind(path.name)
        os.chdir(here)


DAMAGES = {
    "flipped bit": (snapshots.flip_a_bit, "digest", "has SHA-256"),
    "truncated": (lambda p: os.truncate(p, 3), "size", "3 bytes; .* says 4"),
    "longer": (lambda p: p.write_bytes(b"four!"), "size", "more than 4 bytes"),
    "terabytes": (lambda p: os.truncate(p, 1 << 40), "size", "more than 4 bytes"),
    "empty": (lambda p: os.truncate(p, 0), "size", "has 0 bytes"),
    "deleted": (pathlib.Path.unlink, "missing_file", "was removed meanwhile"),
    "a link": (snapshots.replace_by_link, "special_file", "no regular file"),
    "a linked folder": (
        snapshots.replace_by_linked_folder,
        "special_file",
        "symbolic link",
    ),
    "a pipe": (snapshots.replace_by(os.mkfifo), "special_file", "no regular file"),
    "a folder": (snapshots.replace_by(os.mkdir), "special_file", "no regular file"),
    "a socket": (snapshots.replace_by(make_socket), "special_file", "no regular file"),
    "a device": (
        snapshots.replace_by(snapshots.make_device),
        "special_file",
        "no regular file",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_refused_by_its_reason_at_once(tmp_path, damage):
    snapshot = snapshots.publish(tmp_path, 50)
    do, reason, message = DAMAGES[damage]
    if damage == "a device" and os.geteuid() != 0:
        pytest.skip("only root makes devices")
    do(snapshot.path / "below" / "second.txt")
    manifest = snapshot.manifest()
    (tmp_path / "copy").mkdir()
    began = time.monotonic()

    with pytest.raises(errors.SnapshotError, match=message) as checked:
        publication.verify(snapshot, manifest)
    with pytest.raises(errors.SnapshotError, match=message) as copied:
        publication.verify(snapshot, manifest, "below/", tmp_path / "copy")

    assert (checked.value.reason, copied.value.reason) == (reason, reason)
    assert time.monotonic() - began < 1.0


SMALL_DAMAGES = {
    "flipped bit": (snapshots.flip_a_bit, "marker"),
    "truncated": (lambda p: os.truncate(p, 20), "marker"),
    "empty": (lambda p: os.truncate(p, 0), "marker"),
    "no text": (lambda p: p.write_bytes(b"\xff" * 64), "marker"),
    "deleted": (pathlib.Path.unlink, "missing_file"),
    "a link": (snapshots.replace_by_link, "special_file"),
    "a pipe": (snapshots.replace_by(os.mkfifo), "special_file"),
    "a folder": (snapshots.replace_by(os.mkdir), "special_file"),
    "megabytes": (lambda p: p.write_bytes(b"x" * (1 << 21)), "size"),
    "terabytes": (lambda p: os.truncate(p, 1 << 40), "size"),
}


@pytest.mark.parametrize("name", [publication.MANIFEST, publication.COMMIT_FILE])
@pytest.mark.parametrize("damage", SMALL_DAMAGES)
def test_damaged_manifest_or_marker_is_refused_by_its_reason_at_once(
    tmp_path, name, damage
):
    snapshot = snapshots.publish(tmp_path, 50)
    do, reason = SMALL_DAMAGES[damage]
    do(snapshot.path / name)
    began = time.monotonic()

    with pytest.raises(errors.SnapshotError) as refusal:
        snapshot.manifest()

    assert refusal.value.reason == reason
    assert time.monotonic() - began < 1.0


def test_storage_that_fails_is_told_from_a_snapshot_that_is_gone(tmp_path):
    # Training must not go on from an older checkpoint because the newest could
    # not be looked at. A name that is too long is the failure that root gets too.
    path = tmp_path / ("x" * 300)

    with pytest.raises(errors.SnapshotError, match="Storage failed") as refusal:
        publication.Snapshot(path, 50, 1).manifest()

    assert refusal.value.reason == "storage"


def test_copy_that_cannot_be_written_is_no_fault_of_the_snapshot(tmp_path):
    snapshot = snapshots.publish(tmp_path, 50)

    with pytest.raises(OSError, match="nowhere"):
        publication.verify(snapshot, snapshot.manifest(), "below", tmp_path / "nowhere")


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "below/../../outside",
        "/etc/hostname",
        ".hidden",
        "a//b",
        "",
        "a\0b",
        "a\nb",
        "x" * 300,
        "below/",
        "below/.hidden",
        "~root",
    ],
)
def test_name_that_could_leave_the_folder_is_refused(tmp_path, name):
    (tmp_path / "outside").write_bytes(b"four")
    snapshot = snapshots.publish(tmp_path, 50)
    listed = snapshot.manifest()["files"]
    snapshots.forge(snapshot, files={**listed, name: listed["below/second.txt"]})

    with pytest.raises(errors.SnapshotError, match="plain relative paths") as refusal:
        publication.verify(snapshot, snapshot.manifest())

    assert refusal.value.reason == "file_table"


def test_nothing_is_read_before_all_names_were_looked_at(tmp_path):
    snapshot = snapshots.publish(tmp_path, 50)
    listed = snapshot.manifest()["files"]
    snapshots.forge(snapshot, files={**listed, "../outside": listed["first.txt"]})
    (tmp_path / "copy").mkdir()

    with pytest.raises(errors.SnapshotError, match="plain relative paths"):
        publication.verify(snapshot, snapshot.manifest(), "", tmp_path / "copy")

    assert list((tmp_path / "copy").iterdir()) == []


@pytest.mark.parametrize(
    "table",
    [
        None,
        [],
        {},
        "first.txt",
        {"first.txt": 13},
        {"first.txt": None},
        {"first.txt": {"bytes": -1}},
        {"first.txt": {"bytes": True}},
        {"first.txt": {"bytes": 13.0}},
        {"first.txt": {"bytes": "13"}},
    ],
)
def test_table_of_files_that_is_none_is_refused(tmp_path, table):
    snapshot = snapshots.publish(tmp_path, 50)
    snapshots.forge(snapshot, files=table)

    with pytest.raises(errors.SnapshotError, match="lists no files|lists 'first.txt'"):
        publication.verify(snapshot, snapshot.manifest())


@pytest.mark.parametrize("digest", [None, 5, "", "0" * 64, ["x"]])
def test_digest_that_is_none_is_refused(tmp_path, digest):
    snapshot = snapshots.publish(tmp_path, 50)
    snapshots.forge(snapshot, files={"first.txt": {"bytes": 13, "sha256": digest}})

    with pytest.raises(errors.SnapshotError, match="has SHA-256"):
        publication.verify(snapshot, snapshot.manifest())


@pytest.mark.parametrize("within", ["below", "below/", "below/second.txt"])
def test_copy_takes_only_what_was_asked_for(tmp_path, within):
    def write(path):
        snapshots.write_two_files(path)
        (path / "below_not").mkdir()
        (path / "below_not" / "third.txt").write_bytes(b"five")
        (path / "below" / "second.txt.more").write_bytes(b"six")

    snapshot = snapshots.publish(tmp_path / "folder", 50, write)
    to = tmp_path / "copy"
    to.mkdir()

    publication.verify(snapshot, snapshot.manifest(), within, to)

    expected = {"second.txt"} | ({"second.txt.more"} if "txt" not in within else set())
    assert {p.name for p in to.iterdir()} == expected
    assert (to / "second.txt").read_bytes() == b"four"


def test_copy_refuses_what_the_manifest_does_not_list(tmp_path):
    snapshot = snapshots.publish(tmp_path, 50)
    (snapshot.path / "more").mkdir()
    (snapshot.path / "more" / "third.txt").write_text("unlisted")

    with pytest.raises(errors.SnapshotError, match="lists no files below 'more/'"):
        publication.verify(snapshot, snapshot.manifest(), "more/", tmp_path)
