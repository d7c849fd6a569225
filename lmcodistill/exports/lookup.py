"""Which export is meant: looks at folders, opens nothing, needs no TensorFlow."""

from lmcodistill import errors
from lmcodistill.storage import layout, places, publication


def find(path: str, key: bytes | None = None) -> publication.Snapshot:
    """Returns the export that a user means by `path`.

    Args:
        path: An export's folder, a student's folder, or a folder of exports, or
            the URL of one; of several exports the newest is meant.
        key: What its commit file must be signed with; None where nothing is signed.

    Raises:
        SnapshotError: there is none, or storage failed.
    """
    where = places.place(path)
    try:
        for snapshot in publication.committed(where.parent, layout.EXPORT, key):
            if snapshot.path.name == where.name:
                return snapshot
        for folder in (where / "exports", where):
            if exports := publication.committed(folder, layout.EXPORT, key):
                return exports[-1]
    except OSError as error:
        raise errors.SnapshotError(
            f"{path} cannot be looked at: {error}. Give a place that can be read.",
            reason="storage",
        ) from error
    raise errors.SnapshotError(
        f"{path} holds no committed export. Give an export's folder "
        "(RUN/students/0/exports/export-...), or a student's (RUN/students/0).",
        reason="missing_file",
    )


def newer_than(
    folder: places.Place, version: tuple[int, int] | None, key: bytes | None = None
) -> list[publication.Snapshot]:
    """Returns a peer's committed exports after `version`, newest first.

    A listing that lags behind shows older ones; they are not turned back to.

    Raises:
        OSError: storage failed.
    """
    exports = publication.committed(folder, layout.EXPORT, key)
    return [s for s in reversed(exports) if version is None or s.version > version]


def of_step(
    folder: places.Place, step: int, key: bytes | None = None
) -> list[publication.Snapshot]:
    """Returns a peer's committed exports of exactly `step`, latest generation first.

    Raises:
        OSError: storage failed.
    """
    exports = publication.committed(folder, layout.EXPORT, key)
    return [s for s in reversed(exports) if s.step == step]
