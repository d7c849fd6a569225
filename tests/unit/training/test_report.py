"""What is reported of updates, and what happens where it cannot be written."""

import datetime
import json
import time

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill.training import metrics, step
from lmcodistill.training.hooks import report
from lmcodistill.training.hooks.every import Every


def totals(label_loss, skipped=0.0, **more):
    given = dict.fromkeys(step.Totals._fields, 0.0)
    given |= {"label_loss": label_loss, "skipped": skipped, **more}
    return step.Totals(**{name: tf.constant(x) for name, x in given.items()})


@pytest.fixture
def reports_of(a_job, make_student, tmp_path):
    """Returns what is written of updates with these totals, from the first on."""

    def write(*given):
        path = tmp_path / "metrics.jsonl"
        job = a_job()  # 10 tokens a step.
        writer = metrics.MetricsWriter(path, tmp_path / "events", 0)
        write = report.Report(
            make_student(job),
            writer,
            Every(2, 10),
            0,
            tokens_per_step=10,
            exchange=lambda: {"refused_exports": {"digest": 1}},
        )
        for reached, one in enumerate(given, start=1):
            write(reached, one)
        writer.close()
        return [json.loads(line) for line in path.read_text().splitlines()]

    return write


def test_report_has_the_means_since_the_last_one(reports_of):
    reports = reports_of(*(totals(loss) for loss in (10.0, 30.0, 50.0, 70.0)))

    assert [(r["step"], r["tokens"]) for r in reports] == [(2, 20), (4, 40)]
    assert [r["cross_entropy"] for r in reports] == pytest.approx([2.0, 6.0])
    assert [r["perplexity"] for r in reports] == pytest.approx([7.389, 403.429], 1e-4)
    assert [r["distillation_weight"] for r in reports] == [0.0, 0.0]
    now = datetime.datetime.now(datetime.UTC)
    times = [datetime.datetime.fromisoformat(r["time"]) for r in reports]
    assert all(abs(now - moment).total_seconds() < 60.0 for moment in times)
    assert reports[0]["refused_exports"] == {"digest": 1}


def test_staleness_of_gradients_is_reported(reports_of):
    first, second = reports_of(
        *(totals(1.0, staleness=x) for x in (0.0, 3.0)), *[totals(1.0)] * 2
    )

    names = ("gradient_staleness", "gradient_staleness_max")
    assert [first[n] for n in names] == [1.5, 3.0]
    assert [second[n] for n in names] == [0.0, 0.0]


def test_skipped_updates_are_counted_and_not_averaged(reports_of):
    reports = reports_of(totals(10.0), totals(np.nan, 1.0), *[totals(np.nan, 1.0)] * 2)

    assert [r["skipped_updates"] for r in reports] == [1, 2]
    assert [r["cross_entropy"] for r in reports] == [pytest.approx(1.0), None]
    assert [r["perplexity"] for r in reports] == [pytest.approx(np.e), None]


def test_what_teachers_say_is_averaged_over_the_updates_that_had_some(reports_of):
    taught = {"taught": 1.0, "soft_loss": 20.0, "agreement": 5.0, "open": 4.0}
    spoilt = {"taught": 1.0, "soft_loss": np.nan}

    first, second, third = reports_of(
        totals(10.0),
        totals(10.0, **taught, teacher_label_loss=30.0),
        *(totals(10.0), totals(10.0)),
        *(totals(np.nan, 1.0, **spoilt), totals(10.0, **taught)),
    )

    names = ("distillation_loss", "teacher_cross_entropy", "agreement", "open_share")
    assert [first[n] for n in names] == pytest.approx([2.0, 3.0, 0.5, 0.4])
    assert [second[n] for n in names] == [None] * 4
    assert third["distillation_loss"] == pytest.approx(2.0)
    assert [r["taught_updates"] for r in (first, second, third)] == [1, 0, 1]


def test_time_of_training_is_without_validation_and_tracing(
    a_job, make_student, tmp_path
):
    job, path = a_job(), tmp_path / "metrics.jsonl"
    student = make_student(job)
    writer = metrics.MetricsWriter(path, tmp_path / "events", 0)
    began = time.monotonic()
    write = report.Report(
        *(student, writer, Every(2, 10), 0),
        tokens_per_step=10,
        exchange=dict,
    )

    for number in range(4):
        write(number + 1, student.update(number)[0])
        if number == 1:
            time.sleep(0.2)  # Stands for an evaluation.
            write.note_validation(0.2)
    clock = time.monotonic() - began
    writer.close()

    first, second = map(json.loads, path.read_text().splitlines())
    names = ("seconds", "validation_seconds", "tracing_seconds")
    assert (first["validation_seconds"], second["validation_seconds"]) == (0.0, 0.2)
    assert first["tracing_seconds"] == pytest.approx(student.tracing_seconds, abs=1e-3)
    assert second["tracing_seconds"] == 0.0
    # An update of 24 weights takes no tenth of what tracing it does.
    assert first["seconds"] < first["tracing_seconds"]
    assert second["seconds"] < 0.2
    total = sum(r[n] for r in (first, second) for n in names)
    assert total == pytest.approx(clock, abs=0.05)
    assert second["tokens_per_second"] == pytest.approx(20 / second["seconds"], rel=0.1)


def test_gradients_of_the_restored_step_are_measured_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"kind": kind, "step": step}
        for step in (2, 4, 6)
        for kind in ("gradients", "train", "validation")
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    metrics.MetricsWriter(path, tmp_path / "events", 4).close()

    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert kept == [*lines[:3], *lines[4:6]]


def test_full_disk_delays_metrics_and_loses_none(tmp_path):
    path = tmp_path / "metrics.jsonl"
    writer = metrics.MetricsWriter(path, tmp_path / "events", 0)
    file = writer._file
    writer._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115

    writer.write("train", 1, {"x": 1.0})
    writer._file.close()
    writer._file = file
    writer.write("train", 2, {"x": 2.0})
    writer.close()

    reports = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["step"], r["x"]) for r in reports] == [(1, 1.0), (2, 2.0)]


def values_of(events):
    """Returns the tensors of an events folder by name."""
    return {name: value.tensor for name, value in summaries_of(events).items()}


def summaries_of(events):
    [file] = events.iterdir()
    return {
        value.tag: value
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    }


def test_events_are_what_tensorboard_itself_writes(tmp_path):
    writer = metrics.MetricsWriter(tmp_path / "m", tmp_path / "ours", 0, "SEED = 1")
    writer.write("train", 4, {"loss": 7.5})
    writer.close()
    with tf.summary.create_file_writer(str(tmp_path / "theirs")).as_default(4):
        tf.summary.text("configuration", "    SEED = 1\n")
        tf.summary.scalar("train/loss", 7.5)

    assert summaries_of(tmp_path / "ours") == summaries_of(tmp_path / "theirs")


def test_events_have_the_configuration_as_text_and_perplexity_as_a_curve(tmp_path):
    events = tmp_path / "events"
    text = "SEED = 1\n# <b>\n"

    writer = metrics.MetricsWriter(tmp_path / "metrics.jsonl", events, 0, text)
    writer.write("validation", 4, {"perplexity": 7.5, "bits_per_byte": None})
    writer.close()

    values = values_of(events)
    shown = tf.make_ndarray(values["configuration"]).item()
    assert shown.decode() == "    SEED = 1\n    # <b>\n"
    assert float(tf.make_ndarray(values["validation/perplexity"])) == 7.5
    assert "validation/bits_per_byte" not in values
