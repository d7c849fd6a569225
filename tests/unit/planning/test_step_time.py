"""The parts of a step, against sums made by hand; sizes are in conftest.py."""

import dataclasses

import pytest

from lmcodistill.planning import step_time
from lmcodistill.settings import planning, training


def test_a_step_is_the_sum_of_its_parts(work, machine, network):
    parts = step_time.parts(work, machine, network, workers=4)

    # Forward: 2 * 8 * 2 * 12 and 2 * 8 * 3 * 5 operations at once, 2 * 2 * 3 * 12 in
    # each of 4 sequential products. Backward: twice as many, but the gradient of the
    # recurrent weights is one large product.
    assert parts.products == pytest.approx((3 * (384 + 240) + 576) / 1_000)
    assert parts.recurrence == pytest.approx((576 + 576) / 100 + 8 * 0.5)
    # 8 x 5 logits; 8 x 12 gates, forth and back.
    assert parts.elements == pytest.approx((40 + 2 * 96) / 10)
    # 456 bytes, 8 times: norm; weights, gradient, two slots; weights, two slots.
    assert parts.optimizer == pytest.approx(8.0)
    assert parts.all_reduce == pytest.approx(2 * 3 / 4 * 456 / 114 + 6 * 0.25)
    assert (parts.teachers, parts.exchange, parts.overhead) == (0.0, 0.0, 7.0)
    assert parts.total == pytest.approx(2.448 + 15.52 + 23.2 + 8.0 + 7.5 + 7.0)
    assert parts.bound_by == "elements"


def test_a_teacher_reads_and_nothing_else_at_its_own_speed(work, machine, network):
    two = step_time.parts(work._replace(teachers=2), machine, network, workers=1)

    # Products twice as fast, launches not: each teacher reads 8 x 5 logits and
    # 8 x 12 gates; the soft loss passes once over the student's logits.
    one = (384 + 240) / 2_000 + 576 / 200 + 4 * 0.5 + (40 + 96) / 10
    assert two.teachers == pytest.approx(2 * one + 40 / 10)


def test_a_worker_alone_adds_up_nothing(network):
    assert step_time.ring_all_reduce(1_000, 1, network) == 0.0


def test_a_ring_sends_almost_twice_the_bytes_whatever_its_size():
    network = planning.Network(bandwidth=1.0, latency_seconds=0.0)

    seconds = [step_time.ring_all_reduce(100, n, network) for n in (2, 4, 100)]

    assert seconds == pytest.approx([100.0, 150.0, 198.0])


def test_gradients_that_travel_narrow_take_half_as_long(work, machine):
    network = planning.Network(bandwidth=1.0, latency_seconds=0.0)
    narrow = work._replace(optimizer=training.Optimizer(all_reduce_dtype="bfloat16"))

    ours, theirs = (
        step_time.parts(w, machine, network, workers=2).all_reduce
        for w in (work, narrow)
    )

    assert theirs == ours / 2


def test_unknown_rates_follow_from_the_known_ones(work, machine, network):
    plain = dataclasses.replace(machine, recurrent_rate=0.0, element_rate=0.0)

    parts = step_time.parts(work, plain, network, workers=1)

    assert parts.recurrence == pytest.approx(1_152 / 1_000 + 8 * 0.5)
    assert parts.elements == pytest.approx(232 * 48 / 456)


@pytest.mark.parametrize(
    "optimizer, passes",
    [
        (training.Optimizer(name="sgd"), 1 + 2 + 1),
        (training.Optimizer(name="sgd", momentum=0.9), 1 + 3 + 2),
        (training.Optimizer(name="adagrad"), 1 + 3 + 2),
        (training.Optimizer(name="adamw"), 1 + 4 + 3),
    ],
)
def test_the_update_moves_weights_gradient_and_slots(
    work, machine, network, optimizer, passes
):
    parts = step_time.parts(work._replace(optimizer=optimizer), machine, network, 1)

    assert parts.optimizer == pytest.approx(passes)


def test_a_mean_of_the_weights_is_read_and_written_too(work, machine, network):
    parts = step_time.parts(work._replace(is_averaged=True), machine, network, 1)

    assert parts.optimizer == pytest.approx(8 + 2)
