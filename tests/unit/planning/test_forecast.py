"""What a run will take, by hand: round seconds, and a model of 156 weights."""

import dataclasses

import numpy as np
import pytest

from lmcodistill.planning import forecast
from lmcodistill.settings import codistillation, model, schedules, training
from lmcodistill.training import job as job_lib
from lmcodistill.training import trial as trial_lib
from tests.support import small_data

TRIAL = trial_lib.TrialUpdates(
    devices=["CPU: some"],
    streams=2,
    cross_entropy=2.5,
    step_seconds=2.0,
    taught_step_seconds=3.0,
    tracing_seconds=0.5,
    peak_memory_bytes=1_500_000_000,
)
# 12 pieces; embedding 12 x 2, input 2 x 12, recurrent 3 x 12, shift 12, gain 12,
# projection 12 x 3 and 12: 156 weights of 4 bytes.
EXPORT_BYTES = 624
# Of two streams of 45 tokens, the last of which has no token after it: 11 windows of 4.
TEXT_TOKENS, READING_STEPS = 90, 11


@pytest.fixture
def a_job(tmp_path):
    """One of three students, 10 updates, taught from the second on."""
    ids = np.full(TEXT_TOKENS, small_data.END)
    data = small_data.write(tmp_path / "data", [[ids]] * 3, [ids])
    return job_lib.Job(
        data_dir=data,
        run_dir=tmp_path / "run",
        shared_dir=tmp_path / "run",
        student=0,
        num_students=3,
        model=model.LanguageModel(embedding_size=2, num_layers=1, hidden_size=3),
        batches=training.Batches(global_batch_size=2, window=4),
        optimizer=training.Optimizer(),
        training=training.Training(num_train_steps=10),
        learning_rate=schedules.LearningRate(base=0.5),
        weight=schedules.DistillationWeight(burn_in_steps=1),
        distillation=codistillation.Distillation(),
        exchange=codistillation.Exchange(publish_every_steps=3, reload_every_steps=4),
        config_text="",
    )


def test_time_updates_and_bytes_are_as_by_hand(a_job):
    found = forecast.of(a_job, job_lib.open_inputs(a_job), TRIAL)

    assert found == forecast.Forecast(
        text_tokens=TEXT_TOKENS,
        readings=10 / READING_STEPS,
        taught_steps=9,
        # Looks at 1, 4 and 8 find the exports of no step, of step 3 and of step 6.
        teacher_updates=2,
        # After 3, 6, 9 and, because it is the last, 10 updates.
        publications=4,
        published_bytes=4 * EXPORT_BYTES,
        read_bytes=2 * 2 * EXPORT_BYTES,  # Of two peers.
        seconds=1 * 2.0 + 9 * 3.0,
    )


def test_student_without_soft_targets_reads_nothing(a_job):
    alone = codistillation.Distillation(targets="none")
    job = dataclasses.replace(a_job, distillation=alone)
    trial = TRIAL._replace(taught_step_seconds=None)

    found = forecast.of(job, job_lib.open_inputs(job), trial)

    assert (found.taught_steps, found.teacher_updates, found.read_bytes) == (0, 0, 0)
    assert found.seconds == 10 * 2.0


def test_students_that_average_read_all_others(a_job):
    exchange = codistillation.Exchange(
        mode="scheduled",
        average_weights=True,
        publish_every_steps=4,
        reload_every_steps=4,
    )
    alone = codistillation.Distillation(targets="none")
    job = dataclasses.replace(a_job, distillation=alone, exchange=exchange)
    trial = TRIAL._replace(taught_step_seconds=None)

    found = forecast.of(job, job_lib.open_inputs(job), trial)

    # At 4 and at 8, with the exports of these steps; the look at 1 finds none.
    assert (found.teacher_updates, found.read_bytes) == (2, 2 * 2 * EXPORT_BYTES)


def test_measured_weight_teaches_from_the_second_reading_on(a_job):
    weight = schedules.DistillationWeight(schedule="auto", auto_lanes=1)
    job = dataclasses.replace(a_job, weight=weight)
    longer = dataclasses.replace(
        job, training=training.Training(num_train_steps=READING_STEPS + 3)
    )

    found = forecast.of(longer, job_lib.open_inputs(a_job), TRIAL)

    assert found.taught_steps == 3


def test_text_that_is_read_once_draws_a_word_about_peers(a_job):
    found = forecast.of(a_job, job_lib.open_inputs(a_job), TRIAL)

    def text(job, readings):
        return forecast.rows(job, TRIAL, found._replace(readings=readings))["text"]

    alone = codistillation.Distillation(targets="none")
    assert text(a_job, 0.5).startswith(f"{TEXT_TOKENS} tokens, read 0.5 time(s); on")
    assert text(a_job, 1.5) == f"{TEXT_TOKENS} tokens, read 1.5 time(s)"
    assert "peer" not in text(dataclasses.replace(a_job, distillation=alone), 0.5)


def test_words_have_the_figures_and_what_they_rest_on(a_job):
    found = forecast.of(a_job, job_lib.open_inputs(a_job), TRIAL)

    rows = forecast.rows(a_job, TRIAL, found)

    assert rows["step"].startswith("2,000.0 ms, 3,000.0 ms with soft targets; each")
    assert rows["time"].startswith("0:29 for 10 updates, 9 with soft targets")
    assert rows["memory"] == "1.5 GB of one process at most, measured"
    assert "7.5 kB written and 7.5 kB read" in rows["exchange"]
