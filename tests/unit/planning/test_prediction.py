"""Four ways to use the devices, compared."""

import dataclasses

import pytest

from lmcodistill import errors
from lmcodistill.planning import prediction, step_time
from lmcodistill.settings import planning, training


def test_the_same_devices_make_four_shapes(run):
    found = [
        (s.students, s.workers, s.global_batch_size) for s in prediction.shapes(run)
    ]

    assert found == [(1, 4, 8), (1, 8, 8), (1, 8, 16), (2, 4, 8)]
    assert prediction.streams_of(run) == [1, 2]


def test_a_shape_whose_streams_cannot_be_shared_out_is_left_out(run):
    batches = training.Batches(global_batch_size=12, window=4)

    found = prediction.shapes(dataclasses.replace(run, batches=batches))

    assert [s.workers for s in found] == [4, 8, 4]


def test_a_run_whose_own_streams_cannot_be_shared_out_is_refused(run):
    with pytest.raises(errors.UsageError, match="= 8 cannot be shared by .*=3"):
        prediction.shapes(dataclasses.replace(run, workers=3))


def test_one_group_takes_its_steps_times_its_step(run, site, machine, network):
    one, twice, *_ = prediction.plan(run, site).predictions

    step = step_time.parts(prediction.work(run, 2, 0), machine, network, 4)
    assert one.step == step
    assert one.wall_seconds == pytest.approx(100 * step.total)
    assert one.device_seconds == pytest.approx(400 * step.total)
    assert one.tokens == 100 * 8 * 4
    # Half the streams each: half the elements, the same update.
    assert twice.step.elements == pytest.approx(step.elements / 2)
    assert twice.step.optimizer == step.optimizer


def test_teachers_and_their_cost_begin_after_burn_in(run, site):
    found = prediction.plan(run, site).predictions[-1]

    assert found.burn_in_step.teachers == 0.0
    assert found.step.teachers > 0.0
    assert found.wall_seconds == pytest.approx(
        20 * found.burn_in_step.total + 80 * found.step.total
    )
    assert found.device_seconds == pytest.approx(8 * found.wall_seconds)
    assert found.tokens_per_second == pytest.approx(2 * 100 * 32 / found.wall_seconds)


def test_exports_cost_a_step_their_copies_and_their_ring(run, site):
    found = prediction.plan(run, site).predictions[-1]

    # A copy takes 2 s and the ring 7.5 s; published every 10, reloaded every 5 steps.
    assert found.burn_in_step.exchange == pytest.approx(2.0 / 10)
    assert found.step.exchange == pytest.approx(2.0 / 10 + 9.5 / 5)


def test_tokens_instead_of_steps_halve_the_steps_of_twice_the_batch(run, site):
    plan = prediction.plan(dataclasses.replace(run, tokens=1_000), site)

    assert [p.steps for p in plan.predictions] == [32, 32, 16, 32]


def test_break_even_is_the_ratio_of_the_steps(run, site):
    plan = prediction.plan(run, site)

    one, many = plan.predictions[0].step.total, plan.predictions[-1].step.total
    assert plan.break_even == pytest.approx((one / many, one / many / 2))


def test_each_worker_has_the_figures_of_its_streams(run, site, machine):
    slow = dataclasses.replace(machine, matrix_rate=1.0)
    site = dataclasses.replace(site, machines={2: machine, 1: slow})

    one, twice, *_ = prediction.plan(run, site).predictions

    assert one.step.products == pytest.approx(2.448)
    assert twice.step.products > 1_000.0


def test_four_students_read_three_exports_or_one(run, site, machine):
    run = dataclasses.replace(run, students=4, batches=training.Batches(16, 4))
    machines = dict.fromkeys(prediction.streams_of(run), machine)
    site = dataclasses.replace(site, machines=machines)

    found = prediction.plan(run, site).exchanges

    assert {t: x.traffic.read_bytes for t, x in found.items()} == {
        "all": 3 * 456,
        "ring": 456,
        "rotate": 456,
    }


def test_storage_does_not_stop_a_freshest_exchange(run, site):
    slow = dataclasses.replace(site, storage=planning.Storage(1e-3, 0.0))

    assert (
        prediction.plan(run, slow).predictions == prediction.plan(run, site).predictions
    )
