"""What an evaluation reports, with and without teachers."""

import dataclasses
import json
import math

import pytest

from lmcodistill.data import windows
from lmcodistill.inference import evaluation
from lmcodistill.settings import training
from lmcodistill.training import job as job_lib
from lmcodistill.training import metrics
from lmcodistill.training.hooks import evaluate
from tests.unit.training import test_student


@pytest.fixture
def evaluated(a_job, make_student, group, tmp_path):
    """Returns a student with a teacher, and what is reported of both at steps."""
    job = a_job(
        training=training.Training(
            num_train_steps=10, evaluate_every_steps=2, evaluate_teachers=True
        )
    )
    student = make_student(job)
    path = tmp_path / "metrics.jsonl"
    writer = metrics.MetricsWriter(path, tmp_path / "events", 0)
    evaluations = evaluate.Evaluate(
        *(job, job_lib.open_inputs(job), student, group),
        on_window=lambda index: None,
        on_score=lambda step, score: score.write(step, writer),
    )

    def reports_at(*steps):
        for step in steps:
            evaluations(step)
        return [json.loads(line) for line in path.read_text().splitlines()]

    yield student, reports_at
    writer.close()


def mean_of(student, models):
    """Returns the cross entropy of some models' mean on the held-out text."""
    job = student._job
    data = job_lib.open_inputs(job).data
    held_out = windows.EvaluationWindows(
        data.tokens_of(data.held_out_split("validation")),
        streams=job.training.evaluation_lanes,
        window=job.batches.window,
        end_id=data.manifest.end_id,
        reset_at_documents=True,
    )
    evaluator = evaluation.Evaluator(models)
    [nats], tokens = evaluator.totals(held_out, 0, held_out.streams)
    return nats / tokens


def test_teachers_and_the_ensemble_are_scored_on_the_students_tokens(evaluated):
    student, reports_at = evaluated
    exports = [
        dataclasses.replace(test_student.an_export(student._job, seed=k), student=k)
        for k in (1, 2)
    ]
    student.teachers.swap(exports, step=2)
    models = [t.model for t in student.teachers.active]
    before = test_student.bits_of(student)

    [report] = reports_at(1, 2)

    assert report["cross_entropy"] == mean_of(student, [student.model])
    all_together = mean_of(student, [student.model, *models])
    assert report["ensemble_cross_entropy"] == pytest.approx(all_together, rel=1e-12)
    assert [
        (t["peer"], t["step"], t["staleness_steps"]) for t in report["teachers"]
    ] == [(1, 0, 2), (2, 0, 2)]
    for model, found in zip(models, report["teachers"], strict=True):
        alone = mean_of(student, [model])
        assert found["cross_entropy"] == pytest.approx(alone, rel=1e-12)
        assert 0.0 < found["absolute"] < found["total_variation"] < 1.0
        assert 0.0 <= found["flip"] <= 1.0
    assert test_student.bits_of(student) == before


def test_without_a_teacher_an_evaluation_is_as_ever(evaluated):
    _, reports_at = evaluated

    [report] = reports_at(4)

    assert report.keys() == {
        *("schema", "kind", "step", "time", "cross_entropy", "tokens", "seconds"),
        *("bytes", "perplexity", "bits_per_byte"),
    }


@pytest.mark.parametrize(
    ("tokens", "bytes_", "bits"), [(40, 160, 0.75), (39, None, None)]
)
def test_bits_per_byte_are_of_the_whole_text_or_unknown(tokens, bytes_, bits):
    # 40 tokens of 3 ln 2 nats are 120 bits.
    score = evaluate.Score(3.0 * math.log(2.0), tokens, bytes_, 1.0)

    assert score.bits_per_byte == pytest.approx(bits)


def test_part_of_the_held_out_text_has_no_bytes(a_job, make_student, group):
    found = []
    for count in (0, 39):  # Of 40; 0: all.
        job = a_job(
            training=training.Training(
                num_train_steps=10, evaluate_every_steps=2, evaluation_tokens=count
            )
        )
        evaluate.Evaluate(
            *(job, job_lib.open_inputs(job), make_student(job), group),
            on_window=lambda index: None,
            on_score=lambda step, score: found.append(score),
        )(2)

    whole, part = found
    split = job_lib.open_inputs(job).data.held_out_split("validation")
    assert (whole.tokens, whole.bytes) == (40, split.bytes)
    assert (part.tokens, part.bytes) == (39, None)
