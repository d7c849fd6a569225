"""Exports between updates, where storage does not do what it should."""

import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.exports import reader, writer
from lmcodistill.settings import codistillation, training
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


def test_mean_of_the_weights_is_what_is_published(a_job, make_student, publish_of):
    job = a_job(training=training.Training(num_train_steps=10, average_decay=0.9))
    student = make_student(job)
    publish = publish_of(job, student)
    for number in (0, 1):
        student.update(number)

    publish(2)
    publish._publisher.wait()

    (snapshot,) = publication.committed(job.layout.exports, "export")
    found = reader.read(snapshot)
    raw, mean = (writer.weights_of(m) for m in (student.model, student.published))
    for name, value in found.weights.items():
        np.testing.assert_array_equal(value, mean[name])
        assert not np.array_equal(value, raw[name])


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
