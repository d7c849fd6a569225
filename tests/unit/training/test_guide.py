"""The guide: what is measured on it, how it goes on, and what it leaves alone."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.model import registry, weights
from lmcodistill.settings import codistillation, model, schedules, training
from lmcodistill.training import checkpoints
from lmcodistill.training import job as job_lib
from tests.support import peer_exports, small_data
from tests.unit.training import conftest

VOCAB_SIZE = small_data.VOCAB_SIZE
TEACHER = peer_exports.TEACHER
# Every step measures from the first on, and nothing of earlier ones is kept.
AUTO = schedules.DistillationWeight(
    schedule="auto",
    auto_after_readings=0,
    auto_every_steps=1,
    auto_memory=0.0,
    auto_lanes=3,
    weight=5.0,
)
STREAM, WINDOW = len(conftest.GUIDE) // 3, 5  # Of 13 tokens: two windows.


@pytest.fixture
def an_auto_job(a_job):
    def make(**changes):
        return a_job(**{"weight": AUTO, **changes})

    return make


# By this one's first weights a teacher is a little worse than the student of a job,
# and says something that the student does not know.
SEED = 1


def an_export(job, student=1, step=0, seed=SEED):
    return peer_exports.export_for(job, student=student, step=step, seed=seed)


def taught(student, job, **version):
    student.teachers.swap([an_export(job, **version)], step=0)
    return student


def spoil(student):
    """Makes a student very sure of what it does not know."""
    kernel = student.model.weights["projection/kernel"]
    kernel.assign(kernel * 1e3)


def bits_of(student):
    return {name: np.asarray(v).tobytes() for name, v in student.values().items()}


def probs_of(config, values, num_windows):
    """Returns [num_windows, 3, 5, V] predictions of the guide, read in one go."""
    reading = registry.build(config, VOCAB_SIZE, values)
    streams = conftest.GUIDE[: 3 * STREAM].reshape(3, STREAM)
    tokens = tf.constant(streams[:, : num_windows * WINDOW], tf.int32)
    is_start = (tokens.numpy() == small_data.END) | (np.arange(tokens.shape[1]) == 0)
    hidden, _ = reading(tokens, tf.constant(is_start), reading.initial_state(3))
    head = reading.output_head(hidden)
    logits = head.hidden @ tf.transpose(head.kernel) + head.bias
    probs = tf.nn.softmax(logits).numpy().reshape(num_windows, WINDOW, 3, VOCAB_SIZE)
    return probs.transpose(0, 2, 1, 3)


def labels_of(index):
    streams = conftest.GUIDE[: 3 * STREAM].reshape(3, STREAM)
    first = index * WINDOW + 1
    return np.eye(VOCAB_SIZE)[streams[:, first : first + WINDOW]]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_share_is_that_of_the_next_window_of_the_guide(
    dropout, an_auto_job, make_student
):
    config = model.LanguageModel(
        embedding_size=3,
        num_layers=1,
        hidden_size=4,
        compute_dtype="float64",
        dropout=dropout,
    )
    # A rate that moves no weight: the second window is read by the same models.
    job = an_auto_job(model=config, learning_rate=schedules.LearningRate(base=1e-30))
    student = taught(make_student(job), job)
    of_student = weights.initial(config, VOCAB_SIZE, job.training.seed)
    p = probs_of(config, of_student, 2)
    q = probs_of(TEACHER, an_export(job).weights, 2)

    for index in range(2):
        student.update(index)

        y, difference = labels_of(index), q[index] - p[index]
        share = ((y - p[index]) * difference).sum() / (difference**2).sum()
        reported = student.guide_report
        assert reported["auto_share"] == pytest.approx(share, rel=1e-6)
        expected = np.clip(share, 0.0, None) / (1.0 - share)
        assert student.distillation_weight == pytest.approx(expected, rel=1e-6)
        nats = [-np.log((y * x[index]).sum(-1)).mean() for x in (p, q)]
        assert reported["guide_cross_entropy"] == pytest.approx(nats[0], rel=1e-6)
        assert reported["guide_teacher_cross_entropy"] == pytest.approx(
            nats[1], rel=1e-6
        )


def test_peers_teach_from_the_second_reading_of_the_text_on(
    a_job, an_auto_job, make_student
):
    job = an_auto_job(weight=dataclasses.replace(AUTO, auto_after_readings=1))
    alone = a_job(distillation=codistillation.Distillation(targets="none"))
    student, plain = taught(make_student(job), job), make_student(alone)
    reading = job_lib.open_inputs(job).windows.windows_per_epoch

    for number in range(reading):
        student.update(number)
        plain.update(number)
        assert student.distillation_weight == 0.0
        assert student.guide_report["auto_share"] is None
    assert student.digest() == plain.digest()

    student.update(reading)
    assert student.guide_report["auto_share"] is not None


def test_burn_in_that_is_longer_than_a_reading_counts(an_auto_job):
    job = an_auto_job(weight=dataclasses.replace(AUTO, burn_in_steps=7))

    assert job.taught_from(windows_per_epoch=9) == 7
    once = dataclasses.replace(job.weight, auto_after_readings=1)
    assert an_auto_job(weight=once).taught_from(windows_per_epoch=9) == 9
    assert an_auto_job(weight=once).taught_from(windows_per_epoch=5) == 7


def test_offline_teachers_of_a_measured_weight_need_no_second_reading(an_auto_job):
    job = an_auto_job(
        weight=dataclasses.replace(AUTO, auto_after_readings=1),
        distillation=codistillation.Distillation(
            targets="offline", offline_exports=("EXPORTS",)
        ),
    )

    assert job.taught_from(windows_per_epoch=9) == 0


def test_guide_is_read_over_and_over(an_auto_job, make_student):
    job = an_auto_job(learning_rate=schedules.LearningRate(base=1e-30))
    student = taught(make_student(job), job)

    shares = []
    for number in range(4):  # Two windows, and then the same two.
        student.update(number)
        shares.append(student.guide_report["auto_share"])

    assert shares[2:] == pytest.approx(shares[:2], rel=1e-6)
    assert shares[0] != pytest.approx(shares[1], rel=1e-3)


def test_measuring_leaves_what_training_carries_alone(a_job, an_auto_job, make_student):
    # The constant weight is the limit, below what is measured.
    auto = an_auto_job(weight=dataclasses.replace(AUTO, weight=1e-3))
    constant = a_job(weight=schedules.DistillationWeight(weight=1e-3))
    measured, plain = (taught(make_student(job), job) for job in (auto, constant))

    for number in range(3):
        measured.update(number)
        plain.update(number)
        assert measured.distillation_weight == 1e-3

    expected = bits_of(plain)
    assert {n: x for n, x in bits_of(measured).items() if n in expected} == expected


def test_restored_student_measures_on_bit_for_bit(
    an_auto_job, make_student, owner, tmp_path
):
    weight = dataclasses.replace(AUTO, auto_memory=0.9, auto_every_steps=2)
    job = an_auto_job(weight=weight, optimizer=training.Optimizer(name="adam"))
    student = taught(make_student(job), job)
    for number in range(3):
        student.update(number)
    checkpoints.save(
        *(tmp_path, 3, student.values(), student.manifest(), job.training),
        owner=owner,
    )

    restored = make_student(job)
    restored.restore(*checkpoints.load(checkpoints.newest(tmp_path)), source="here")

    for number in range(3, 7):
        student.update(number)
        restored.update(number)
        assert restored.distillation_weight == student.distillation_weight > 0.0
        assert restored.guide_report == student.guide_report
        assert bits_of(restored) == bits_of(student)
        assert restored.manifest() == student.manifest()


@pytest.mark.parametrize("lanes", [3, 2])
def test_checkpoint_of_no_guide_or_of_another_reading_begins_the_guide_anew(
    lanes, a_job, an_auto_job, make_student
):
    job = an_auto_job()
    fresh = taught(make_student(job), job)
    other = {3: a_job(weight=schedules.DistillationWeight(weight=0.0))}.get(
        lanes, an_auto_job(weight=dataclasses.replace(AUTO, auto_lanes=2))
    )
    earlier = taught(make_student(other), other)
    earlier.update(0)
    manifest = earlier.manifest()
    if lanes == 3:
        del manifest["guide"]  # As an earlier version's.

    restored = make_student(job)
    restored.restore(dict(earlier.values()), manifest, "here")
    for name, variable in restored.model.weights.items():
        variable.assign(fresh.model.weights[name])
    for one in (fresh, restored):
        one.update(1)

    assert restored.guide_report == fresh.guide_report


def test_run_goes_on_without_what_a_measured_one_saved(
    a_job, an_auto_job, make_student
):
    job = an_auto_job()
    measured = taught(make_student(job), job)
    measured.update(0)

    restored = make_student(a_job())
    restored.restore(dict(measured.values()), measured.manifest(), "here")

    assert restored.guide_report == {}


def test_student_that_is_spoilt_gets_no_rising_weight(an_auto_job, make_student):
    job = an_auto_job(learning_rate=schedules.LearningRate(base=1e-30))
    student = taught(make_student(job), job)
    student.update(0)
    student.update(1)
    before = student.distillation_weight
    spoil(student)

    student.update(2)

    # Now the labels confirm the teacher nearly always.
    reported = student.guide_report
    assert reported["auto_share"] > 0.8
    assert reported["guide_cross_entropy"] > reported["guide_teacher_cross_entropy"]
    assert student.distillation_weight == before
    assert 0.0 < before < 1.0


def test_same_peer_reads_on_and_another_reads_up_first(an_auto_job, make_student):
    job = an_auto_job()
    student = taught(make_student(job), job)
    for number in range(2):
        student.update(number)
    (teacher,) = student.teachers.active
    carried = teacher.guide_state

    student.teachers.swap([an_export(job, step=1)], step=2)
    assert teacher.guide_state is carried
    student.teachers.swap([an_export(job, student=2)], step=2)
    assert teacher.guide_state is None

    # The same weights, so that reading up comes to the state that was carried.
    kept = [x.numpy() for x in tf.nest.flatten(carried)]
    read_up = student._guide._state_after_reading(teacher.model)
    for expected, found in zip(kept, tf.nest.flatten(read_up), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_measurement_that_is_not_finite_counts_for_nothing(an_auto_job, make_student):
    job = an_auto_job()
    student = taught(make_student(job), job)
    student.update(0)
    report = student.guide_report
    guide = {n: x for n, x in bits_of(student).items() if n.startswith("guide/")}
    (teacher,) = student.teachers.active
    good = teacher.model.weights["embedding"].numpy()
    teacher.model.weights["embedding"].assign(good * np.nan)

    student.update(1)

    assert student.guide_report == report
    after = {n: x for n, x in bits_of(student).items() if n.startswith("guide/")}
    assert after == guide
    teacher.model.weights["embedding"].assign(good)
    student.update(2)
    assert student.guide_report != report


def test_nothing_is_reported_before_the_first_measurement(an_auto_job, make_student):
    student = make_student(an_auto_job())

    assert set(student.guide_report.values()) == {None}
    assert student.manifest()["guide"] is None


def test_data_without_a_guide_is_refused_for_a_measured_weight_alone(
    an_auto_job, a_job, tmp_path
):
    old = small_data.write(
        tmp_path / "old", [[conftest.TOKENS]] * 1, [conftest.TOKENS[:20]]
    )

    with pytest.raises(errors.UsageError, match="has none.*GUIDE_FRACTION"):
        job_lib.open_inputs(an_auto_job(data_dir=old))
    nobody = codistillation.Distillation(targets="none")
    for job in (a_job(data_dir=old), an_auto_job(data_dir=old, distillation=nobody)):
        assert job_lib.open_inputs(job).guide is None


def test_guide_that_is_too_short_for_a_window_is_refused(an_auto_job):
    weight = dataclasses.replace(AUTO, auto_lanes=7)

    with pytest.raises(errors.UsageError, match="one of 40 tokens.* at least 42"):
        job_lib.open_inputs(an_auto_job(weight=weight))


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "logit_mse"},
        {"loss": "reverse_kl"},
        {"temperature": 2.0},
        {"final_temperature": 2.0, "temperature_end_step": 100},
        {"gate": "right"},
    ],
)
def test_losses_that_mix_nothing_are_refused(changes, an_auto_job):
    job = an_auto_job(distillation=codistillation.Distillation(**changes))

    (field, *_) = changes
    with pytest.raises(errors.UsageError, match=rf"'auto' with Distillation\.{field}"):
        job_lib.check_peers(job)


@pytest.mark.parametrize("loss", ["cross_entropy", "kl"])
def test_losses_that_mix_are_not(loss, an_auto_job):
    distillation = codistillation.Distillation(loss=loss)

    job_lib.check_peers(an_auto_job(distillation=distillation))
