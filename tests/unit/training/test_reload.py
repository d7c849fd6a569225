"""How peers' exports become teachers, where one process is enough to see it."""

import dataclasses
import time

import numpy as np
import pytest

from lmcodistill import errors
from lmcodistill.exports import writer
from lmcodistill.model import weights
from lmcodistill.settings import codistillation
from lmcodistill.storage import publication
from lmcodistill.training import job as job_lib
from lmcodistill.training.hooks import reload as reload_lib

EVERY_TWO = {"publish_every_steps": 2, "reload_every_steps": 2}


@pytest.fixture
def publish_peer(a_job):
    """Publishes an export of student 1, with weights that the seed decides."""
    job = a_job()
    inputs = job_lib.open_inputs(job)
    one = writer.Exporter(
        inputs.model, inputs.data.vocabulary, student=1, reset_at_documents=True
    )

    def publish(step, seed=0, generation=1, scale=1.0):
        values = weights.initial(inputs.model, 12, seed)
        dtype = inputs.model.weight_dtype
        return one.publish(
            job.peer_layout(1).exports,
            step,
            {n: np.asarray(scale * v, dtype) for n, v in values.items()},
            publication.Owner(generation, lambda: None),
        )

    return publish


@pytest.fixture
def make_reload(group):
    def make(job, student, asked_to_stop=lambda: False):
        loader = reload_lib.Loader(job, job_lib.open_inputs(job))
        return reload_lib.Reload(job.policy, group, student, loader, asked_to_stop)

    return make


def look(reload, step):
    """Makes a freshest reload at a step and takes what it staged."""
    reload(step)
    give_up = time.monotonic() + 20.0
    while not reload.announce():
        if not reload.is_reading:
            return
        assert time.monotonic() < give_up
        time.sleep(0.01)
    reload.swap_staged(step + 1)


def teachers_of(student):
    return [(t.peer, t.step) for t in student.teachers.active]


def flip_a_bit(snapshot):
    path = snapshot.path / "saved_model/variables/variables.data-00000-of-00001"
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)


def scheduled(a_job, **changes):
    given = {**EVERY_TWO, "mode": "scheduled", **changes}
    return a_job(exchange=codistillation.Exchange(**given))


def test_no_teacher_is_loaded_in_burn_in(
    a_job, make_student, publish_peer, make_reload
):
    job = a_job()  # Burn-in of 2 steps.
    student = make_student(job)
    publish_peer(1)
    reload = make_reload(job, student)

    seen = []
    for step in range(3):
        look(reload, step)
        seen.append(teachers_of(student))

    assert seen == [[], [], [(1, 1)]]


def test_peer_without_exports_is_not_waited_for(a_job, make_student, make_reload):
    job = a_job()
    student = make_student(job)

    look(make_reload(job, student), 2)

    assert teachers_of(student) == []


def test_freshest_export_teaches_and_a_damaged_one_does_not(
    a_job, make_student, publish_peer, make_reload
):
    job = a_job()
    student = make_student(job)
    reload = make_reload(job, student)
    publish_peer(2, seed=1)
    look(reload, 2)
    first = teachers_of(student)
    flip_a_bit(publish_peer(4, seed=2))

    look(reload, 4)
    after_damage = teachers_of(student)
    refusals = reload.refusals
    publish_peer(6, seed=3)
    look(reload, 6)

    assert first == after_damage == [(1, 2)]
    assert refusals == {"digest": 1}
    assert teachers_of(student) == [(1, 6)]


def test_damaged_newest_export_leaves_the_one_before_it_to_teach(
    a_job, make_student, publish_peer, make_reload
):
    job = a_job()
    student = make_student(job)
    publish_peer(2, seed=1)
    flip_a_bit(publish_peer(4, seed=2))

    look(make_reload(job, student), 4)

    assert teachers_of(student) == [(1, 2)]


def test_a_later_generation_of_the_peer_is_followed_though_its_step_is_smaller(
    a_job, make_student, publish_peer, make_reload
):
    job = a_job()
    student = make_student(job)
    reload = make_reload(job, student)
    publish_peer(6, seed=1)
    look(reload, 2)
    publish_peer(4, seed=2, generation=2)

    look(reload, 4)

    assert teachers_of(student) == [(1, 4)]


def test_weights_that_predict_worse_than_a_guess_do_not_teach(
    a_job, make_student, publish_peer, make_reload
):
    job = a_job()
    student = make_student(job)
    reload = make_reload(job, student)
    publish_peer(2, scale=1_000.0)

    look(reload, 2)

    assert teachers_of(student) == []
    assert reload.refusals == {"probe": 1}


