"""Snapshots that other processes may read: the commit protocol.

A snapshot is a folder `<prefix>-<step>` that appears whole or not at all:

1. everything is written into a uniquely named folder beside the final place;
2. every file is hashed and forced to disk, then the manifest that lists them;
3. the folder is renamed to its final name;
4. last, a marker `COMMITTED` holding the manifest's digest is written.

Readers consider only folders whose marker matches their manifest, whatever the
storage does to rename. Order is by step, never by time. Nothing whole is
rewritten.
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from lmcodistill import errors
from lmcodistill.storage import files

MANIFEST = "manifest.json"
MARKER = "COMMITTED"
_PARTIAL = ".partial-"
_MAX_MARKER_BYTES = 128
# What a manifest may name: plain relative paths, nothing hidden, nothing above.
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A committed folder.

    Attributes:
        path: Where it is.
        step: The state after how many updates it holds.
    """

    path: pathlib.Path
    step: int

    def manifest(self) -> dict[str, Any]:
        """Reads the manifest and checks it against the marker.

        Raises:
            SnapshotError: the two do not belong together, or one is damaged.
        """
        # Read once, so that what was hashed is what is returned.
        try:
            content = files.read_limited(self.path / MANIFEST)
            marker = files.read_limited(self.path / MARKER, _MAX_MARKER_BYTES)
        except errors.DataError as error:
            raise errors.SnapshotError(
                f"{self.path} is not readable ({error}). It was removed or damaged "
                "after it was committed; another snapshot must serve."
            ) from error
        if hashlib.sha256(content).hexdigest().encode() != marker.strip():
            raise errors.SnapshotError(
                f"{self.path / MANIFEST} does not match the digest in {MARKER}: it was "
                "changed after it was committed; another snapshot must serve."
            )
        try:
            return files.parse_json(content, self.path / MANIFEST)
        except errors.DataError as error:
            raise errors.SnapshotError(str(error)) from error


def name_of(prefix: str, step: int) -> str:
    """Returns the folder name of a snapshot."""
    return f"{prefix}-{step:09d}"


def at_step(folder: pathlib.Path, prefix: str, step: int) -> Snapshot:
    """Returns where the snapshot of `step` is, or would be."""
    return Snapshot(folder / name_of(prefix, step), step)


def publish(
    folder: pathlib.Path,
    prefix: str,
    step: int,
    write: Callable[[pathlib.Path], None],
    manifest: dict[str, Any],
) -> Snapshot:
    """Writes one snapshot and makes it visible.

    Args:
        folder: Where snapshots of this kind live; only one process writes here.
        prefix: `export` or `ckpt`.
        step: The state after how many updates it is.
        write: Fills the folder it is given.
        manifest: What readers check first; `files` is added.

    Returns:
        The snapshot; an existing one of that step stays as it is if it is whole.
    """
    final = folder / name_of(prefix, step)
    if (final / MARKER).is_file():
        existing = Snapshot(final, step)
        try:
            check_files(existing, existing.manifest())
            return existing
        except errors.SnapshotError:  # Useless; it would stand in the new one's way.
            (final / MARKER).unlink()
    partial = folder / f"{_PARTIAL}{final.name}-{uuid.uuid4().hex}"
    partial.mkdir(parents=True)
    try:
        write(partial)
        manifest = {**manifest, "step": step, "files": _commit_files(partial)}
        content = files.to_json(manifest).encode()
        files.write_bytes(partial / MANIFEST, content)
        if final.exists():  # Damaged, or died between rename and marker.
            shutil.rmtree(final)
        partial.rename(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    files.fsync_path(folder)
    files.write_text(final / MARKER, hashlib.sha256(content).hexdigest() + "\n")
    return Snapshot(final, step)


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


def committed(folder: pathlib.Path, prefix: str) -> list[Snapshot]:
    """Returns the committed snapshots in `folder`, oldest step first."""
    pattern = re.compile(re.escape(prefix) + r"-(\d{9,})")
    found = []
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    for name in names:
        match = pattern.fullmatch(name)
        if match and (folder / name / MARKER).is_file():
            found.append(Snapshot(folder / name, int(match[1])))
    return sorted(found, key=lambda snapshot: snapshot.step)


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
        with _refused_if_unreadable(source):
            _check_size(source, expected)
            target = to / source.name
            shutil.copyfile(source, target)
            _check_digest(target, expected)


def check_files(snapshot: Snapshot, manifest: dict[str, Any]) -> None:
    """Checks every file of a snapshot against its manifest.

    Raises:
        SnapshotError: a file is missing, is no regular file, differs from the
            manifest, or has a name that leaves the folder.
    """
    for source, expected in _listed(snapshot, manifest, ""):
        with _refused_if_unreadable(source):
            _check_size(source, expected)
            _check_digest(source, expected)


def _listed(
    snapshot: Snapshot, manifest: dict[str, Any], within: str
) -> list[tuple[pathlib.Path, dict[str, Any]]]:
    table = manifest.get("files")
    if not isinstance(table, dict):
        table = {}
    names = [name for name in table if name.startswith(within)]
    if not names:
        raise errors.SnapshotError(f"{snapshot.path} lists no files below {within!r}.")
    for name in names:
        if not _SAFE_NAME.fullmatch(name):
            raise errors.SnapshotError(
                f"{snapshot.path} lists a file named {name!r}; names of files are "
                "plain relative paths. Whoever wrote it is not to be trusted."
            )
        if not isinstance(table[name], dict):
            raise errors.SnapshotError(
                f"{snapshot.path} lists {name!r} as {table[name]!r}; its size and "
                "digest were expected. Whoever wrote it is not to be trusted."
            )
    return [(snapshot.path / name, table[name]) for name in names]


@contextlib.contextmanager
def _refused_if_unreadable(path: pathlib.Path) -> Iterator[None]:
    """Turns what storage says of a file that is going away into a refusal."""
    try:
        yield
    except OSError as error:
        raise errors.SnapshotError(
            f"{path} cannot be read ({error}). Its owner removed it meanwhile, or "
            "storage failed; another snapshot must serve."
        ) from error


def _check_size(path: pathlib.Path, expected: dict[str, Any]) -> None:
    if path.is_symlink() or not path.is_file():
        raise errors.SnapshotError(f"{path} is missing or is no regular file.")
    size = path.stat().st_size
    if size != expected.get("bytes"):
        raise errors.SnapshotError(
            f"{path} has {size:,} bytes; its manifest says {expected.get('bytes')}."
        )


def _check_digest(path: pathlib.Path, expected: dict[str, Any]) -> None:
    digest = files.sha256_of(path)
    if digest != expected.get("sha256"):
        raise errors.SnapshotError(
            f"{path} has SHA-256 {digest[:12]}; its manifest says "
            f"{str(expected.get('sha256'))[:12]}. It was damaged on its way or on disk."
        )


def keep_newest(folder: pathlib.Path, prefix: str, count: int) -> None:
    """Removes all but the `count` newest committed snapshots of one's own."""
    for snapshot in committed(folder, prefix)[:-count]:
        # The marker goes first: a reader never sees half a snapshot as whole.
        (snapshot.path / MARKER).unlink(missing_ok=True)
        shutil.rmtree(snapshot.path, ignore_errors=True)


def sweep(folder: pathlib.Path) -> None:
    """Removes what a process that died while writing left in its own folder."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name.startswith(_PARTIAL) or not (path / MARKER).is_file():
            shutil.rmtree(path, ignore_errors=True)
