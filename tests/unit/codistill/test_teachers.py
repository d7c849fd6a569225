"""Slots: adopted, kept, swapped in place; what becomes of their state."""

import contextlib
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill.codistill import teachers


@pytest.fixture
def make_pool():
    def make(carry_state=True, **more):
        return teachers.TeacherPool(
            carry_state=carry_state,
            new_state=lambda model, step: model.initial_state(2),
            scope=contextlib.nullcontext,
            **more,
        )

    return make


@pytest.fixture
def pool(make_pool):
    return make_pool()


def live(teacher, value):
    """Gives a teacher a state as if it had read something."""
    teacher.state = tf.nest.map_structure(
        lambda x: tf.fill(x.shape, value), teacher.state
    )


def state_of(teacher):
    """Returns the one value that all of a teacher's state has."""
    values = {float(v) for x in tf.nest.flatten(teacher.state) for v in np.ravel(x)}
    assert len(values) == 1
    return values.pop()


def test_first_export_makes_a_teacher_with_zero_state(pool, make_export):
    export = make_export(student=1, step=50)

    pool.swap([export], step=60)

    (teacher,) = pool.active
    assert (teacher.peer, teacher.step, state_of(teacher)) == (1, 50, 0.0)
    np.testing.assert_array_equal(
        teacher.model.weights["embedding"], export.weights["embedding"]
    )


def test_swap_assigns_the_weights_in_place(pool, make_export):
    pool.swap([make_export(student=1, step=50, seed=0)], step=60)
    (before,) = pool.active
    variables = dict(before.model.weights)
    newer = make_export(student=1, step=100, seed=1)

    pool.swap([newer], step=110)

    (after,) = pool.active
    assert after is before
    assert after.step == 100
    for name, variable in after.model.weights.items():
        assert variable is variables[name]
        np.testing.assert_array_equal(variable, newer.weights[name])


def test_kept_teacher_stays_as_it_is(pool, make_export):
    pool.swap([make_export(student=1, step=50)], step=60)
    (teacher,) = pool.active
    live(teacher, 3.0)

    pool.swap([teacher], step=110)

    assert pool.active == [teacher]
    assert (teacher.step, state_of(teacher)) == (50, 3.0)


def test_state_is_carried_for_the_same_peer(pool, make_export):
    pool.swap([make_export(student=1, step=50)], step=60)
    live(pool.active[0], 3.0)

    pool.swap([make_export(student=1, step=100, seed=1)], step=110)

    assert state_of(pool.active[0]) == 3.0


def test_state_is_made_anew_where_none_is_carried(make_pool, make_export):
    pool = make_pool(carry_state=False)
    pool.swap([make_export(student=1, step=50)], step=60)
    live(pool.active[0], 3.0)

    pool.swap([make_export(student=1, step=100, seed=1)], step=110)

    assert state_of(pool.active[0]) == 0.0


def test_another_peer_takes_the_slot_with_zero_state(pool, make_export):
    pool.swap([make_export(student=1, step=50)], step=60)
    (slot,) = pool.active
    live(slot, 3.0)

    pool.swap([make_export(student=2, step=50, seed=1)], step=110)

    assert pool.active == [slot]
    assert (slot.peer, state_of(slot)) == (2, 0.0)


def test_peer_keeps_its_state_when_a_new_peer_comes_before_it(pool, make_export):
    # Students 2 and 3 taught alone until student 1 published for the first time.
    pool.swap([make_export(student=s, step=50, seed=s) for s in (2, 3)], step=60)
    live(pool.active[0], 2.0)
    live(pool.active[1], 3.0)
    second, third = pool.active

    pool.swap([make_export(student=s, step=100, seed=s) for s in (1, 2, 3)], step=110)

    assert pool.active[1:] == [second, third]
    assert [(t.peer, state_of(t)) for t in pool.active] == [(1, 0.0), (2, 2), (3, 3)]


def test_order_of_the_updates_is_the_order_of_the_teachers(pool, make_export):
    pool.swap([make_export(student=s, step=50) for s in (1, 2)], step=60)
    first, second = pool.active
    live(first, 1.0)
    live(second, 2.0)

    pool.swap([make_export(student=2, step=100), first], step=110)

    assert pool.active == [second, first]
    assert [state_of(t) for t in pool.active] == [2.0, 1.0]


def test_rotation_needs_one_slot_only(pool, make_export):
    seen = set()

    for step, student in enumerate([1, 2, 3, 1, 2, 3], start=1):
        pool.swap([make_export(student=student, step=step, seed=step)], step=step)
        seen.add(id(pool.active[0].model))

    assert len(seen) == 1


def test_model_of_another_size_gets_a_slot_of_its_own(pool, make_export, config):
    larger = dataclasses.replace(config, hidden_size=6)
    pool.swap([make_export(student=1, step=50)], step=60)
    (small,) = pool.active

    pool.swap([make_export(student=1, step=100, config=larger)], step=110)
    (large,) = pool.active
    pool.swap([make_export(student=1, step=150)], step=160)

    assert large.model.config == larger
    assert pool.active == [small]


def test_no_updates_leave_no_teacher(pool, make_export):
    pool.swap([make_export(student=1, step=50)], step=60)

    pool.swap([], step=110)

    assert pool.active == []
    assert pool.of_peer(1) is None


def test_teacher_is_found_by_its_peer(pool, make_export):
    pool.swap([make_export(student=s, step=50) for s in (1, 2)], step=60)

    assert pool.of_peer(2) is pool.active[1]
    assert pool.of_peer(3) is None


def test_teachers_multiply_in_one_type_whatever_their_peers_train_with(
    make_pool, make_export, config
):
    def in_bfloat16(config):
        return dataclasses.replace(config, compute_dtype="bfloat16")

    pool = make_pool(adapt=in_bfloat16)
    exports = [
        make_export(student=1, step=50, config=config),
        make_export(student=1, step=100, config=in_bfloat16(config), seed=1),
    ]

    seen = []
    for export in exports:
        pool.swap([export], step=export.step)
        (teacher,) = pool.active
        seen.append((teacher.model, teacher.model.compute_dtype, teacher.config))

    # One slot for both, and a checkpoint that knows what each peer trains.
    assert seen[0][0] is seen[1][0]
    assert [dtype for _, dtype, _ in seen] == [tf.bfloat16, tf.bfloat16]
    assert [peers for _, _, peers in seen] == [config, in_bfloat16(config)]


def weights_of(export):
    return teachers.PeerWeights(
        student=export.student,
        step=export.step,
        generation=export.generation,
        config=export.config,
        vocab_size=export.vocab_size,
        weights=export.weights,
    )


def test_restored_teacher_is_what_was_saved(pool, make_export):
    export = make_export(student=2, step=50)

    pool.restore([weights_of(export)])

    (teacher,) = pool.active
    assert (teacher.peer, teacher.step, teacher.generation) == (2, 50, 1)
    assert (teacher.config, teacher.state) == (export.config, None)
    np.testing.assert_array_equal(
        teacher.model.weights["embedding"], export.weights["embedding"]
    )


def test_restored_teacher_takes_the_slot_of_the_same_peer(pool, make_export):
    exports = [make_export(student=peer, step=50, seed=peer) for peer in (1, 2)]
    pool.swap(exports, step=60)
    before = {teacher.peer: teacher.model for teacher in pool.active}

    pool.restore([weights_of(export) for export in reversed(exports)])

    assert [teacher.peer for teacher in pool.active] == [2, 1]
    assert {teacher.peer: teacher.model for teacher in pool.active} == before
