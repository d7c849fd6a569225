"""What settings let people choose is what there is."""

import dataclasses

import pytest

from lmcodistill.model import losses, optimizers
from lmcodistill.settings import codistillation, schedules, training


def test_every_optimizer_that_can_be_chosen_has_a_rule():
    assert set(training.OPTIMIZERS) == optimizers.RULES.keys()


def test_name_without_a_rule_is_refused():
    config = training.Optimizer()
    object.__setattr__(config, "name", "adamm")

    with pytest.raises(KeyError, match="adamm"):
        optimizers.rule(config)


@pytest.mark.parametrize("name", training.OPTIMIZERS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_number_of_slots_is_that_of_the_rule(name, momentum):
    momentum = momentum if name == "sgd" else 0.0
    config = training.Optimizer(name=name, momentum=momentum)

    assert config.num_slots == len(optimizers.rule(config).slots)


def test_every_psi_that_can_be_chosen_is_there():
    assert set(codistillation.LOSSES) == losses.SOFT_LOSSES.keys()


def test_every_gate_that_can_be_chosen_is_there():
    assert set(codistillation.GATES) == {"none", *losses.GATES}


@pytest.mark.parametrize("name", schedules.DECAYS)
def test_every_schedule_gives_a_rate_at_every_step(name):
    rate = schedules.LearningRate(
        base=0.5, schedule=name, warmup_steps=2, decay_start_step=3, decay_end_step=9
    )

    assert rate.at(2) == 0.5
    assert all(0.0 <= rate.at(step) <= 0.5 for step in range(20))
    assert dataclasses.replace(rate, final=0.1).at(100) >= 0.1
