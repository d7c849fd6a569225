"""A student's update against automatic differentiation; burn-in; restoring."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.model import registry, weights
from lmcodistill.settings import codistillation, model, schedules, training
from lmcodistill.training import checkpoints, step
from lmcodistill.training import job as job_lib
from tests.support import peer_exports

VOCAB_SIZE = 12
TEACHER = peer_exports.TEACHER
NO_BURN_IN = schedules.DistillationWeight(burn_in_steps=0, weight=0.7)


def an_export(job, student=1, step=0, seed=9):
    return peer_exports.export_for(job, student=student, step=step, seed=seed)


def update(student, number):
    """Makes an update; returns its totals."""
    return student.update(number)[0]


def weights_of(student):
    return {name: v.numpy() for name, v in student.model.weights.items()}


def equal(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


def naive_gradients(job, soft_probs, weight=0.7):
    """Returns psi's sum and the gradients of the first update, all logits held.

    Args:
        job: The job; the student has its initial weights and zero state.
        soft_probs: [N, V] soft targets.
        weight: Of psi.
    """
    inputs = job_lib.open_inputs(job)
    window = inputs.windows.at(0, 0, 2)
    values = weights.initial(inputs.model, VOCAB_SIZE, job.training.seed)
    student = registry.build(inputs.model, VOCAB_SIZE, values)
    tokens, is_start = tf.constant(window.inputs), tf.constant(window.is_start)
    targets = window.targets.T.reshape(-1)

    @tf.function(autograph=False)
    def run():
        with tf.GradientTape() as tape:
            hidden, _ = student(tokens, is_start, student.initial_state(2))
            head = student.output_head(hidden)
            logits = head.hidden @ tf.transpose(head.kernel) + head.bias
            log_p = tf.nn.log_softmax(logits)
            labels = tf.one_hot(targets, VOCAB_SIZE, dtype=tf.float64)
            psi = -tf.reduce_sum(soft_probs * log_p)
            loss = (weight * psi - tf.reduce_sum(labels * log_p)) / 10.0
        names = list(student.weights)
        gradients = tape.gradient(loss, [student.weights[n] for n in names])
        gradients = [tf.convert_to_tensor(g) for g in gradients]
        return psi, dict(zip(names, gradients, strict=True))

    psi, gradients = run()
    return float(psi), {n: g.numpy() for n, g in gradients.items()}


def probs_of_teacher(tokens, is_start):
    """Returns [N, V] predictions of the teacher, read from zero state."""
    values = weights.initial(TEACHER, VOCAB_SIZE, 9)
    teacher = registry.build(TEACHER, VOCAB_SIZE, values)
    hidden, _ = teacher(tokens, is_start, teacher.initial_state(2))
    head = teacher.output_head(hidden)
    logits = head.hidden @ tf.transpose(head.kernel) + head.bias
    return tf.nn.softmax(logits).numpy()


@pytest.mark.parametrize("targets", ["none", "peers", "uniform", "unigram"])
def test_update_is_gradient_descent_on_the_objective(targets, a_job, make_student):
    job = a_job(
        weight=NO_BURN_IN,
        distillation=codistillation.Distillation(targets=targets),
    )
    window = job_lib.open_inputs(job).windows.at(0, 0, 2)
    tokens, is_start = tf.constant(window.inputs), tf.constant(window.is_start)
    counts = np.bincount(partition_of(job), minlength=VOCAB_SIZE) + 1.0
    soft = {
        "none": np.zeros([10, VOCAB_SIZE]),
        "peers": probs_of_teacher(tokens, is_start),
        "uniform": np.full([10, VOCAB_SIZE], 1 / VOCAB_SIZE),
        "unigram": np.tile(counts / counts.sum(), [10, 1]),
    }[targets]
    psi, gradients = naive_gradients(job, soft)
    student = make_student(job)
    if targets == "peers":
        student.teachers.swap([an_export(job)], step=0)
    before = weights_of(student)

    totals = update(student, 0)

    # Totals and the distribution of label smoothing are float32.
    assert float(totals.soft_loss) == pytest.approx(psi, rel=1e-6)
    for name, after in weights_of(student).items():
        np.testing.assert_allclose(
            after, before[name] - 0.5 * gradients[name], rtol=1e-6, atol=1e-9
        )


@pytest.mark.parametrize("targets", ["peers", "uniform"])
def test_terms_that_are_a_mix_sum_to_one(targets, a_job, make_student):
    mix = schedules.DistillationWeight(weight=3.0, mix=True)
    job = a_job(weight=mix, distillation=codistillation.Distillation(targets=targets))
    window = job_lib.open_inputs(job).windows.at(0, 0, 2)
    soft = np.full([10, VOCAB_SIZE], 1 / VOCAB_SIZE)
    if targets == "peers":
        soft = probs_of_teacher(
            tf.constant(window.inputs), tf.constant(window.is_start)
        )
    psi, gradients = naive_gradients(job, soft, weight=3.0)
    student = make_student(job)
    if targets == "peers":
        student.teachers.swap([an_export(job)], step=0)
    before = weights_of(student)

    totals = update(student, 0)

    # A quarter of phi, three quarters of psi; what is reported is each of them whole.
    assert float(totals.soft_loss) == pytest.approx(psi, rel=1e-6)
    for name, after in weights_of(student).items():
        np.testing.assert_allclose(
            after, before[name] - 0.5 * gradients[name] / 4.0, rtol=1e-6, atol=1e-9
        )


def test_temperature_that_moves_is_at_each_step_as_if_it_were_constant(
    a_job, make_student
):
    cooling = codistillation.Distillation(
        temperature=3.0, final_temperature=1.0, temperature_end_step=2
    )
    job = a_job(weight=NO_BURN_IN, distillation=cooling, learning_rate=tiny_rate())
    student = make_student(job)
    student.teachers.swap([an_export(job)], step=0)
    traces = []

    for number, temperature in enumerate([3.0, 2.0, 1.0, 1.0]):
        constant = codistillation.Distillation(temperature=temperature)
        other = make_student(dataclasses.replace(job, distillation=constant))
        other.teachers.swap([an_export(job)], step=0)
        for earlier in range(number):
            update(other, earlier)
        expected, found = update(other, number), update(student, number)
        assert float(found.soft_loss) == pytest.approx(
            float(expected.soft_loss), rel=1e-6
        )
        assert float(found.gradient_norm) == pytest.approx(
            float(expected.gradient_norm), rel=1e-6
        )
        traces.append(student.num_traces)

    assert set(traces) == {1}


def test_gate_closes_positions_of_the_update(a_job, make_student):
    found = {}
    for gate in ("none", "right", "sure"):
        job = a_job(
            weight=NO_BURN_IN,
            distillation=codistillation.Distillation(gate=gate, gate_confidence=0.99),
        )
        student = make_student(job)
        student.teachers.swap([an_export(job)], step=0)
        found[gate] = update(student, 0)

    # A teacher that has learnt nothing is sure of nothing, and right by chance.
    assert float(found["none"].open) == 10.0
    assert float(found["none"].taught) == 1.0
    assert 0.0 <= float(found["right"].open) < 10.0
    assert (float(found["sure"].open), float(found["sure"].soft_loss)) == (0.0, 0.0)
    for name in ("label_loss", "teacher_label_loss"):
        assert len({float(getattr(totals, name)) for totals in found.values()}) == 1


@pytest.mark.parametrize("targets", ["peers", "uniform"])
def test_angle_is_that_of_the_two_terms_gradients_and_changes_nothing(
    targets, a_job, make_student
):
    config = model.LanguageModel(
        embedding_size=3,
        num_layers=1,
        hidden_size=4,
        dropout=0.5,
        compute_dtype="float64",
    )
    job = a_job(
        weight=NO_BURN_IN,
        model=config,
        distillation=codistillation.Distillation(targets=targets),
    )
    student = make_student(job)
    by_weight = []
    for weight in (0.0, 1.0):
        # The gradient of phi, and of phi + psi, as updates at rate 0.5 show them.
        changed = dataclasses.replace(job.weight, weight=weight)
        one = make_student(dataclasses.replace(job, weight=changed))
        before = weights_of(one)
        if targets == "peers":
            one.teachers.swap([an_export(job)], step=0)
        update(one, 0)
        moved = [before[n] - w for n, w in weights_of(one).items()]
        by_weight.append(np.concatenate([m.ravel() for m in moved]) / 0.5)
    phi, psi = by_weight[0], by_weight[1] - by_weight[0]
    if targets == "peers":
        assert student.gradient_angle(0) is None
        student.teachers.swap([an_export(job)], step=0)
    bits = bits_of(student)

    angle = student.gradient_angle(0)

    lengths = [np.linalg.norm(x) for x in (phi, psi)]
    expected = [phi @ psi / np.prod(lengths), *lengths]
    assert list(angle) == pytest.approx(expected, rel=1e-6)
    assert bits_of(student) == bits


def test_angle_is_not_measured_during_burn_in(a_job, make_student):
    job = a_job()  # Burn-in of 2 steps.
    student = make_student(job)
    student.teachers.swap([an_export(job)], step=0)

    assert student.gradient_angle(1) is None
    assert student.gradient_angle(2) is not None


def partition_of(job):
    data = job_lib.open_inputs(job).data
    tokens = data.tokens_of(data.train_split(job.student))
    return tokens.read(0, tokens.num_tokens)


def test_clipped_update_moves_by_the_rate_times_the_clip_norm(a_job, make_student):
    optimizer = training.Optimizer(name="sgd", clip_norm=1e-3)
    student = make_student(a_job(optimizer=optimizer))
    before = weights_of(student)

    totals = update(student, 0)

    moved = [after - before[name] for name, after in weights_of(student).items()]
    length = np.sqrt(sum((m**2).sum() for m in moved))
    assert length == pytest.approx(0.5 * 1e-3, rel=1e-6)
    assert float(totals.gradient_norm) > 1e-3


def test_teachers_count_from_the_last_step_of_burn_in_on(a_job, make_student):
    job = a_job()  # Burn-in of 2 steps: updates 0 and 1 are on labels alone.
    taught, alone = make_student(job), make_student(job)
    taught.teachers.swap([an_export(job)], step=0)

    soft_losses, taught_updates, same = [], [], []
    for number in range(3):
        totals = update(taught, number)
        soft_losses.append(float(totals.soft_loss))
        taught_updates.append(float(totals.taught))
        update(alone, number)
        same.append(equal(weights_of(taught), weights_of(alone)))

    assert taught_updates == [0.0, 0.0, 1.0]
    assert soft_losses[:2] == [0.0, 0.0]
    assert soft_losses[2] > 0.0
    assert same == [True, True, False]


def test_teacher_learns_nothing_and_reads_on(a_job, make_student):
    job = a_job(weight=NO_BURN_IN)
    student = make_student(job)
    student.teachers.swap([an_export(job)], step=0)
    (teacher,) = student.teachers.active
    expected = an_export(job).weights

    states = []
    for number in range(2):
        update(student, number)
        states.append(
            np.concatenate([np.ravel(x) for x in tf.nest.flatten(teacher.state)])
        )

    for name, variable in teacher.model.weights.items():
        np.testing.assert_array_equal(variable, expected[name].astype(np.float64))
    assert (states[0] != states[1]).all()


def test_swapped_teacher_is_used_without_tracing_again(a_job, make_student):
    job = a_job(weight=NO_BURN_IN)
    student = make_student(job)
    traces, losses = [], []

    for number in range(3):
        export = an_export(job, step=number, seed=number)
        student.teachers.swap([export], step=number)
        losses.append(float(update(student, number).teacher_label_loss))
        traces.append(student.num_traces)

    assert len(set(traces)) == 1
    assert len(set(losses)) == 3


def test_state_is_carried_from_window_to_window_and_reset_with_the_epoch(
    a_job, make_student
):
    # 60 tokens in 2 streams of 30: 5 windows of 5, then the epoch starts again.
    frozen = dataclasses.replace(a_job(), learning_rate=tiny_rate())
    student = make_student(frozen)

    losses = [float(update(student, number).label_loss) for number in range(7)]
    anew = float(update(make_student(frozen), 1).label_loss)

    assert losses[5:] == pytest.approx(losses[:2], rel=1e-6)
    assert losses[1] != pytest.approx(anew, rel=1e-6)


def tiny_rate():
    """A rate that moves no weight by what a float32 total could show."""
    return schedules.LearningRate(base=1e-30)


def test_students_do_not_start_alike(a_job, make_student):
    first, second = (make_student(a_job(student=index)) for index in range(2))

    assert not equal(weights_of(first), weights_of(second))
    assert equal(weights_of(first), weights_of(make_student(a_job())))


def test_tensors_of_a_checkpoint_have_the_names_that_they_always_had(
    a_job, make_student
):
    job = a_job(optimizer=training.Optimizer(name="adam"))
    student = make_student(job)
    student.teachers.swap([an_export(job)], step=0)
    layer = ("input_kernel", "recurrent_kernel", "shift", "gain")
    ours = {"embedding", "projection/kernel", "projection/bias"}
    ours |= {f"layer_0/{name}" for name in layer}
    # A teacher of two layers.
    theirs = ours | {f"layer_1/{name}" for name in layer}

    assert student.values().keys() == {
        *(f"model/{name}" for name in ours),
        *(f"optimizer/first_moment/{name}" for name in ours),
        *(f"optimizer/second_moment/{name}" for name in ours),
        *("state/layer_0/h", "state/layer_0/c"),
        *(f"teacher_0/model/{name}" for name in theirs),
        *(f"teacher_0/state/layer_{k}/{s}" for k in (0, 1) for s in ("h", "c")),
    }


def averaging(decay):
    return training.Training(num_train_steps=10, average_decay=decay)


@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_restored_student_goes_on_as_if_nothing_had_happened(
    a_job, make_student, owner, tmp_path, decay
):
    job = a_job(
        optimizer=training.Optimizer(name="adam"),
        weight=schedules.DistillationWeight(burn_in_steps=1),
        training=averaging(decay),
    )
    student = make_student(job)
    student.teachers.swap([an_export(job)], step=0)
    student.rollbacks = 1
    for number in range(3):
        update(student, number)
    checkpoints.save(
        *(tmp_path, 3, student.values(), student.manifest(), job.training),
        owner=owner,
    )

    restored = make_student(job)
    restored.restore(*checkpoints.load(checkpoints.newest(tmp_path)), source="here")

    for number in (3, 4):
        expected, actual = update(student, number), update(restored, number)
        assert [float(x) for x in actual] == [float(x) for x in expected]
        assert equal(weights_of(restored), weights_of(student))
        assert restored.digest() == student.digest()
    (teacher,) = restored.teachers.active
    assert (teacher.peer, teacher.step) == (1, 0)
    assert restored.rollbacks == 1


def test_teacher_multiplies_in_the_type_asked_for_also_when_restored(
    a_job, make_student
):
    narrow = codistillation.Distillation(teacher_compute_dtype="bfloat16")
    job = a_job(weight=NO_BURN_IN, distillation=narrow)
    student, as_peer = make_student(job), make_student(a_job(weight=NO_BURN_IN))
    export = an_export(job)

    for one in (student, as_peer):
        one.teachers.swap([export], step=0)
    found, manifest = student.values(), student.manifest()
    losses = [float(update(one, 0).teacher_label_loss) for one in (student, as_peer)]
    restored = make_student(job)
    restored.restore(found, manifest, "here")

    assert as_peer.teachers.active[0].model.compute_dtype == tf.float64
    for one in (student, restored):
        (teacher,) = one.teachers.active
        assert (teacher.model.compute_dtype, teacher.config) == (
            tf.bfloat16,
            TEACHER,
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    assert float(update(restored, 0).teacher_label_loss) == losses[0]


def test_mean_of_the_weights_follows_them_and_changes_no_update(a_job, make_student):
    plain, student = (make_student(a_job(training=averaging(d))) for d in (0.0, 0.2))
    assert plain.published is plain.model
    expected = weights_of(plain)

    for number, decay in enumerate((1 / 10, 2 / 11, 0.2)):
        update(plain, number)
        update(student, number)
        for name, weight in weights_of(plain).items():
            expected[name] = decay * expected[name] + (1.0 - decay) * weight

    assert equal(weights_of(student), weights_of(plain))
    for name, mean in student.published.weights.items():
        np.testing.assert_allclose(mean.numpy(), expected[name], rtol=1e-6, atol=1e-9)


def test_checkpoint_without_means_is_refused_where_they_are_asked_for(
    a_job, make_student
):
    student = make_student(a_job())
    found, manifest = student.values(), student.manifest()

    with pytest.raises(errors.SnapshotError, match="lacks tensors .*mean/"):
        make_student(a_job(training=averaging(0.9))).restore(found, manifest, "here")


def test_checkpoint_of_another_optimizer_is_refused(a_job, make_student):
    student = make_student(a_job())
    found, manifest = student.values(), student.manifest()
    adam = make_student(a_job(optimizer=training.Optimizer()))

    with pytest.raises(errors.SnapshotError, match="lacks tensors .*optimizer/"):
        adam.restore(found, manifest, "here")


def test_group_learns_what_one_worker_knows(a_job, make_student):
    student = make_student(a_job())
    controls = [
        step.Control(),
        step.Control(stop=True),
        step.Control(teachers_ready=True),
    ]

    agreed = [student.update(n, control)[1] for n, control in enumerate(controls)]

    assert [float(a.stop) for a in agreed] == [0.0, 1.0, 0.0]
    assert [float(a.teachers_ready) for a in agreed] == [0.0, 0.0, 1.0]


def bits_of(student):
    """Returns every byte that the next update could read."""
    values = dict(student.values())
    return {name: np.asarray(value).tobytes() for name, value in values.items()}


def poison(student):
    """Spoils one weight that every update reads; returns what undoes it."""
    weight = student.model.weights["layer_0/input_kernel"]
    good = weight.numpy()
    bad = good.copy()
    bad.flat[0] = np.nan
    weight.assign(bad)
    return lambda: weight.assign(good)


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "sgd"])
def test_update_that_is_not_finite_leaves_everything_bit_for_bit(
    a_job, make_student, optimizer
):
    job = a_job(
        weight=NO_BURN_IN,
        optimizer=training.Optimizer(name=optimizer),
        training=averaging(0.9),
    )
    student = make_student(job)
    student.teachers.swap([an_export(job)], step=0)
    first = update(student, 0)
    poison(student)
    before = bits_of(student)

    totals = update(student, 1)

    assert (float(first.skipped), float(totals.skipped)) == (0.0, 1.0)
    assert not np.isfinite(float(totals.label_loss))
    assert bits_of(student) == before


def test_gradient_that_overflows_is_skipped_although_the_loss_is_finite(
    a_job, make_student
):
    config = model.LanguageModel(embedding_size=3, num_layers=1, hidden_size=4)
    student = make_student(a_job(model=config))
    # The loss and every gradient are about as large as these weights, and the norm
    # squares: 1e50 is beyond float32.
    kernel = student.model.weights["projection/kernel"]
    kernel.assign(kernel * 1e25)
    before = bits_of(student)

    totals = update(student, 0)

    assert np.isfinite(float(totals.label_loss))
    assert not np.isfinite(float(totals.gradient_norm))
    assert float(totals.skipped) == 1.0
    assert bits_of(student) == before


def test_student_recovers_when_the_cause_goes_away(a_job, make_student):
    job = a_job()
    student, undisturbed = make_student(job), make_student(job)
    undo = poison(student)
    update(student, 0)
    undo()

    after, expected = update(student, 0), update(undisturbed, 0)

    assert [float(x) for x in after] == [float(x) for x in expected]
    assert bits_of(student) == bits_of(undisturbed)


def test_teacher_that_is_not_finite_is_told_apart_and_harms_nothing(
    a_job, make_student
):
    job = a_job(weight=NO_BURN_IN)
    student, alone = make_student(job), make_student(job)
    export = an_export(job)
    export.weights["embedding"][:] = np.nan
    student.teachers.swap([export], step=0)

    taught = update(student, 0)
    student.teachers.swap([], step=1)

    assert np.isfinite(float(taught.label_loss))
    assert not np.isfinite(float(taught.teacher_label_loss))
    assert float(taught.skipped) == 1.0
    update(student, 1)
    update(alone, 1)
    assert equal(weights_of(student), weights_of(alone))


def test_every_rollback_halves_the_learning_rate_for_good(a_job, make_student):
    student = make_student(a_job())  # A rate of 0.5.
    values, manifest = student.values(), student.manifest()

    student.rollbacks += 2
    student.restore(values, manifest, "a checkpoint from before")

    assert student.learning_rate_at(0) == 0.125
    assert student.manifest()["rollbacks"] == 2
