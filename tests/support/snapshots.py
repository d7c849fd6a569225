"""Small snapshots, and the ways to spoil a file."""

import os
import pathlib

from lmcodistill import errors
from lmcodistill.storage import files, publication

FIRST, SECOND = b"one two three", b"four"


def write_two_files(path: pathlib.Path) -> None:
    (path / "first.txt").write_bytes(FIRST)
    (path / "below").mkdir()
    (path / "below" / "second.txt").write_bytes(SECOND)


def owner(generation=1, key=None, check=lambda: None) -> publication.Owner:
    """Returns the right to publish of somebody who never loses it, if not told so."""
    return publication.Owner(generation, check, key)


def loses_at(call: int):
    """Returns a check of ownership that fails the `call`-th time."""
    calls = []

    def check():
        calls.append(None)
        if len(calls) == call:
            raise errors.GroupLostError("held by another")

    return check


def publish(folder, step, write=write_two_files, manifest=None, **of_owner):
    manifest = {"a": 1} if manifest is None else manifest
    return publication.publish(
        folder, "export", step, write, manifest, owner(**of_owner)
    )


def versions_in(folder, prefix="export"):
    return [s.version for s in publication.committed(folder, prefix)]


def check(snapshot):
    """Does what a reader does: everything is verified."""
    publication.verify(snapshot, snapshot.manifest())


def forge(snapshot, **changes):
    """Changes a manifest as its writer could: the commit file fits it."""
    content = files.to_json({**snapshot.manifest(), **changes}).encode()
    (snapshot.path / publication.MANIFEST).write_bytes(content)
    commit = publication.commit_text(content, snapshot.key)
    (snapshot.path / publication.COMMIT_FILE).write_bytes(commit)


def flip_a_bit(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_link(path: pathlib.Path) -> None:
    same = path.with_name("same_content")
    path.rename(same)
    path.symlink_to(same)


def replace_by_linked_folder(path: pathlib.Path) -> None:
    same = path.parent.with_name("same_folder")
    path.parent.rename(same)
    path.parent.symlink_to(same)


def replace_by(make):
    def replace(path: pathlib.Path) -> None:
        path.unlink()
        make(path)

    return replace


def make_device(path: pathlib.Path) -> None:
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero: it never ends.
