"""Several passes over parts of the streams make the update of one pass."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.settings import codistillation, model, schedules, training
from lmcodistill.training import gradient_accumulation, replica_gradients
from tests.support import peer_exports


def in_passes(job, count):
    """Returns the job with 4 streams, and the micro batches."""
    batches = training.Batches(global_batch_size=4, window=5, micro_batches=count)
    return dataclasses.replace(job, batches=batches)


def taught(student, job):
    """Gives a student one teacher, if the job has any."""
    if job.distillation.targets == "peers":
        export = peer_exports.export_for(job, seed=9)
        student.teachers.swap([export], step=0)
    return student


def all_of(student):
    """Returns the weights and every stream's state, by name."""
    return {name: np.array(value) for name, value in student.values().items()}


def a_transformer(memory):
    return model.Transformer(
        width=8,
        num_layers=1,
        num_heads=2,
        feed_forward_width=12,
        memory=memory,
        compute_dtype="float64",
    )


@pytest.mark.parametrize(
    ("config", "targets", "counts"),
    [
        (None, "none", [2]),
        (None, "uniform", [2]),
        (None, "peers", [2, 4]),
        (a_transformer(memory=3), "peers", [2]),
        (a_transformer(memory=0), "none", [2]),
    ],
)
def test_passes_make_the_same_updates_and_carry_the_same_states(
    config, targets, counts, a_job, make_student
):
    job = a_job(
        weight=schedules.DistillationWeight(burn_in_steps=0, weight=0.7),
        distillation=codistillation.Distillation(targets=targets),
    )
    job = dataclasses.replace(job, model=config or job.model)

    def updated(passes):
        student = taught(make_student(in_passes(job, passes)), job)
        totals = [[float(x) for x in student.update(n)[0]] for n in range(3)]
        return totals, student.gradient_angle(3), all_of(student)

    one, one_angle, one_values = updated(1)
    assert one[0][1] > 0.0 or targets == "none"  # Psi was there.
    for many, many_angle, many_values in map(updated, counts):
        np.testing.assert_allclose(many, one, rtol=1e-6)
        if targets != "none":
            assert list(many_angle) == pytest.approx(list(one_angle), rel=1e-6)
        assert many_values.keys() == one_values.keys()
        for name, value in one_values.items():
            np.testing.assert_allclose(
                many_values[name], value, rtol=1e-9, err_msg=name
            )


def test_every_pass_has_its_rows_their_targets_and_a_dropout_of_its_own():
    tokens = np.arange(12, dtype=np.int32).reshape(6, 2)
    inputs = replica_gradients.BatchInputs(
        tokens=tf.constant(tokens),
        targets=tf.constant(tokens.T.reshape(-1) * 100),
        is_start=tf.zeros([6, 2], tf.bool),
        learning_rate=0.0,
        distillation_weight=0.0,
        temperature=0.0,
        number=0.0,
        dropout_seed=tf.constant([5, 30]),
    )

    def compute(part, state):
        # What the pass read, in the places of its seeds.
        at = tf.one_hot(part.dropout_seed[1] - 30, 3, dtype=tf.int32)[:, None]
        return (at * part.tokens[0], at * part.targets), state + part.tokens[:, 0]

    def zeros():
        return tf.zeros([3, 2], tf.int32), tf.zeros([3, 4], tf.int32)

    passes = gradient_accumulation.accumulated(compute, 3, zeros)
    (first_rows, targets), state = passes(inputs, tf.constant([1000] * 6))

    assert first_rows.numpy().tolist() == [[0, 1], [4, 5], [8, 9]]
    # Time-major: the first tokens of a part's two streams, then the second.
    assert targets.numpy()[1].tolist() == [400, 600, 500, 700]
    assert state.numpy().tolist() == [1000, 1002, 1004, 1006, 1008, 1010]


def test_streams_that_the_passes_cannot_share_are_refused(a_job, make_student):
    with pytest.raises(
        errors.UsageError, match=r"1 replicas in 3 passes.*multiple of 3"
    ):
        make_student(in_passes(a_job(), 3))
