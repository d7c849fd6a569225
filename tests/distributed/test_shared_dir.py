"""Students that meet in an object store, with and without a key."""

import json

import pytest

from lmcodistill import errors
from lmcodistill.storage import layout, places, publication
from tests.support import tiny_run

pytestmark = pytest.mark.distributed
KEY = b"sixteen bytes or more"


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "key"
    path.write_bytes(KEY)
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def store(_object_store):
    return _object_store


@pytest.fixture(scope="module")
def run_in_store(finish, data_dir, store, key_file, tmp_path_factory):
    """Four steps, an end, and four more, with snapshots in a bucket, signed."""
    folder, shared = tmp_path_factory.mktemp("store"), store.new_place()
    arguments = ["--shared_dir", shared, "--export_key_file", key_file]
    for steps in (4, 8):
        finish(
            *tiny_run.train_arguments(data_dir, folder, NUM_TRAIN_STEPS=steps),
            *arguments,
            **store.environment,
        )
    return folder, shared


def test_students_teach_each_other_and_go_on_from_a_bucket(
    finish, data_dir, run_in_store, tmp_path
):
    folder, _ = run_in_store
    finish(*tiny_run.train_arguments(data_dir, tmp_path, NUM_TRAIN_STEPS=8))

    for student in (0, 1):
        assert "event=restored from=s3://" in tiny_run.log_of(folder, student)
        assert tiny_run.weights_of(folder, student) == tiny_run.weights_of(
            tmp_path, student
        )
        assert not (folder / "students" / str(student) / "exports").exists()


def test_what_is_in_the_bucket_is_signed(run_in_store, object_store):
    folder, shared = run_in_store
    student = layout.RunLayout(folder, places.place(shared)).student(1)

    newest = publication.committed(student.exports, layout.EXPORT, KEY)[-1]
    unsigned = publication.committed(student.exports, layout.EXPORT)[-1]

    assert newest.manifest()["step"] == 8
    with pytest.raises(errors.SnapshotError, match="signed, and no key was given"):
        unsigned.manifest()


def test_commands_take_the_url_of_a_student(
    finish, data_dir, run_in_store, store, key_file
):
    _, shared = run_in_store

    out = finish(
        *("evaluate", "--data_dir", data_dir, f"{shared}/students/0", "--json"),
        *("--export_key_file", key_file),
        **store.environment,
    )

    assert json.loads(out)["results"][0]["cross_entropy"] > 0.0