def test_teacher_beyond_the_largest_staleness_is_let_go_and_stays_away(
    a_job, make_student, publish_peer, make_reload
):
    exchange = codistillation.Exchange(**EVERY_TWO, max_staleness_steps=3)
    job = a_job(exchange=exchange)
    student = make_student(job)
    reload = make_reload(job, student)
    publish_peer(2)

    seen = {}
    for step in range(2, 9):
        look(reload, step)
        seen[step] = teachers_of(student)

    assert seen[5] == [(1, 2)]
    assert [seen[step] for step in (6, 7, 8)] == [[], [], []]


def test_scheduled_exchange_takes_the_export_of_its_step_not_the_newest(
    a_job, make_student, publish_peer, make_reload
):
    job = scheduled(a_job, delay_steps=2)
    student = make_student(job)
    for step in (2, 4, 6):
        publish_peer(step, seed=step)

    make_reload(job, student)(4)

    assert teachers_of(student) == [(1, 2)]


def test_scheduled_exchange_waits_for_an_export_in_place_of_a_damaged_one(
    a_job, make_student, publish_peer, make_reload
):
    job = scheduled(a_job)
    student = make_student(job)
    flip_a_bit(publish_peer(4, seed=1))
    reload = make_reload(job, student)
    asked = []

    def mend_when_asked():
        asked.append(None)
        if len(asked) == 3:  # The peer restarted and came to that step again.
            publish_peer(4, seed=1, generation=2)
        return False

    reload = make_reload(job, student, mend_when_asked)

    reload(4)
    assert teachers_of(student) == [(1, 4)]


def test_scheduled_exchange_gives_up_at_its_deadline(a_job, make_student, make_reload):
    job = scheduled(a_job, deadline_seconds=0.01)

    with pytest.raises(errors.GroupLostError, match=r"\[1\] did not all publish .* 4 "):
        make_reload(job, make_student(job))(4)


def test_request_to_stop_ends_the_wait_for_a_scheduled_export(
    a_job, make_student, make_reload
):
    job = scheduled(a_job)
    reload = make_reload(job, make_student(job), asked_to_stop=lambda: True)

    with pytest.raises(reload_lib.WaitStopped):
        reload(4)


def test_what_a_scheduled_reload_needs_next_is_read_ahead(
    a_job, make_student, publish_peer, make_reload
):
    job = scheduled(a_job)
    student = make_student(job)
    reload = make_reload(job, student)
    publish_peer(4, seed=1)
    reload(4)
    publish_peer(6, seed=2)
    give_up = time.monotonic() + 20.0
    while reload.is_reading and time.monotonic() < give_up:
        time.sleep(0.01)

    reload(6)

    assert teachers_of(student) == [(1, 6)]


def test_averaged_weights_are_the_mean_and_nobody_teaches(
    a_job, make_student, publish_peer, make_reload
):
    changes = {"mode": "scheduled", "average_weights": True}
    job = a_job(
        exchange=codistillation.Exchange(**EVERY_TWO, **changes),
        distillation=codistillation.Distillation(targets="none"),
    )
    student = make_student(job)
    publish_peer(4, seed=5)
    ours = student.model.weights["embedding"].numpy()
    theirs = weights.initial(student.model.config, 12, 5)["embedding"]

    make_reload(job, student)(4)

    np.testing.assert_allclose(
        student.model.weights["embedding"].numpy(), (ours + theirs) / 2
    )
    assert teachers_of(student) == []


def test_offline_teachers_are_read_once_at_the_end_of_burn_in(
    a_job, make_student, publish_peer, make_reload
):
    path = str(publish_peer(2).path)
    job = a_job(
        distillation=codistillation.Distillation(
            targets="offline", offline_exports=(path,)
        )
    )
    student = make_student(job)
    reload = make_reload(job, student)

    seen = []
    for step in range(4):
        reload(step)
        seen.append(teachers_of(student))

    assert seen == [[], [], [(0, 2)], [(0, 2)]]


def test_teachers_of_a_key_are_read_with_that_key_only(
    a_job, make_student, publish_peer, make_reload
):
    job = dataclasses.replace(a_job(), key=b"0123456789abcdef")
    student = make_student(job)
    reload = make_reload(job, student)
    publish_peer(2)  # Not signed.

    look(reload, 2)

    assert teachers_of(student) == []
    assert reload.refusals == {"signature": 1}
    assert np.isfinite(student.model.weights["embedding"].numpy()).all()
