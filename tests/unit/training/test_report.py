"""What is reported of updates, and what happens where it cannot be written."""

import json

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill.training import metrics, step
from lmcodistill.training.hooks import report
from lmcodistill.training.hooks.every import Every


def totals(label_loss, skipped=0.0):
    given = {name: tf.constant(0.0) for name in step.Totals._fields}
    given |= {"label_loss": tf.constant(label_loss), "skipped": tf.constant(skipped)}
    return step.Totals(**given)


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
    assert [r["distillation_weight"] for r in reports] == [0.0, 0.0]
    assert reports[0]["refused_exports"] == {"digest": 1}


def test_skipped_updates_are_counted_and_not_averaged(reports_of):
    reports = reports_of(totals(10.0), totals(np.nan, 1.0), *[totals(np.nan, 1.0)] * 2)

    assert [r["skipped_updates"] for r in reports] == [1, 2]
    assert [r["cross_entropy"] for r in reports] == [pytest.approx(1.0), None]


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
