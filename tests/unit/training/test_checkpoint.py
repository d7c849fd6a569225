"""Checkpoints between updates: when they are made, and where storage refuses."""

import time

import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.settings import training
from lmcodistill.storage import faults, publication
from lmcodistill.training.hooks import checkpoint as checkpoint_lib


@pytest.fixture(autouse=True)
def no_faults_of_other_tests():
    faults.forget()


@pytest.fixture
def checkpoint_of(group, owner):
    """Makes the hook that saves a student."""

    def make(job, student, **more):
        folder = job.layout.checkpoints
        return checkpoint_lib.Checkpoint(
            *(job.training, folder, group, student), key=None, owner=owner, **more
        )

    return make


def test_weights_that_are_not_finite_are_never_saved(
    a_job, make_student, checkpoint_of
):
    job = a_job()
    student = make_student(job)
    weight = student.model.weights["embedding"]
    weight.assign(tf.fill(weight.shape, tf.constant(float("nan"), weight.dtype)))
    checkpoint = checkpoint_of(job, student)

    with pytest.raises(errors.DivergedError, match="embedding is not finite"):
        checkpoint(1)

    assert not list(job.layout.checkpoints.glob("*"))


def steps_of(job):
    checkpoints = publication.committed(job.layout.checkpoints, "ckpt")
    return [snapshot.step for snapshot in checkpoints]


def test_asked_checkpoint_is_due_until_it_is_saved_and_answered_once(
    a_job, make_student, checkpoint_of, monkeypatch
):
    job = a_job(
        training=training.Training(num_train_steps=100, checkpoint_every_steps=20)
    )
    monkeypatch.setenv(faults.VARIABLE, "ckpt.written@1:fail")
    answers = []
    checkpoint = checkpoint_of(job, make_student(job), on_answer=answers.append)
    assert not checkpoint.is_due(3)

    checkpoint.ask()
    assert checkpoint.is_due(3)
    checkpoint(3)
    assert answers == []
    checkpoint(4)

    assert answers == [4]
    assert not checkpoint.is_due(5)
    checkpoint(20)
    assert answers == [4]


def test_refused_checkpoint_is_tried_again_after_one_two_and_four_steps(
    a_job, make_student, checkpoint_of, monkeypatch
):
    job = a_job(
        training=training.Training(num_train_steps=100, checkpoint_every_steps=20)
    )
    student = make_student(job)
    checkpoint = checkpoint_of(job, student)
    monkeypatch.setattr(checkpoint_lib, "_PAUSE", 0.0)  # The steps here take no time.
    # Every save passes `written` once.
    monkeypatch.setenv(
        faults.VARIABLE, ";".join(f"ckpt.written@{n}:fail" for n in (1, 2, 3))
    )

    tried = []
    for step in range(1, 31):
        if checkpoint.is_due(step):
            checkpoint(step)
        tried.append((step, steps_of(job)))

    assert [step for step, steps in tried if steps][0] == 27  # 20, 21, 23, then 27.
    assert steps_of(job) == [27]


def test_storage_that_takes_long_to_refuse_is_tried_less_often(
    a_job, make_student, checkpoint_of, monkeypatch
):
    job = a_job(
        training=training.Training(num_train_steps=100, checkpoint_every_steps=1)
    )
    student = make_student(job)
    checkpoint = checkpoint_of(job, student)
    monkeypatch.setenv(
        faults.VARIABLE, "ckpt.written@1+:sleep=0.6;ckpt.before_rename@1+:fail"
    )

    tried = []
    for step in range(1, 41):
        time.sleep(0.01)
        if checkpoint.is_due(step):
            tried.append(step)
            checkpoint(step)

    # A try takes sixty steps; what a step takes is known at the second one.
    assert tried == [1, 2]


def test_storage_that_refuses_too_often_ends_the_run_and_leaves_the_last_good_one(
    a_job, make_student, checkpoint_of, monkeypatch
):
    settings = training.Training(
        num_train_steps=100, checkpoint_every_steps=1, max_failed_saves=2
    )
    job = a_job(training=settings)
    student = make_student(job)
    checkpoint = checkpoint_of(job, student)
    checkpoint(1)
    monkeypatch.setattr(checkpoint_lib, "_PAUSE", 0.0)
    monkeypatch.setenv(faults.VARIABLE, "ckpt.written@1+:fail")

    with pytest.raises(errors.SnapshotError, match="step 4 could not be saved"):
        for step in (2, 3, 4, 5):
            checkpoint(step)

    assert steps_of(job) == [1]


def test_last_step_is_saved_whatever_the_period(a_job, make_student, checkpoint_of):
    settings = training.Training(num_train_steps=7, checkpoint_every_steps=5)
    job = a_job(training=settings)
    checkpoint = checkpoint_of(job, make_student(job))

    assert [step for step in range(8) if checkpoint.is_due(step)] == [5, 7]


def test_checkpoint_to_go_back_to_is_seen_once_there_is_one(
    a_job, make_student, checkpoint_of
):
    job = a_job()
    checkpoint = checkpoint_of(job, make_student(job))

    before = checkpoint.exists()
    checkpoint(3)

    assert (before, checkpoint.exists()) == (False, True)
