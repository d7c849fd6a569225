"""What is refused before TensorFlow starts."""

import dataclasses

import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.settings import codistillation, model, schedules, training
from lmcodistill.storage import publication
from lmcodistill.training import checkpoints
from lmcodistill.training import job as job_lib


def save(job, step, vocabulary):
    checkpoints.save(
        job.layout.checkpoints,
        step,
        {"a": np.zeros(1)},
        {"vocabulary": vocabulary},
        job.training,
        owner=publication.Owner(1, lambda: None),
    )


def test_checkpoint_of_another_vocabulary_is_refused(a_job):
    job = a_job()
    save(job, 100, "0" * 64)

    with pytest.raises(errors.DataError, match="100-i1 was trained with vocabulary"):
        job_lib.check_vocabulary(job, job_lib.open_inputs(job))


def test_checkpoint_of_the_same_vocabulary_is_taken(a_job):
    job = a_job()
    inputs = job_lib.open_inputs(job)

    job_lib.check_vocabulary(job, inputs)  # A run that has no checkpoint yet.
    save(job, 100, inputs.data.manifest.vocabulary)
    job_lib.check_vocabulary(job, inputs)


def test_checkpoint_with_a_damaged_manifest_is_passed_over(a_job):
    job = a_job()
    inputs = job_lib.open_inputs(job)
    save(job, 100, inputs.data.manifest.vocabulary)
    save(job, 200, inputs.data.manifest.vocabulary)
    newest = job.layout.checkpoints / "ckpt-000000200-i1"
    (newest / "manifest.json").write_text("{")

    job_lib.check_vocabulary(job, inputs)


def test_model_takes_the_vocabulary_size_of_the_data_and_no_other(a_job):
    job = a_job()
    other = dataclasses.replace(job.model, vocab_size=13)

    assert job_lib.open_inputs(job).model.vocab_size == 12
    with pytest.raises(errors.UsageError, match="VOCAB_SIZE = 13, but .* 12 pieces"):
        job_lib.open_inputs(a_job(model=other))


@pytest.mark.parametrize(
    ("batches", "student", "partitions"),
    [
        ({}, 1, [1]),
        ({"same_data": True}, 1, [0]),
        ({"pooled_partitions": 1}, 1, [0]),
        ({"pooled_partitions": 2}, 0, [0, 1]),
        ({"pooled_partitions": 2}, 1, [0, 1]),
    ],
)
def test_student_reads_its_own_text_or_one_that_all_read(
    a_job, batches, student, partitions
):
    settings = training.Batches(global_batch_size=2, window=5, **batches)

    inputs = job_lib.open_inputs(a_job(batches=settings, student=student))

    parts = [inputs.data.tokens_of(inputs.data.train_split(p)) for p in partitions]
    expected = np.concatenate([p.read(0, p.num_tokens) for p in parts])
    found = inputs.text.read(0, inputs.text.num_tokens)
    np.testing.assert_array_equal(found, expected)
    second_stream = inputs.windows.at(0, 1, 1).inputs[0]
    np.testing.assert_array_equal(second_stream, expected[len(expected) // 2 :][:5])


@pytest.mark.parametrize(
    ("batches", "seeds"),
    [
        ({}, (0, 0)),
        ({"order_seed": 3}, (3, 3)),
        ({"own_order": True}, (0, 1)),
        ({"order_seed": 3, "own_order": True}, (3, 4)),
    ],
)
def test_students_read_one_text_in_one_order_or_each_in_its_own(a_job, batches, seeds):
    size = {"global_batch_size": 2, "window": 5, "pooled_partitions": 2}
    jobs = [
        a_job(batches=training.Batches(**size, **batches), student=student)
        for student in (0, 1)
    ]

    for job, seed in zip(jobs, seeds, strict=True):
        plain = training.Batches(**size, order_seed=seed)
        expected = job_lib.open_inputs(a_job(batches=plain)).windows.at(7, 0, 2)
        found = job_lib.open_inputs(job).windows.at(7, 0, 2)
        assert found.inputs.tolist() == expected.inputs.tolist()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"student": 2}, "--student=2 does not exist"),
        ({"student": 0, "num_students": 1}, "at least two students"),
    ],
)
def test_students_who_could_not_teach_each_other_are_refused(a_job, changes, reason):
    with pytest.raises(errors.UsageError, match=reason):
        job_lib.check_peers(a_job(**changes))


