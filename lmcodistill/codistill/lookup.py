"""Which export is meant: looks at folders, opens nothing, needs no TensorFlow."""

import pathlib
import time
from collections.abc import Callable

from lmcodistill import errors
from lmcodistill.storage import layout, publication

_POLL_SECONDS = 0.2


def find(path: pathlib.Path) -> publication.Snapshot:
    """Returns the export that a user means by `path`.

    Args:
        path: An export's folder, a student's folder, or a folder of exports; of
            several the newest is meant.

    Raises:
        SnapshotError: there is none.
    """
    path = path.expanduser().resolve()
    for snapshot in publication.committed(path.parent, layout.EXPORT):
        if snapshot.path.name == path.name:
            return publication.Snapshot(path, snapshot.step)
    for folder in (path / "exports", path):
        found = publication.committed(folder, layout.EXPORT)
        if found:
            return found[-1]
    raise errors.SnapshotError(
        f"{path} holds no committed export. Give an export's folder "
        "(RUN/students/0/exports/export-...), or a student's (RUN/students/0)."
    )


def newest(folder: pathlib.Path) -> publication.Snapshot | None:
    """Returns a peer's newest committed export, if it has any yet."""
    found = publication.committed(folder, layout.EXPORT)
    return found[-1] if found else None


def wait_for(
    folder: pathlib.Path,
    step: int,
    deadline_seconds: float,
    give_in: Callable[[], bool],
) -> publication.Snapshot | None:
    """Waits until a peer has committed its export of exactly `step`.

    Args:
        folder: The peer's folder of exports.
        step: Which.
        deadline_seconds: How long to wait.
        give_in: Asked now and then; True ends the wait.

    Returns:
        The export, or None where the wait ended without it.
    """
    snapshot = publication.at_step(folder, layout.EXPORT, step)
    give_up = time.monotonic() + deadline_seconds
    while not (snapshot.path / publication.MARKER).is_file():
        if give_in() or time.monotonic() > give_up:
            return None
        time.sleep(_POLL_SECONDS)
    return snapshot
