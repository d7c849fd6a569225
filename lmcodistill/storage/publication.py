"""Snapshots that other processes may read: the commit protocol.

A snapshot is a folder `<prefix>-<step>-i<generation>` that appears whole or not
at all:

1. everything is written into a uniquely named folder beside the final place;
2. every file is hashed and forced to disk, then the manifest that lists them;
3. the folder is renamed to its final name; on an object store, which has no
   rename, its files are put there one by one instead;
4. last, the commit file `COMMITTED` with the manifest's digest is written. Fault
   points and the refusal of a wrong digest call it `marker`.

Readers consider only folders whose commit file matches their manifest, whatever
the storage does to rename. Order is by generation and step, never by time. What is
committed is never rewritten.

An owner that freezes after its last check and thaws when it has lost its folder
may still commit; that snapshot is whole, and all of its successor's are newer.
"""

import contextlib
import dataclasses
import hashlib
import hmac
import pathlib
import re
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator
from typing import Any

from lmcodistill import errors
from lmcodistill.storage import contents, faults, files, places, scratch

MANIFEST = "manifest.json"
COMMIT_FILE = "COMMITTED"
_PARTIAL = ".partial-"
_SIGNED = "hmac-sha256:"
_MAX_COMMIT_BYTES = 128
# Each number in one way only: two names are never of one version.
_NAME = re.compile(r"([a-z]+)-(\d{9}|[1-9]\d{9,17})-i(0|[1-9]\d{0,8})")


@dataclasses.dataclass(frozen=True)
class Owner:
    """The process that may publish for a student now.

    Attributes:
        generation: The number of its lease; higher ones came later. On disk it
            is called `incarnation`.
        check: Raises GroupLostError where another process took over.
        key: Signs what is published; None signs nothing.
    """

    generation: int
    check: Callable[[], None]
    key: bytes | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A committed folder.

    Attributes:
        path: The folder.
        step: How many updates its state has seen.
        generation: The owner's that wrote it.
        key: What its commit file must be signed with; None: nothing is signed.
    """

    path: places.Place
    step: int
    generation: int
    key: bytes | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def version(self) -> tuple[int, int]:
        """What snapshots of one owner are ordered by."""
        return (self.generation, self.step)

    def manifest(self) -> dict[str, Any]:
        """Reads the manifest and checks it against the commit file.

        Raises:
            SnapshotError: the two do not belong together, or one is damaged.
        """
        # Read once, so that what was hashed is what is returned.
        content = contents.read_small(self.path / MANIFEST, files.MAX_JSON_BYTES)
        committed_text = contents.read_small(self.path / COMMIT_FILE, _MAX_COMMIT_BYTES)
        self._check_digest(content, committed_text.strip())
        try:
            manifest = files.parse_json(content, self.path / MANIFEST)
        except errors.DataError as error:
            raise errors.SnapshotError(str(error), reason="manifest") from error
        for name, expected in (("step", self.step), ("incarnation", self.generation)):
            if manifest.get(name) != expected:
                raise errors.SnapshotError(
                    f"{self.path} says that its {name} is {manifest.get(name)!r}; its "
                    f"name says {expected}. It was copied or renamed; remove it.",
                    reason="name",
                )
        return manifest

    def _check_digest(self, manifest: bytes, committed_text: bytes) -> None:
        if hmac.compare_digest(commit_text(manifest, self.key), committed_text):
            return
        if self.key is not None:
            raise errors.SnapshotError(
                f"{self.path} is not signed with the key of --export_key_file, or was "
                "changed since; nothing else is read. Its writer has another key.",
                reason="signature",
            )
        if committed_text.startswith(_SIGNED.encode()):
            raise errors.SnapshotError(
                f"{self.path} is signed, and no key was given to check it with. Give "
                "--export_key_file.",
                reason="signature",
            )
        raise errors.SnapshotError(
            f"{self.path / MANIFEST} does not match the digest in {COMMIT_FILE}: it "
            "was changed after it was committed; another snapshot must serve.",
            reason="marker",
        )


def commit_text(manifest: bytes, key: bytes | None) -> bytes:
    """Returns what the commit file of a manifest holds."""
    if key is None:
        return hashlib.sha256(manifest).hexdigest().encode()
    return (_SIGNED + hmac.digest(key, manifest, "sha256").hex()).encode()


def name_of(prefix: str, step: int, generation: int) -> str:
    """Returns the folder name of a snapshot."""
    return f"{prefix}-{step:09d}-i{generation}"


def publish(
    folder: places.Place,
    prefix: str,
    step: int,
    write: Callable[[pathlib.Path], None],
    manifest: dict[str, Any],
    owner: Owner,
) -> Snapshot:
    """Writes one snapshot and makes it visible.

    Args:
        folder: Of all snapshots of this kind; only their owner writes here.
        prefix: `export` or `ckpt`.
        step: How many updates the state has seen.
        write: Fills the local folder it is given.
        manifest: What readers check first; step, generation and files are added.
        owner: This process.

    Raises:
        GroupLostError: another process took over meanwhile; nothing is visible.
        OSError: storage failed; nothing is visible.
    """
    final = folder / name_of(prefix, step, owner.generation)
    snapshot = Snapshot(final, step, owner.generation, owner.key)
    if places.is_file(final / COMMIT_FILE):
        return snapshot  # This very generation committed it before.
    with _staged(final) as partial:
        write(partial)
        faults.point(f"{prefix}.written")
        described = {**manifest, "step": step, "incarnation": owner.generation}
        described["files"] = _commit_files(partial)
        content = files.to_json(described).encode()
        files.write_bytes(partial / MANIFEST, content)
        owner.check()
        faults.point(f"{prefix}.before_rename")
        _move(partial, final)
        owner.check()
        faults.point(f"{prefix}.before_marker")
        files.write_bytes(final / COMMIT_FILE, commit_text(content, owner.key) + b"\n")
    faults.point(f"{prefix}.after_marker")
    return snapshot


@contextlib.contextmanager
def _staged(final: places.Place) -> Iterator[pathlib.Path]:
    """Yields a local folder to write a snapshot in, and removes it afterwards.

    Where publication fails, nothing of the snapshot is left, visible or not.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(final, pathlib.Path):
            partial = final.with_name(f"{_PARTIAL}{final.name}-{uuid.uuid4().hex}")
            partial.mkdir(parents=True)
            stack.callback(shutil.rmtree, partial, ignore_errors=True)
        else:
            partial = stack.enter_context(scratch.folder())
        try:
            yield partial
        except BaseException:
            with contextlib.suppress(OSError):
                _remove(final)
            raise