def test_asynchronous_workers_read_streams_of_their_own(a_job):
    together = job_lib.open_inputs(a_job()).windows
    apart = job_lib.open_inputs(a_job(asynchronous_workers=2)).windows
    streams = a_job().batches.global_batch_size

    first, second = (apart.at(3, k * streams, streams).inputs for k in (0, 1))

    assert a_job(asynchronous_workers=2).num_streams == 2 * streams
    assert apart.windows_per_epoch < together.windows_per_epoch
    assert first.tolist() != second.tolist()


def test_automatic_weight_without_a_teacher_is_refused(a_job):
    job = dataclasses.replace(
        a_job(),
        weight=schedules.DistillationWeight(schedule="auto"),
        distillation=codistillation.Distillation(targets="uniform"),
    )

    with pytest.raises(errors.UsageError, match="WEIGHT_SCHEDULE"):
        job_lib.check_peers(job)


def test_temperature_that_is_to_move_during_burn_in_is_refused(a_job):
    cooling = codistillation.Distillation(
        temperature=4.0, final_temperature=1.0, temperature_end_step=2
    )
    later = dataclasses.replace(cooling, temperature_end_step=3)

    job_lib.check_peers(a_job(distillation=later))  # Burn-in is 2 steps.
    with pytest.raises(errors.UsageError, match="temperature_end_step = 2"):
        job_lib.check_peers(a_job(distillation=cooling))


def averaging(**changes):
    return codistillation.Exchange(average_weights=True, **changes)


def test_averaging_with_nobody_is_refused(a_job):
    job = a_job(exchange=averaging(), num_students=1)

    with pytest.raises(
        errors.UsageError, match="AVERAGE_WEIGHTS = True needs at least"
    ):
        job_lib.check_peers(job)


@pytest.mark.parametrize(
    ("changes", "teachers"),
    [
        ({}, 2),
        ({"exchange": codistillation.Exchange(topology="ring")}, 1),
        ({"distillation": codistillation.Distillation(targets="uniform")}, 0),
        ({"exchange": averaging()}, 0),
    ],
)
def test_summary_counts_the_teachers(a_job, changes, teachers):
    job = a_job(num_students=3, **changes)

    summary = job_lib.summary(job, job_lib.open_inputs(job), 1)

    assert summary["teachers"] == teachers


def test_summary_counts_the_memory_of_means(a_job):
    def mb(decay):
        job = a_job(
            model=model.LanguageModel(hidden_size=512),
            training=training.Training(num_train_steps=1, average_decay=decay),
            num_students=1,
            distillation=codistillation.Distillation(targets="none"),
        )
        return job_lib.summary(job, job_lib.open_inputs(job), 1)["state_mb_per_process"]

    # Weights and gradient; plain descent has no slots.
    assert mb(0.9) == pytest.approx(mb(0.0) * 3 / 2, rel=0.01)


@pytest.mark.parametrize(
    "changes",
    [
        {"training": training.Training(num_train_steps=1)},
        {"exchange": averaging(mode="scheduled", delay_steps=50)},
        {"exchange": averaging(mode="freshest")},
        {"distillation": codistillation.Distillation(targets="peers")},
        {
            "training": training.Training(
                num_train_steps=1, shared_start=True, average_decay=0.9
            )
        },
    ],
)
def test_weights_that_have_no_common_start_or_step_are_not_averaged(a_job, changes):
    fitting = {
        "training": training.Training(num_train_steps=1, shared_start=True),
        "exchange": averaging(mode="scheduled"),
        "distillation": codistillation.Distillation(targets="none"),
    }

    job_lib.check_peers(dataclasses.replace(a_job(), **fitting))
    with pytest.raises(errors.UsageError, match="of one start at one step|of means"):
        job_lib.check_peers(dataclasses.replace(a_job(), **(fitting | changes)))
