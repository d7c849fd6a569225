"""Exports between updates, where storage does not do what it should."""

import threading

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

    def make(job, student, **more):
        inputs = job_lib.open_inputs(job)
        return publish_lib.Publish(job, inputs, student, owner, **more)

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


def steps_of(job):
    exports = publication.committed(job.layout.exports, "export")
    return [snapshot.step for snapshot in exports]


def test_export_that_is_asked_for_is_published_at_once_and_answered_once(
    a_job, make_student, publish_of
):
    job = a_job(exchange=codistillation.Exchange(publish_every_steps=4))
    asked, answers = threading.Event(), []
    publish = publish_of(job, make_student(job), asked=asked, on_answer=answers.append)

    asked.set()
    publish(0)  # Nothing was learned yet.
    for step in (3, 4, 5):
        publish(step)
        publish._publisher.wait()

    assert steps_of(job) == [3, 4]
    assert answers == [3]


def test_export_that_is_asked_for_waits_for_the_one_before(
    a_job, make_student, publish_of, monkeypatch
):
    job = a_job(exchange=codistillation.Exchange(publish_every_steps=4))
    asked = threading.Event()
    publish = publish_of(job, make_student(job), asked=asked)
    monkeypatch.setenv(faults.VARIABLE, "export.written@1:sleep=0.5")

    publish(4)
    asked.set()
    publish(5)
    assert asked.is_set()
    publish._publisher.wait()
    publish(6)
    publish.close()

    assert steps_of(job) == [4, 6]


def test_exports_that_are_asked_for_push_none_out_that_peers_wait_for(
    a_job, make_student, publish_of
):
    scheduled = codistillation.Exchange(
        mode="scheduled",
        **{"publish_every_steps": 2, "reload_every_steps": 2, "delay_steps": 2},
        **{"keep_exports": 1, "keep_export_seconds": 0.0},
    )
    job = a_job(
        exchange=scheduled,
        training=training.Training(num_train_steps=40, checkpoint_every_steps=2),
    )
    assert job.policy.publishing(2).num_kept == 8
    asked = threading.Event()
    publish = publish_of(job, make_student(job), asked=asked)

    for step in range(1, 21):
        asked.set()
        publish(step)
        publish._publisher.wait()

    assert [step for step in steps_of(job) if step % 2 == 0] == [*range(6, 21, 2)]


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
