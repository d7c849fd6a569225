"""A model and machines of round numbers, so that all can be computed by hand."""

import pytest

from lmcodistill.planning import prediction, step_time
from lmcodistill.settings import codistillation, model, planning, schedules, training

# 8 positions, 456 bytes of weights:
#   embedding 5 x 2, input 2 x 12, recurrent 3 x 12, shift 12, gain 12,
#   projection 5 x 3 and 5: 114 weights of 4 bytes.
MODEL = model.LanguageModel(vocab_size=5, embedding_size=2, num_layers=1, hidden_size=3)
LANES, WINDOW = 2, 4


@pytest.fixture
def machine() -> planning.Machine:
    return planning.Machine(
        matrix_rate=1_000.0,
        recurrent_rate=100.0,
        recurrent_step_seconds=0.5,
        element_rate=10.0,
        memory_bandwidth=456.0,
        step_overhead_seconds=7.0,
        teacher_speedup=2.0,
    )


@pytest.fixture
def network() -> planning.Network:
    return planning.Network(bandwidth=114.0, latency_seconds=0.25)


@pytest.fixture
def storage() -> planning.Storage:
    return planning.Storage(bandwidth=45.6, latency_seconds=1.0)


@pytest.fixture
def work() -> step_time.Work:
    return step_time.Work(MODEL, training.Optimizer(), 5, LANES, WINDOW)


@pytest.fixture
def run() -> prediction.Run:
    return prediction.Run(
        model=MODEL,
        batches=training.Batches(global_batch_size=8, window=WINDOW),
        optimizer=training.Optimizer(),
        exchange=codistillation.Exchange(publish_every_steps=10, reload_every_steps=5),
        weight=schedules.DistillationWeight(burn_in_steps=20),
        students=2,
        workers=4,
        steps=100,
    )


@pytest.fixture
def site(run, machine, network, storage) -> prediction.Site:
    machines = dict.fromkeys(prediction.streams_of(run), machine)
    return prediction.Site(machines, network, storage)
