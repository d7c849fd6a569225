"""Layers that the backward pass computes again: the same updates, from less memory."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.model import contract, registry, weights
from lmcodistill.settings import codistillation, model, schedules, training
from tests.support import peer_exports

LSTM = model.LanguageModel(
    embedding_size=5,
    num_layers=2,
    hidden_size=6,
    dropout=0.2,
    compute_dtype="float64",
)
TRANSFORMER = model.Transformer(
    width=8,
    num_layers=2,
    num_heads=2,
    feed_forward_width=12,
    memory=3,
    dropout=0.2,
    compute_dtype="float64",
)


@pytest.mark.parametrize(
    ("config", "xla"), [(LSTM, "off"), (TRANSFORMER, "off"), (TRANSFORMER, "on")]
)
def test_updates_are_those_of_layers_that_are_kept(config, xla, a_job, make_student):
    job = a_job(
        weight=schedules.DistillationWeight(burn_in_steps=0, weight=0.7),
        distillation=codistillation.Distillation(targets="peers"),
        batches=training.Batches(global_batch_size=4, window=5, micro_batches=2),
    )
    found = []
    for recompute in (False, True):
        settings = dataclasses.replace(job.training, recompute=recompute, xla=xla)
        job = dataclasses.replace(job, model=config, training=settings)
        student = make_student(job)
        assert student.model.recompute == recompute
        student.teachers.swap([peer_exports.export_for(job, seed=9)], step=0)
        for number in range(3):
            student.update(number)
        found.append({n: np.array(value) for n, value in student.values().items()})

    kept, recomputed = found
    assert recomputed.keys() == kept.keys()
    for name, value in kept.items():
        np.testing.assert_allclose(
            recomputed[name], value, rtol=1e-9, atol=1e-12, err_msg=name
        )


@pytest.mark.parametrize(("recompute", "times"), [(False, 1), (True, 2)])
def test_a_gradient_computes_a_layer_again(recompute, times):
    values = weights.initial(LSTM, 7, seed=0)
    built = registry.build(LSTM, 7, values, recompute=recompute)
    calls = []

    def square(x):
        calls.append(x)
        return x * x

    with tf.GradientTape() as tape:
        x = tf.constant(3.0)
        tape.watch(x)
        y = built.layer(square)(x)

    assert float(tape.gradient(y, x)) == 6.0
    assert len(calls) == times


def test_family_that_cannot_says_what_else_saves_memory():
    operations = contract.Operations([], activations=1, kept=2, carried=3)

    assert operations.kept_by(recompute=False) == 2
    with pytest.raises(errors.UsageError, match="Raise MICRO_BATCHES instead"):
        operations.kept_by(recompute=True)
