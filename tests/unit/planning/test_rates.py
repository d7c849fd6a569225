"""The figures that a plan is made from, measured on sizes that take no time."""

import dataclasses
import functools
import time

import pytest

from lmcodistill.planning import rates
from lmcodistill.settings import model, training


@pytest.fixture(scope="module")
def measured():
    """Measures quickly, each case once."""

    @functools.cache
    def measure(clock=time.perf_counter, **settings):
        config = model.LanguageModel(
            embedding_size=4, num_layers=1, hidden_size=8, **settings
        )
        return rates.measure(config, training.Optimizer(), 16, 2, 4, clock)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rates, "_SECONDS", 0.0)
        yield measure


@pytest.mark.parametrize("layer_norm", [True, False])
def test_every_figure_that_can_be_measured_here_is(measured, layer_norm):
    found = dataclasses.asdict(measured(layer_norm=layer_norm))

    assert found.pop("step_overhead_seconds") == 0.0  # Of the trainer, not of a part.
    assert min(found.values()) > 0.0


def test_figures_are_in_the_clocks_seconds(measured):
    def clock():
        return 2_000.0 * time.perf_counter()

    slow, fast = measured(clock), measured(layer_norm=True)

    assert slow.element_rate < fast.element_rate / 20
    assert slow.recurrent_step_seconds > 20 * fast.recurrent_step_seconds


def test_family_without_a_recurrence_has_no_figures_of_one(monkeypatch):
    monkeypatch.setattr(rates, "_SECONDS", 0.0)
    config = model.Transformer(
        width=8, num_layers=1, num_heads=2, feed_forward_width=8, memory=3
    )

    found = rates.measure(config, training.Optimizer(), 16, 2, 4)

    assert (found.recurrent_rate, found.recurrent_step_seconds) == (0.0, 0.0)
    assert min(found.matrix_rate, found.element_rate, found.memory_bandwidth) > 0.0
