"""Snapshots that other processes may read: the commit protocol.

A snapshot is a folder `<prefix>-<step>-i<incarnation>` that appears whole or not
at all:

1. everything is written into a uniquely named folder beside the final place;
2. every file is hashed and forced to disk, then the manifest that lists them;
3. the folder is renamed to its final name; on an object store, which has no
   rename, its files are put there one by one instead;
4. last, a marker `COMMITTED` holding the manifest's digest is written.

Readers consider only folders whose marker matches their manifest, whatever the
storage does to rename. Order is by incarnation and step, never by time. No two
attempts share a name, so nothing is ever rewritten.
"""

import contextlib
import dataclasses
import hashlib
import hmac
import pathlib
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterator
from typing import Any

from lmcodistill import errors
from lmcodistill.storage import faults, files, places

MANIFEST = "manifest.json"
MARKER = "COMMITTED"
_PARTIAL = ".partial-"
_SIGNED = "hmac-sha256:"
# With the most bytes that each may have.
_SMALL_FILES = {MANIFEST: files.MAX_JSON_BYTES, MARKER: 128}
# What a manifest may name: plain relative paths, nothing hidden, nothing above.
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


@dataclasses.dataclass(frozen=True)
class Ownership:
    """By what right a process publishes.

    Attributes:
        incarnation: The number of its lease; higher ones came later.
        check: Raises GroupLostError where another process took over.
        key: Signs what is published; None signs nothing.
    """

    incarnation: int
    check: Callable[[], None]
    key: bytes | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A committed folder.

    Attributes:
        path: Where it is.
        step: The state after how many updates it holds.
        incarnation: Which of its owner's lives wrote it.
        key: What its marker must be signed with; None where nothing is signed.
    """

    path: places.Place
    step: int
    incarnation: int
    key: bytes | None = dataclasses.field(default=None, repr=False, compare=False)

    @property
    def version(self) -> tuple[int, int]:
        """What snapshots of one owner are ordered by."""
        return (self.incarnation, self.step)

    def manifest(self) -> dict[str, Any]:
        """Reads the manifest and checks it against the marker.

        Raises:
            SnapshotError: the two do not belong together, or one is damaged.
        """
        # Read once, so that what was hashed is what is returned.
        try:
            content, marker = (
                files.read_limited(self.path / name, limit, follow_links=False)
                for name, limit in _SMALL_FILES.items()
            )
        except errors.DataError as error:
            raise errors.SnapshotError(
                f"{self.path} is not readable ({error}). It was removed or damaged "
                "after it was committed; another snapshot must serve.",
                reason="missing_file",
            ) from error
        self._check_marker(content, marker.strip())
        try:
            return files.parse_json(content, self.path / MANIFEST)
        except errors.DataError as error:
            raise errors.SnapshotError(str(error), reason="manifest") from error

    def _check_marker(self, content: bytes, marker: bytes) -> None:
        if hmac.compare_digest(_marker_of(content, self.key), marker):
            return
        is_signed = marker.startswith(_SIGNED.encode())
        if is_signed and self.key is None:
            raise errors.SnapshotError(
                f"{self.path} is signed, and no key was given to check it with. Give "
                "--export_key_file.",
                reason="signature",
            )
        if self.key is not None:
            raise errors.SnapshotError(
                f"{self.path} is {'signed with another key' if is_signed else ''}"
                f"{'' if is_signed else 'not signed'}; only what is signed with the "
                "key of --export_key_file is read. Whoever wrote it has not that key.",
                reason="signature",
            )
        raise errors.SnapshotError(
            f"{self.path / MANIFEST} does not match the digest in {MARKER}: it was "
            "changed after it was committed; another snapshot must serve.",
            reason="marker",
        )


def _marker_of(manifest: bytes, key: bytes | None) -> bytes:
    """Returns what the marker of a manifest holds."""
    if key is None:
        return hashlib.sha256(manifest).hexdigest().encode()
    return (_SIGNED + hmac.digest(key, manifest, "sha256").hex()).encode()


def name_of(prefix: str, step: int, incarnation: int) -> str:
    """Returns the folder name of a snapshot."""
    return f"{prefix}-{step:09d}-i{incarnation}"


def publish(
    folder: places.Place,
    prefix: str,
    step: int,
    write: Callable[[pathlib.Path], None],
    manifest: dict[str, Any],
    owner: Ownership,
) -> Snapshot:
    """Writes one snapshot and makes it visible.

    Args:
        folder: Where snapshots of this kind live; only their owner writes here.
        prefix: `export` or `ckpt`.
        step: The state after how many updates it is.
        write: Fills the local folder it is given.
        manifest: What readers check first; step, incarnation and files are added.
        owner: By what right.

    Raises:
        GroupLostError: another process took over meanwhile; nothing is visible.
        OSError: storage failed; nothing is visible.
    """
    final = folder / name_of(prefix, step, owner.incarnation)
    with _staged(folder, final.name) as partial:
        write(partial)
        faults.point(f"{prefix}.written")
        described = {**manifest, "step": step, "incarnation": owner.incarnation}
        described["files"] = _commit_files(partial)
        content = files.to_json(described).encode()
        files.write_bytes(partial / MANIFEST, content)
        owner.check()
        faults.point(f"{prefix}.before_rename")
        if isinstance(final, pathlib.Path):
            # Of this incarnation, so whatever stands there was never committed.
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
            files.fsync_path(final.parent)
        else:
            for path in sorted(p for p in partial.rglob("*") if p.is_file()):
                places.put(path, final / path.relative_to(partial).as_posix())
    owner.check()
    faults.point(f"{prefix}.before_marker")
    files.write_bytes(final / MARKER, _marker_of(content, owner.key) + b"\n")
    faults.point(f"{prefix}.after_marker")
    return Snapshot(final, step, owner.incarnation, owner.key)


@contextlib.contextmanager
def _staged(folder: places.Place, name: str) -> Iterator[pathlib.Path]:
    """Makes the local folder that a snapshot is written in; removes it after."""
    if not isinstance(folder, pathlib.Path):
        with tempfile.TemporaryDirectory(prefix="lmcodistill-") as local:
            yield pathlib.Path(local)
        return
    partial = folder / f"{_PARTIAL}{name}-{uuid.uuid4().hex}"
    partial.mkdir(parents=True)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
    pattern = re.compile(re.escape(prefix) + r"-(\d{9,18})-i(\d{1,9})")
    matches = [pattern.fullmatch(name) for name in places.names_in(folder)]
    found = [
        Snapshot(folder / match[0], int(match[1]), int(match[2]), key)
        for match in matches
        if match and places.is_file(folder / match[0] / MARKER)
    ]
    return sorted(found, key=lambda snapshot: snapshot.version)


def copy_verified(
    snapshot: Snapshot, manifest: dict[str, Any], within: str, to: pathlib.Path
) -> None:
    """Copies files of a snapshot and checks size and digest of what was copied.

    Reading the copy instead of the original makes a later deletion or change by
    the owner harmless.

    Args:
        snapshot: Whose files.
        manifest: Its manifest.
        within: Only files below this folder of the snapshot, or only this file.
        to: An existing folder.

    Raises:
        SnapshotError: as `check_files`.
    """
    for source, expected in _listed(snapshot, manifest, within):
        _check(source, expected, to / source.name)


def check_files(snapshot: Snapshot, manifest: dict[str, Any]) -> None:
    """Checks every file of a snapshot against its manifest.

    Raises:
        SnapshotError: a file is missing, is no regular file, differs from the
            manifest, or has a name that leaves the folder.
    """
    for source, expected in _listed(snapshot, manifest, ""):
        _check(source, expected, None)


def _listed(
    snapshot: Snapshot, manifest: dict[str, Any], within: str
) -> list[tuple[places.Place, dict[str, Any]]]:
    table = manifest.get("files")
    if not isinstance(table, dict):
        table = {}
    names = [name for name in table if name.startswith(within)]
    if not names:
        raise errors.SnapshotError(
            f"{snapshot.path} lists no files below {within!r}.", reason="file_table"
        )
    for name in names:
        if not _SAFE_NAME.fullmatch(name):
            raise errors.SnapshotError(
                f"{snapshot.path} lists a file named {name!r}; names of files are "
                "plain relative paths. Whoever wrote it is not to be trusted.",
                reason="file_table",
            )
        size = table[name].get("bytes") if isinstance(table[name], dict) else None
        if type(size) is not int or size < 0:
            raise errors.SnapshotError(
                f"{snapshot.path} lists {name!r} as {str(table[name])[:80]!r}; its "
                "size and digest were expected. Whoever wrote it is not to be trusted.",
                reason="file_table",
            )
        _refuse_links(snapshot.path, name)
    return [(snapshot.path / name, table[name]) for name in names]


def _refuse_links(root: places.Place, name: str) -> None:
    """Refuses a name that leads out of the snapshot through a linked folder."""
    if not isinstance(root, pathlib.Path):
        return
    for folder in [root / parent for parent in pathlib.PurePath(name).parents]:
        if folder.is_symlink():
            raise errors.SnapshotError(
                f"{folder} is a symbolic link; a snapshot has none.",
                reason="special_file",
            )


def _check(
    source: places.Place, expected: dict[str, Any], copy: pathlib.Path | None
) -> None:
    """Compares a file with its manifest while it is read, and copied if asked."""
    digest, size = hashlib.sha256(), 0
    try:
        with open(copy, "wb") if copy else contextlib.nullcontext() as target:
            for chunk in places.read_chunks(source, expected["bytes"]):
                digest.update(chunk)
                size += len(chunk)
                if target:
                    target.write(chunk)
    except OSError as error:
        raise errors.SnapshotError(
            f"{source} cannot be read ({error}). Its owner removed it meanwhile, or "
            "storage failed; another snapshot must serve.",
            reason="missing_file",
        ) from error
    if size != expected["bytes"]:
        at_least = "more than " if size > expected["bytes"] else ""
        raise errors.SnapshotError(
            f"{source} has {at_least}{min(size, expected['bytes']):,} bytes; its "
            f"manifest says {expected['bytes']:,}.",
            reason="size",
        )
    if digest.hexdigest() != expected.get("sha256"):
        raise errors.SnapshotError(
            f"{source} has SHA-256 {digest.hexdigest()[:12]}; its manifest says "
            f"{str(expected.get('sha256'))[:12]}. It was damaged on its way or on "
            "disk.",
            reason="digest",
        )


def keep_newest(
    folder: places.Place,
    prefix: str,
    count: int,
    protected: Collection[Snapshot] = (),
) -> None:
    """Removes one's own committed snapshots that nobody needs any more.

    The `count` newest stay, and the protected ones. What an earlier incarnation
    left at the newest one's step or beyond is a future that was given up when
    training went on from an older checkpoint; it goes.
    """
    found = committed(folder, prefix)
    newest = found[-1:]
    current = [s for s in found[:-1] if s.step < newest[0].step] + newest
    for snapshot in found:
        if snapshot not in current[-count:] and snapshot not in protected:
            # The marker goes first: a reader never sees half a snapshot as whole.
            places.remove_file(snapshot.path / MARKER)
            places.remove_tree(snapshot.path)


def sweep(folder: places.Place) -> None:
    """Removes what a process that died while writing left in its own folder."""
    for name in places.names_in(folder):
        if name.startswith(_PARTIAL) or not places.is_file(folder / name / MARKER):
            places.remove_tree(folder / name)
