"""Learning rate and distillation weight at chosen steps, by hand."""

import pytest

from lmcodistill.settings import codistillation, schedules


def rates(settings, steps):
    return [pytest.approx(settings.at(step)) for step in steps]


def test_constant_rate_is_the_base():
    assert rates(schedules.LearningRate(base=0.5), (0, 10)) == [0.5, 0.5]


def test_warmup_grows_linearly_and_reaches_the_base_at_its_last_step():
    settings = schedules.LearningRate(base=1.0, warmup_steps=4)

    assert rates(settings, range(6)) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_step_schedule_jumps_first_at_its_start():
    settings = schedules.LearningRate(
        base=8.0, schedule="step", decay_start_step=3, decay_every_steps=2
    )

    assert rates(settings, range(8)) == [8.0, 8.0, 8.0, 4.0, 4.0, 2.0, 2.0, 1.0]


def test_exponential_schedule_is_continuous():
    settings = schedules.LearningRate(
        base=4.0,
        schedule="exponential",
        decay_start_step=2,
        decay_every_steps=2,
        decay_factor=0.25,
    )

    assert rates(settings, range(5)) == [4.0, 4.0, 4.0, 2.0, 1.0]


def test_cosine_ends_at_the_final_rate_and_stays():
    settings = schedules.LearningRate(
        base=3.0, schedule="cosine", decay_start_step=2, decay_end_step=6, final=1.0
    )

    # Half the way down lies half way between: 2.0.
    assert rates(settings, (0, 2, 4, 6, 99)) == [3.0, 3.0, 2.0, 1.0, 1.0]


def test_decay_never_goes_below_the_final_rate():
    settings = schedules.LearningRate(base=8.0, schedule="step", final=3.0)

    assert settings.at(50) == 3.0


def test_weight_is_zero_in_burn_in_then_whole():
    settings = schedules.DistillationWeight(burn_in_steps=2, weight=1.5)

    assert [settings.at(step) for step in range(4)] == [0.0, 0.0, 1.5, 1.5]


def test_weight_ramps_from_zero_after_burn_in():
    settings = schedules.DistillationWeight(burn_in_steps=1, weight=2.0, ramp_steps=4)

    assert [settings.at(step) for step in range(7)] == [
        0.0,
        0.0,
        0.5,
        1.0,
        1.5,
        2.0,
        2.0,
    ]


def test_weight_falls_linearly_from_the_end_of_burn_in_and_stays_at_its_final_value():
    settings = schedules.DistillationWeight(
        burn_in_steps=2, weight=2.0, schedule="linear", fall_end_step=6, final=1.0
    )

    assert [settings.at(step) for step in range(8)] == [
        *(0.0, 0.0),
        *(2.0, 1.75, 1.5, 1.25, 1.0, 1.0),
    ]


def test_weight_falls_along_half_a_cosine_from_its_own_start():
    settings = schedules.DistillationWeight(
        weight=2.0, schedule="cosine", fall_start_step=4, fall_end_step=8
    )

    # A quarter of the way: 2 * (1 + cos 45 degrees) / 2.
    values = [settings.at(step) for step in (0, 4, 5, 6, 8, 9)]
    assert values == pytest.approx([2.0, 2.0, 1 + 0.5**0.5, 1.0, 0.0, 0.0])


def test_weight_that_rises_stays_and_falls_is_a_trapezoid():
    settings = schedules.DistillationWeight(
        burn_in_steps=1,
        weight=2.0,
        ramp_steps=2,
        schedule="linear",
        fall_start_step=4,
        fall_end_step=8,
    )

    assert [settings.at(step) for step in range(10)] == [
        *(0.0, 0.0, 1.0, 2.0, 2.0),
        *(1.5, 1.0, 0.5, 0.0, 0.0),
    ]


def test_temperature_moves_from_the_end_of_burn_in_and_stays():
    cooling = codistillation.Distillation(
        temperature=4.0, final_temperature=1.0, temperature_end_step=5
    )
    constant = codistillation.Distillation(temperature=4.0)

    temperatures = [cooling.temperature_at(step, 2) for step in range(8)]
    assert temperatures == [4.0, 4.0, 4.0, 3.0, 2.0, 1.0, 1.0, 1.0]
    assert {constant.temperature_at(step, 2) for step in range(8)} == {4.0}
