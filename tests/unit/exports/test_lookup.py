"""Which export is meant by a path, and which of a peer's are of use."""

import pathlib

import pytest

from lmcodistill import errors
from lmcodistill.exports import lookup
from lmcodistill.storage import layout, places, publication

KEY = b"k" * 32


def publish(folder, step, generation=1, key=None):
    return publication.publish(
        folder,
        layout.EXPORT,
        step,
        lambda path: (path / "file").write_bytes(b"x"),
        {},
        publication.Owner(generation, lambda: None, key),
    )


def versions(found):
    return [snapshot.version for snapshot in found]


@pytest.fixture
def student(tmp_path) -> pathlib.Path:
    folder = tmp_path / "students" / "0"
    for generation, step in ((1, 50), (1, 100), (1, 150), (2, 100)):
        publish(folder / "exports", step, generation)
    return folder


def test_newest_is_of_the_latest_life(student):
    assert lookup.find(str(student)).version == (2, 100)
    assert lookup.find(str(student / "exports")).version == (2, 100)


def test_folder_of_one_export_is_that_one(student):
    found = lookup.find(str(student / "exports" / "export-000000050-i1"))

    assert found.version == (1, 50)


@pytest.mark.parametrize("path", ["nowhere", "students", "students/0/exports/x", "/"])
def test_path_without_exports_is_refused(student, tmp_path, path):
    with pytest.raises(errors.SnapshotError, match="no committed export") as refusal:
        lookup.find(str(tmp_path / path))

    assert refusal.value.reason == "missing_file"


@pytest.fixture
def run(tmp_path) -> pathlib.Path:
    """A run of eleven students; beside them lies what is none."""
    for index in range(11):
        publish(tmp_path / f"run/students/{index}/exports", step=10 + index)
    (tmp_path / "run/students/notes").mkdir()
    return tmp_path / "run"


def test_run_means_all_its_students_by_their_number(run):
    found = lookup.find_all(str(run))

    assert [snapshot.step for snapshot in found] == list(range(10, 21))


def test_one_student_means_its_newest_export_alone(student):
    assert versions(lookup.find_all(str(student))) == [(2, 100)]


def test_run_where_one_model_is_wanted_is_told_which_to_give(run):
    with pytest.raises(errors.SnapshotError, match="a run of 11 students") as refusal:
        lookup.find(str(run))

    assert str(run / "students" / "0") in str(refusal.value)


def test_run_of_one_student_is_that_student(student, tmp_path):
    assert lookup.find(str(tmp_path)).version == (2, 100)


def test_student_without_an_export_is_named(run):
    (run / "students" / "11").mkdir()

    with pytest.raises(errors.SnapshotError, match="students/11 holds no committed"):
        lookup.find_all(str(run))


def test_run_in_an_object_store_means_its_students_too():
    for index in (1, 0):
        publish(places.place(f"memory://runs/r/students/{index}/exports"), 30 + index)

    found = lookup.find_all("memory://runs/r")

    assert [snapshot.step for snapshot in found] == [30, 31]


def test_storage_that_fails_is_said_in_a_sentence(tmp_path):
    with pytest.raises(errors.UsageError, match="File name too long"):
        lookup.find(str(tmp_path / ("x" * 300) / "export"))


def test_url_is_looked_at_too():
    publish(places.place("memory://lookup/students/0/exports"), 50)

    assert lookup.find("memory://lookup/students/0/").version == (1, 50)


def test_key_travels_with_what_was_found(tmp_path):
    publish(tmp_path / "exports", 50, key=KEY)

    assert lookup.find(str(tmp_path), KEY).manifest()["step"] == 50
    with pytest.raises(errors.SnapshotError, match="no key was given"):
        lookup.find(str(tmp_path)).manifest()


def test_newer_ones_come_newest_first_and_never_an_older(student):
    exports = student / "exports"

    assert versions(lookup.newer_than(exports, None))[0] == (2, 100)
    assert versions(lookup.newer_than(exports, (1, 100))) == [(2, 100), (1, 150)]
    assert versions(lookup.newer_than(exports, (2, 100))) == []
    assert versions(lookup.newer_than(exports / "not there", None)) == []


def test_step_is_of_the_latest_life_first(student):
    exports = student / "exports"

    assert versions(lookup.of_step(exports, 100)) == [(2, 100), (1, 100)]
    assert versions(lookup.of_step(exports, 60)) == []
