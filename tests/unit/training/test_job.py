"""What is refused before TensorFlow starts."""

import dataclasses

import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.settings import codistillation, schedules, training
from lmcodistill.storage import publication
from lmcodistill.training import checkpoints, job


def save(what, step, vocabulary):
    checkpoints.save(
        what.layout.checkpoints,
        step,
        {"a": np.zeros(1)},
        {"vocabulary": vocabulary},
        what.training,
        owner=publication.Ownership(1, lambda: None),
    )


def test_checkpoint_of_another_vocabulary_is_refused(a_job):
    what = a_job()
    save(what, 100, "0" * 64)

    with pytest.raises(errors.DataError, match="100-i1 was trained with vocabulary"):
        job.check_vocabulary(what, job.open_inputs(what))


def test_checkpoint_of_the_same_vocabulary_is_taken(a_job):
    what = a_job()
    inputs = job.open_inputs(what)

    job.check_vocabulary(what, inputs)  # A run that has no checkpoint yet.
    save(what, 100, inputs.data.manifest.vocabulary)
    job.check_vocabulary(what, inputs)


def test_checkpoint_with_a_damaged_manifest_is_passed_over(a_job):
    what = a_job()
    inputs = job.open_inputs(what)
    save(what, 100, inputs.data.manifest.vocabulary)
    save(what, 200, inputs.data.manifest.vocabulary)
    newest = what.layout.checkpoints / "ckpt-000000200-i1"
    (newest / "manifest.json").write_text("{")

    job.check_vocabulary(what, inputs)


def test_model_takes_the_vocabulary_size_of_the_data_and_no_other(a_job):
    what = a_job()
    other = dataclasses.replace(what.model, vocab_size=13)

    assert job.open_inputs(what).model.vocab_size == 12
    with pytest.raises(errors.UsageError, match="VOCAB_SIZE = 13, but .* 12 pieces"):
        job.open_inputs(a_job(model=other))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"student": 2}, "--student=2 does not exist"),
        ({"student": 0, "num_students": 1}, "at least two students"),
    ],
)
def test_students_who_could_not_teach_each_other_are_refused(a_job, changes, reason):
    with pytest.raises(errors.UsageError, match=reason):
        job.check_peers(a_job(**changes))


def test_automatic_weight_without_a_teacher_is_refused(a_job):
    what = dataclasses.replace(
        a_job(),
        weight=schedules.DistillationWeight(schedule="auto"),
        distillation=codistillation.Distillation(targets="uniform"),
    )

    with pytest.raises(errors.UsageError, match="WEIGHT_SCHEDULE"):
        job.check_peers(what)


@pytest.mark.parametrize(
    "changes",
    [
        {"training": training.Training(num_train_steps=1)},
        {"exchange": codistillation.Exchange(mode="scheduled", delay_steps=50)},
        {"exchange": codistillation.Exchange(mode="freshest")},
    ],
)
def test_weights_that_have_no_common_start_or_step_are_not_averaged(a_job, changes):
    fitting = {
        "training": training.Training(num_train_steps=1, shared_start=True),
        "exchange": codistillation.Exchange(mode="scheduled"),
        "distillation": codistillation.Distillation(targets="weights"),
    }

    job.check_peers(dataclasses.replace(a_job(), **fitting))
    with pytest.raises(errors.UsageError, match="of one start at one step"):
        job.check_peers(dataclasses.replace(a_job(), **(fitting | changes)))
