"""What happens between steps, where one process is enough to see it."""

import json

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.codistill import exports
from lmcodistill.model import language_model, weights
from lmcodistill.settings import codistillation
from lmcodistill.training import actions, job, metrics, step


@pytest.fixture
def publish_peer(a_job):
    """Publishes an export of student 1, with weights that the seed decides."""
    what = a_job()

    def publish(at, seed=0):
        inputs = job.open_inputs(what)
        values = weights.initial(inputs.model, 12, seed)
        return exports.publish(
            what.peer_layout(1).exports,
            at,
            language_model.LanguageModel(inputs.model, 12, values),
            inputs.data.vocabulary,
            student=1,
            reset_at_documents=True,
        )

    return publish


def reload_of(what, group, learner, asked_to_stop=lambda: False):
    return actions.Reload(what, group, learner, asked_to_stop)


def teachers_of(learner):
    return [(t.peer, t.step) for t in learner.teachers.active]


def flip_a_bit(snapshot):
    path = snapshot.path / "saved_model/variables/variables.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)


def test_no_teacher_is_loaded_in_burn_in(a_job, group, make_student, publish_peer):
    what = a_job()  # Burn-in of 2 steps.
    learner = make_student(what)
    publish_peer(1)
    look = reload_of(what, group, learner)

    seen = []
    for at in range(3):
        look(at)
        seen.append(teachers_of(learner))

    assert seen == [[], [], [(1, 1)]]


def test_peer_without_exports_is_not_waited_for(a_job, group, make_student):
    what = a_job()
    learner = make_student(what)

    assert reload_of(what, group, learner)(2)

    assert teachers_of(learner) == []


def test_freshest_export_teaches_and_a_damaged_one_does_not(
    a_job, group, make_student, publish_peer
):
    what = a_job()
    learner = make_student(what)
    look = reload_of(what, group, learner)
    publish_peer(2, seed=1)
    look(2)
    first = teachers_of(learner)
    flip_a_bit(publish_peer(4, seed=2))

    look(4)
    after_damage = teachers_of(learner)
    publish_peer(6, seed=3)
    look(6)

    assert first == after_damage == [(1, 2)]
    assert teachers_of(learner) == [(1, 6)]


def test_scheduled_exchange_takes_the_export_of_its_step_not_the_newest(
    a_job, group, make_student, publish_peer
):
    what = a_job(
        exchange=codistillation.Exchange(
            mode="scheduled",
            publish_every_steps=2,
            reload_every_steps=2,
            delay_steps=2,
            keep_exports=5,
        )
    )
    learner = make_student(what)
    for at in (2, 4, 6):
        publish_peer(at, seed=at)

    reload_of(what, group, learner)(4)

    assert teachers_of(learner) == [(1, 2)]


def test_scheduled_exchange_gives_up_at_its_deadline(a_job, group, make_student):
    exchange = codistillation.Exchange(
        mode="scheduled",
        publish_every_steps=2,
        reload_every_steps=2,
        deadline_seconds=0.0,
    )
    what = a_job(exchange=exchange)

    with pytest.raises(errors.GroupLostError, match="Student 1 did not publish .* 4 "):
        reload_of(what, group, make_student(what))(4)


def test_request_to_stop_ends_the_wait_for_a_scheduled_export(
    a_job, group, make_student
):
    exchange = codistillation.Exchange(
        mode="scheduled", publish_every_steps=2, reload_every_steps=2
    )
    what = a_job(exchange=exchange)
    look = reload_of(what, group, make_student(what), asked_to_stop=lambda: True)

    assert not look(4)


def totals(label_loss, gradient_norm=1.0):
    given = {name: tf.constant(0.0) for name in step.Totals._fields}
    given |= {
        "label_loss": tf.constant(label_loss),
        "gradient_norm": tf.constant(gradient_norm),
    }
    return step.Totals(**given)


def test_report_has_the_means_since_the_last_one(a_job, make_student, tmp_path):
    what = a_job()  # 10 tokens a step, a report every 2 steps.
    path = tmp_path / "metrics.jsonl"
    writer = metrics.MetricsWriter(path, tmp_path / "events", 0)
    report = actions.Report(what, make_student(what), writer, 0)

    for at, label_loss in enumerate([10.0, 30.0, 50.0, 70.0], start=1):
        report(at, totals(label_loss))
    writer.close()

    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["step"], r["tokens"]) for r in found] == [(2, 20), (4, 40)]
    assert [r["cross_entropy"] for r in found] == pytest.approx([2.0, 6.0])
    assert [r["distillation_weight"] for r in found] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("label_loss", "norm"), [(np.nan, 1.0), (np.inf, 1.0), (1.0, np.nan)]
)
def test_divergence_stops_the_run_at_its_report(a_job, make_student, label_loss, norm):
    what = a_job()
    report = actions.Report(what, make_student(what), None, 0)

    report(1, totals(label_loss, norm))
    with pytest.raises(errors.DivergedError, match="Between steps 0 and 2"):
        report(2, totals(10.0))


def test_weights_that_are_not_finite_are_never_saved(a_job, group, make_student):
    what = a_job()
    learner = make_student(what)
    weight = learner.model.weights["embedding"]
    weight.assign(tf.fill(weight.shape, tf.constant(float("nan"), weight.dtype)))
    checkpoint = actions.Checkpoint(what, group, learner)

    with pytest.raises(errors.DivergedError, match="embedding is not finite"):
        checkpoint(1, force=True)

    assert not list(what.layout.checkpoints.glob("*"))