def _move(partial: pathlib.Path, final: places.Place) -> None:
    """Moves a folder to its place, where nothing is visible without a commit file."""
    if isinstance(final, pathlib.Path):
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        files.fsync_path(final.parent)
        return
    places.put_tree(partial, final, last=MANIFEST)


def _remove(path: places.Place) -> None:
    # The commit file goes first: a reader never sees half a snapshot as whole.
    places.remove_file(path / COMMIT_FILE)
    places.remove_tree(path)


def _commit_files(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
    """Forces everything in `folder` to disk; returns size and digest by name."""
    table = {}
    for path in sorted(folder.rglob("*")):
        files.fsync_path(path)
        if path.is_file():
            table[path.relative_to(folder).as_posix()] = {
                "bytes": path.stat().st_size,
                "sha256": files.sha256_of(path),
            }
    files.fsync_path(folder)
    return table


def committed(
    folder: places.Place, prefix: str, key: bytes | None = None
) -> list[Snapshot]:
    """Returns the committed snapshots in `folder`, oldest version first.

    Raises:
        OSError: storage failed.
    """
    matches = map(_NAME.fullmatch, places.names_in(folder))
    snapshots = [
        Snapshot(folder / match[0], int(match[2]), int(match[3]), key)
        for match in matches
        if match and match[1] == prefix
    ]
    whole = [s for s in snapshots if places.is_file(s.path / COMMIT_FILE)]
    return sorted(whole, key=lambda snapshot: snapshot.version)


def verify(
    snapshot: Snapshot,
    manifest: dict[str, Any],
    within: str = "",
    to: pathlib.Path | None = None,
) -> None:
    """Compares files of a snapshot with its manifest, and copies them on demand.

    Reading a copy instead of the original makes a later deletion or change by
    the owner harmless.

    Args:
        snapshot: Whose files.
        manifest: Its manifest.
        within: Only files below this folder of the snapshot, or only this file.
        to: An existing folder for the copies; None copies nothing.

    Raises:
        SnapshotError: a file is missing, is no regular file, differs from the
            manifest, or has a name that leaves the folder.
        OSError: the copy could not be written.
    """
    contents.check(snapshot.path, manifest.get("files"), within, to)


def keep_newest(
    folder: places.Place,
    prefix: str,
    count: int,
    *,
    protected: Collection[Snapshot] = (),
    period: int = 1,
) -> None:
    """Removes one's own committed snapshots that nobody needs any more.

    The `count` newest of the steps that are multiples of `period` stay, whatever is
    newer than these, and the protected ones. What an earlier generation left at the
    newest one's step or beyond is a future that was given up when training went on
    from an older checkpoint; it goes.
    """
    snapshots = committed(folder, prefix)
    newest = snapshots[-1:]
    current = [s for s in snapshots[:-1] if s.step < newest[0].step] + newest
    counted = [s.step for s in current if s.step % period == 0][-count:]
    first = min(counted, default=0)
    for snapshot in snapshots:
        is_kept = snapshot in current and snapshot.step >= first
        if not is_kept and snapshot not in protected:
            _remove(snapshot.path)


def sweep(folder: places.Place) -> None:
    """Removes what a process that died while writing left in its own folder."""
    for name in places.names_in(folder):
        path = folder / name
        is_half = _NAME.fullmatch(name) and not places.is_file(path / COMMIT_FILE)
        if is_half or name.startswith(_PARTIAL):
            places.remove_tree(path)
        elif files.is_partial(name):
            places.remove_file(path)
