"""Exports between updates, where storage does not do what it should."""

import pytest

from lmcodistill import errors
from lmcodistill.settings import codistillation
from lmcodistill.storage import faults, publication
from lmcodistill.training import job as job_lib
from lmcodistill.training.hooks import publish as publish_lib


@pytest.fixture(autouse=True)
def no_faults_of_other_tests():
    faults.forget()


@pytest.fixture
def publish_of(a_job, owner):
    """Makes the hook that publishes a student's exports."""

    def make(job, student):
        return publish_lib.Publish(job, job_lib.open_inputs(job), student, owner)

    return make


def test_export_that_storage_refuses_is_skipped(
    a_job, make_student, publish_of, monkeypatch
):
    job = a_job(exchange=codistillation.Exchange(publish_every_steps=2))
    publish = publish_of(job, make_student(job))
    monkeypatch.setenv(faults.VARIABLE, "export.written@1:fail")

    publish(2)
    publish._publisher.wait()
    publish(4)
    publish._publisher.wait()

    exports = publication.committed(job.layout.exports, "export")
    assert [snapshot.step for snapshot in exports] == [4]


def test_last_export_that_storage_refuses_is_an_error(
    a_job, make_student, publish_of, monkeypatch
):
    job = a_job()
    publish = publish_of(job, make_student(job))
    monkeypatch.setenv(faults.VARIABLE, "export.written@1+:fail")

    with pytest.raises(errors.SnapshotError, match="last export, of step 10"):
        publish(10)


@pytest.mark.parametrize(("seconds", "kept"), [(60.0, [2, 4, 6]), (0.0, [6])])
def test_young_exports_stay_for_peers_that_read_slowly(
    a_job, make_student, publish_of, seconds, kept
):
    exchange = codistillation.Exchange(
        publish_every_steps=2, keep_exports=1, keep_export_seconds=seconds
    )
    job = a_job(exchange=exchange)
    publish = publish_of(job, make_student(job))

    for step in (2, 4, 6):
        publish(step)
        publish._publisher.wait()

    exports = publication.committed(job.layout.exports, "export")
    assert [snapshot.step for snapshot in exports] == kept
