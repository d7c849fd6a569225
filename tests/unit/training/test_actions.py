"""What happens between steps, where one process is enough to see it."""

import json
import time

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.settings import codistillation, training
from lmcodistill.storage import faults, publication
from lmcodistill.training import actions, metrics, publishing, saving, step
from lmcodistill.training import job as job_lib


class NoReload:
    """Stands where a report asks for counts only."""

    refusals = {"digest": 1}


def totals(label_loss, skipped=0.0):
    given = {name: tf.constant(0.0) for name in step.Totals._fields}
    given |= {"label_loss": tf.constant(label_loss), "skipped": tf.constant(skipped)}
    return step.Totals(**given)


@pytest.fixture
def reports_of(a_job, make_student, tmp_path):
    """Returns what is written of updates with these totals, from the first on."""

    def write(*given):
        path = tmp_path / "metrics.jsonl"
        job = a_job()  # 10 tokens a step, a report every 2 steps.
        writer = metrics.MetricsWriter(path, tmp_path / "events", 0)
        report = actions.Report(job, make_student(job), writer, 0, NoReload())
        for at, one in enumerate(given, start=1):
            report(at, one)
        writer.close()
        return [json.loads(line) for line in path.read_text().splitlines()]

    return write


def test_report_has_the_means_since_the_last_one(reports_of):
    found = reports_of(*(totals(loss) for loss in (10.0, 30.0, 50.0, 70.0)))

    assert [(r["step"], r["tokens"]) for r in found] == [(2, 20), (4, 40)]
    assert [r["cross_entropy"] for r in found] == pytest.approx([2.0, 6.0])
    assert [r["distillation_weight"] for r in found] == [0.0, 0.0]
    assert found[0]["refused_exports"] == {"digest": 1}


def test_skipped_updates_are_counted_and_not_averaged(reports_of):
    found = reports_of(totals(10.0), totals(np.nan, 1.0), *[totals(np.nan, 1.0)] * 2)

    assert [r["skipped_updates"] for r in found] == [1, 2]
    assert [r["cross_entropy"] for r in found] == [pytest.approx(1.0), None]


@pytest.fixture(autouse=True)
def no_faults_of_other_tests():
    faults.forget()


@pytest.fixture
def publish_of(a_job, owner):
    """Makes the action that publishes a student's exports."""

    def make(job, student):
        return publishing.Publish(job, job_lib.open_inputs(job), student, owner)

    return make


def test_weights_that_are_not_finite_are_never_saved(
    a_job, group, make_student, publish_of
):
    job = a_job()
    student = make_student(job)
    weight = student.model.weights["embedding"]
    weight.assign(tf.fill(weight.shape, tf.constant(float("nan"), weight.dtype)))
    checkpoint = saving.Checkpoint(job, group, student, publish_of(job, student))

    with pytest.raises(errors.DivergedError, match="embedding is not finite"):
        checkpoint(1, force=True)

    assert not list(job.layout.checkpoints.glob("*"))


def steps_of(job):
    found = publication.committed(job.layout.checkpoints, "ckpt")
    return [snapshot.step for snapshot in found]


def test_refused_checkpoint_is_tried_again_after_one_two_and_four_steps(
    a_job, group, make_student, publish_of, monkeypatch
):
    job = a_job(
        training=training.Training(num_train_steps=100, checkpoint_every_steps=20)
    )
    student = make_student(job)
    checkpoint = saving.Checkpoint(job, group, student, publish_of(job, student))
    monkeypatch.setattr(saving, "_PAUSE", 0.0)  # The steps here take no time.
    # Every save passes `written` once.
    monkeypatch.setenv(
        faults.VARIABLE, ";".join(f"ckpt.written@{n}:fail" for n in (1, 2, 3))
    )

    tried = []
    for at in range(1, 31):
        checkpoint(at)
        tried.append((at, steps_of(job)))

    assert [at for at, steps in tried if steps][0] == 27  # 20, 21, 23, then 27.
    assert steps_of(job) == [27]


def test_storage_that_takes_long_to_refuse_is_tried_less_often(
    a_job, group, make_student, publish_of, monkeypatch
):
    job = a_job(
        training=training.Training(num_train_steps=100, checkpoint_every_steps=1)
    )
    student = make_student(job)
    checkpoint = saving.Checkpoint(job, group, student, publish_of(job, student))
    monkeypatch.setenv(
        faults.VARIABLE, "ckpt.written@1+:sleep=0.6;ckpt.before_rename@1+:fail"
    )

    tried = []
    for at in range(1, 41):
        time.sleep(0.01)
        if checkpoint.is_due(at):
            tried.append(at)
        checkpoint(at)

    # A try takes sixty steps; what a step takes is known at the second one.
    assert tried == [1, 2]


def test_storage_that_refuses_too_often_ends_the_run_and_leaves_the_last_good_one(
    a_job, group, make_student, publish_of, monkeypatch
):
    settings = training.Training(
        num_train_steps=100, checkpoint_every_steps=1, max_failed_saves=2
    )
    job = a_job(training=settings)
    student = make_student(job)
    checkpoint = saving.Checkpoint(job, group, student, publish_of(job, student))
    checkpoint(1)
    monkeypatch.setattr(saving, "_PAUSE", 0.0)
    monkeypatch.setenv(faults.VARIABLE, "ckpt.written@1+:fail")

    with pytest.raises(errors.SnapshotError, match="step 4 could not be saved"):
        for at in (2, 3, 4, 5):
            checkpoint(at)

    assert steps_of(job) == [1]


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

    found = publication.committed(job.layout.exports, "export")
    assert [snapshot.step for snapshot in found] == [4]


def test_last_export_that_storage_refuses_is_an_error(
    a_job, make_student, publish_of, monkeypatch
):
    job = a_job()
    publish = publish_of(job, make_student(job))
    monkeypatch.setenv(faults.VARIABLE, "export.written@1+:fail")

    with pytest.raises(errors.SnapshotError, match="last export, of step 10"):
        publish(10)


def test_full_disk_delays_metrics_and_loses_none(tmp_path):
    path = tmp_path / "metrics.jsonl"
    writer = metrics.MetricsWriter(path, tmp_path / "events", 0)
    file = writer._file
    writer._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115

    writer.write("train", 1, {"x": 1.0})
    writer._file.close()
    writer._file = file
    writer.write("train", 2, {"x": 2.0})
    writer.close()

    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["step"], r["x"]) for r in found] == [(1, 1.0), (2, 2.0)]


@pytest.mark.parametrize(("seconds", "kept"), [(60.0, [2, 4, 6]), (0.0, [6])])
def test_young_exports_stay_for_peers_that_read_slowly(
    a_job, make_student, publish_of, seconds, kept
):
    exchange = codistillation.Exchange(
        publish_every_steps=2, keep_exports=1, keep_export_seconds=seconds
    )
    job = a_job(exchange=exchange)
    publish = publish_of(job, make_student(job))

    for at in (2, 4, 6):
        publish(at)
        publish._publisher.wait()

    found = publication.committed(job.layout.exports, "export")
    assert [snapshot.step for snapshot in found] == kept
