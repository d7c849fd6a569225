"""Which export is meant: looks at folders, opens nothing, needs no TensorFlow."""

from lmcodistill import errors
from lmcodistill.storage import layout, places, publication


def find(path: str, key: bytes | None = None) -> publication.Snapshot:
    """Returns the one export that a user means by `path`; see `find_all`.

    Raises:
        SnapshotError: there is none, or one of several students; or storage failed.
    """
    found = find_all(path, key)
    if len(found) > 1:
        raise errors.SnapshotError(
            f"{path} is a run of {len(found)} students; one model was expected. Give "
            f"one student's folder: {_student_of(found[0])}",
            reason="several",
        )
    return found[0]


def find_all(path: str, key: bytes | None = None) -> list[publication.Snapshot]:
    """Returns the exports that a user means by `path`: of a run, one per student.

    Args:
        path: An export's folder, a student's folder, a folder of exports, or a
            run's folder, or the URL of one; of several exports of a student the
            newest is meant.
        key: What its commit file must be signed with; None where nothing is signed.

    Raises:
        SnapshotError: there is none, a student has none, or storage failed.
    """
    where = places.place(path)
    try:
        if (export := _of_one(where, key)) is not None:
            return [export]
        found = {student: _of_one(student, key) for student in _students_in(where)}
    except OSError as error:
        raise errors.SnapshotError(
            f"{path} cannot be looked at: {error}. Give a place that can be read.",
            reason="storage",
        ) from error
    exports = [export for export in found.values() if export is not None]
    if not exports:
        raise errors.SnapshotError(
            f"{path} holds no committed export. Give an export's folder "
            "(RUN/students/0/exports/export-...), a student's (RUN/students/0), or a "
            "run's (RUN; its --shared_dir, if it has one).",
            reason="missing_file",
        )
    if len(exports) < len(found):
        without = next(student for student, export in found.items() if export is None)
        raise errors.SnapshotError(
            f"{path} is a run of {len(found)} students, and {without} holds no "
            f"committed export. Give one that does: {_student_of(exports[0])}",
            reason="missing_file",
        )
    return exports


def _of_one(where: places.Place, key: bytes | None) -> publication.Snapshot | None:
    """Returns an export, or the newest of a student; None where there is none."""
    for snapshot in publication.committed(where.parent, layout.EXPORT, key):
        if snapshot.path.name == where.name:
            return snapshot
    for folder in (where / "exports", where):
        if exports := publication.committed(folder, layout.EXPORT, key):
            return exports[-1]
    return None


def _students_in(run: places.Place) -> list[places.Place]:
    """Returns the folders of a run's students, by their number."""
    folder = run / "students"
    names = [n for n in places.names_in(folder) if n.isascii() and n.isdigit()]
    return [folder / name for name in sorted(names, key=int)]


def _student_of(export: publication.Snapshot) -> places.Place:
    return export.path.parent.parent


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
