"""The chunked objective against one that holds all logits, and by hand."""

import numpy as np
import pytest
import tensorflow as tf

from lmcodistill.model import losses, objective, output_head

# N does not divide by the rows of a chunk, so the last chunk is padded.
NUM_POSITIONS, VOCAB_SIZE = 7, 5
ROWS_PER_CHUNK = 3
SOFT_LOSSES = sorted(losses.SOFT_LOSSES)
OF_PROBABILITIES = [n for n in SOFT_LOSSES if not losses.SOFT_LOSSES[n].is_of_logits]


@pytest.fixture
def many_chunks(monkeypatch):
    """Leaves room for 3 rows of float64 logits: chunks of 3, 3 and 1 + 2 padded."""
    monkeypatch.setattr(output_head, "CHUNK_BYTES", ROWS_PER_CHUNK * VOCAB_SIZE * 8)


def a_head(hidden, seed, dtype=tf.float64):
    generator = np.random.default_rng(seed)
    return output_head.OutputHead(
        tf.constant(generator.normal(size=[NUM_POSITIONS, hidden]), dtype),
        tf.constant(generator.normal(size=[VOCAB_SIZE, hidden]), dtype),
        tf.constant(generator.normal(size=[VOCAB_SIZE]), dtype),
        dtype,
    )


def by_logits(logits, dtype=tf.float64):
    """Returns an output head with these [N, 2] logits: one-hot hidden."""
    size = len(logits)
    return output_head.OutputHead(
        tf.eye(size, dtype=dtype),
        tf.constant(np.transpose(logits), dtype),
        tf.zeros([len(logits[0])], dtype),
        dtype,
    )


def logits_of(model):
    return tf.matmul(model.hidden, model.kernel, transpose_b=True) + model.bias


def naive_objective(student, targets, weights, soft, distillation_weight):
    """The objective with every [N, V] held, for automatic differentiation."""
    logits = logits_of(student)
    labels = tf.one_hot(targets, VOCAB_SIZE, dtype=tf.float64)
    phi = -tf.reduce_sum(labels * tf.nn.log_softmax(logits), -1)
    total = tf.reduce_sum(weights * phi)
    if soft is None:
        return total
    log_p = tf.nn.log_softmax(logits / soft.temperature)
    if soft.teachers:
        theirs = [logits_of(t) for t in soft.teachers]
        probs = [tf.nn.softmax(z / soft.temperature) for z in theirs]
        q = tf.add_n(probs) / len(probs)
    else:
        q = tf.broadcast_to(soft.fixed, logits.shape)
    psi = {
        "cross_entropy": lambda: -tf.reduce_sum(q * log_p, -1),
        "kl": lambda: tf.reduce_sum(q * (tf.math.log(q) - log_p), -1),
        "reverse_kl": lambda: tf.reduce_sum(
            tf.exp(log_p) * (log_p - tf.math.log(q)), -1
        ),
        "logit_mse": lambda: tf.reduce_mean(
            tf.square(logits - tf.add_n(theirs) / len(theirs)), -1
        ),
    }[soft.loss]()
    if soft.gate != "none":
        mean = tf.add_n([tf.nn.softmax(z) for z in theirs]) / len(theirs)
        is_open = {
            "right": tf.argmax(mean, -1, tf.int32) == targets,
            "sure": tf.reduce_max(mean, -1) >= soft.gate_confidence,
        }[soft.gate]
        psi = tf.where(is_open, psi, tf.zeros_like(psi))
    return total + distillation_weight * tf.reduce_sum(weights * psi)


def value_and_gradients(function, student, *arguments):
    inputs = [student.hidden, student.kernel, student.bias]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        result = function(student, *arguments)
        total = result[0] if isinstance(result, tuple) else result
    return total, *tape.gradient(total, inputs)


@tf.function(autograph=False)
def compiled_objective(*arguments):
    return value_and_gradients(objective.training_objective, *arguments)


TARGETS = tf.constant([0, 4, 2, 2, 1, 3, 0])
# Positions without weight, one of them in the padded chunk's neighbour.
WEIGHTS = tf.constant([1.0, 0.0, 2.0, 0.5, 1.0, 1.0, 0.0], tf.float64)


def soft_targets(num_teachers, loss, temperature=1.0, gate="none"):
    """Two teachers are of different width; none is label smoothing."""
    teachers = [a_head(2, 11), a_head(4, 12)][:num_teachers]
    fixed = None if teachers else tf.constant([0.4, 0.3, 0.1, 0.1, 0.1], tf.float64)
    return objective.SoftTargets(teachers, fixed, loss, temperature, gate, 0.6)


CASES = [None]
CASES += [soft_targets(0, loss) for loss in OF_PROBABILITIES]
CASES += [soft_targets(k, loss) for k in (1, 2) for loss in SOFT_LOSSES]
CASES += [soft_targets(2, "cross_entropy", 2.0), soft_targets(0, "reverse_kl", 0.5)]
CASES += [soft_targets(2, loss, 1.0, g) for loss in SOFT_LOSSES for g in losses.GATES]
CASES += [soft_targets(1, "kl", 3.0, gate) for gate in losses.GATES]
CASES += [soft_targets(2, "kl", tf.constant(3.0, tf.float64))]


def name_of(case):
    if case is None:
        return "labels alone"
    kind = "tensor-" if tf.is_tensor(case.temperature) else ""
    at = f"{kind}{float(case.temperature)}"
    return f"{len(case.teachers)} teachers-{case.loss}-{at}-{case.gate}"


@pytest.mark.parametrize("soft", CASES, ids=name_of)
def test_objective_and_gradients_equal_the_naive_ones(soft, many_chunks):
    arguments = (a_head(3, 10), TARGETS, WEIGHTS, soft, tf.constant(0.7, tf.float64))

    chunked = compiled_objective(*arguments)
    naive = value_and_gradients(naive_objective, *arguments)

    for ours, theirs in zip(chunked, naive, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-13)


def test_chunks_do_not_change_the_result(monkeypatch):
    arguments = (a_head(3, 10), TARGETS, WEIGHTS, soft_targets(2, "kl"), 0.5)
    results = []

    for rows in (1, 3, NUM_POSITIONS):
        monkeypatch.setattr(output_head, "CHUNK_BYTES", rows * VOCAB_SIZE * 8)
        results.append(value_and_gradients(objective.training_objective, *arguments))

    for result in results[1:]:
        for ours, theirs in zip(result, results[0], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_position_without_weight_teaches_nothing(many_chunks):
    _, dhidden, _, _ = compiled_objective(
        a_head(3, 10), TARGETS, WEIGHTS, soft_targets(2, "kl"), 1.0
    )

    np.testing.assert_array_equal(dhidden[1], np.zeros(3))
    np.testing.assert_array_equal(dhidden[6], np.zeros(3))
    assert np.abs(dhidden[0]).min() > 0.0


def test_mean_of_two_teachers_is_of_probabilities():
    # softmax([ln 3, 0]) = [3/4, 1/4], softmax([0, 0]) = [1/2, 1/2]; their mean
    # is [5/8, 3/8]. The mean of the logits would give [0.634, 0.366].
    logits = [tf.constant([[np.log(3.0), 0.0]]), tf.zeros([1, 2], tf.float64)]

    probs = output_head.mean_probs(logits)

    np.testing.assert_allclose(probs, [[5 / 8, 3 / 8]], rtol=1e-12)


def test_parts_of_the_objective_match_hand_calculation():
    # Position 0, weight 2: student [3/4, 1/4], teachers' mean [5/8, 3/8], label 1.
    #   phi = ln 4; psi = 5/8 ln(4/3) + 3/8 ln 4; the teachers' own phi = ln(8/3);
    #   both think word 0 most likely.
    # Position 1, weight 1: student [1/4, 3/4], teachers' mean [3/4, 1/4], label 1.
    #   phi = ln(4/3); psi = 3/4 ln 4 + 1/4 ln(4/3); phi of the teachers = ln 4;
    #   they disagree.
    log_3 = np.log(3.0)
    student = by_logits([[log_3, 0.0], [0.0, log_3]])
    teachers = [
        by_logits([[log_3, 0.0], [log_3, 0.0]]),
        by_logits([[0.0, 0.0], [log_3, 0.0]]),
    ]
    soft = objective.SoftTargets(teachers, None, "cross_entropy", 1.0)
    weights = tf.constant([2.0, 1.0], tf.float64)

    total, sums = objective.training_objective(
        student, tf.constant([1, 1]), weights, soft, tf.constant(0.5, tf.float64)
    )

    label_loss = 2 * np.log(4.0) + np.log(4 / 3)
    psi = [
        5 / 8 * np.log(4 / 3) + 3 / 8 * np.log(4.0),
        3 / 4 * np.log(4.0) + 1 / 4 * np.log(4 / 3),
    ]
    soft_loss = 2 * psi[0] + psi[1]
    np.testing.assert_allclose(sums.label_loss, label_loss, rtol=1e-12)
    np.testing.assert_allclose(sums.soft_loss, soft_loss, rtol=1e-12)
    np.testing.assert_allclose(total, label_loss + 0.5 * soft_loss, rtol=1e-12)
    np.testing.assert_allclose(
        sums.teacher_label_loss, 2 * np.log(8 / 3) + np.log(4.0), rtol=1e-12
    )
    np.testing.assert_array_equal(sums.agreement, 2.0)
    np.testing.assert_array_equal(sums.open, 3.0)  # Without a gate, everywhere.


@pytest.mark.parametrize(
    ("gate", "confidence", "is_open"),
    [
        # The teachers say [3/4, 1/4], [1/4, 3/4], [3/5, 2/5]; the labels are 0, 0, 0.
        ("right", 0.0, [1.0, 0.0, 1.0]),
        ("sure", 0.7, [1.0, 1.0, 0.0]),
        ("sure", 0.0, [1.0, 1.0, 1.0]),
        ("sure", 1.0, [0.0, 0.0, 0.0]),
    ],
)
def test_psi_counts_where_the_gate_is_open_alone(gate, confidence, is_open):
    teacher = by_logits(np.log([[3.0, 1.0], [1.0, 3.0], [3.0, 2.0]]))
    student = by_logits(np.zeros([3, 2]))
    soft = objective.SoftTargets(
        [teacher], None, "cross_entropy", 1.0, gate, confidence
    )
    weights = tf.constant([1.0, 2.0, 4.0], tf.float64)

    total, sums = objective.training_objective(
        student, tf.constant([0, 0, 0]), weights, soft, 1.0
    )

    # A student that says [1/2, 1/2] has phi = psi = ln 2 everywhere.
    open_weight = np.dot(weights, is_open)
    assert float(sums.open) == open_weight
    np.testing.assert_allclose(sums.soft_loss, open_weight * np.log(2), rtol=1e-12)
    np.testing.assert_allclose(total, (7.0 + open_weight) * np.log(2), rtol=1e-12)
    # What the teachers know is asked at every position.
    expected = np.log(4 / 3) + 2 * np.log(4.0) + 4 * np.log(5 / 3)
    np.testing.assert_allclose(sums.teacher_label_loss, expected, rtol=1e-12)


def test_temperature_leaves_phi_of_student_and_teacher_alone():
    # At temperature 2 the logits [2 ln 3, 0] give [3/4, 1/4] inside psi; without
    # it they give [9/10, 1/10], which is what phi is made of.
    model = by_logits([[2 * np.log(3.0), 0.0]])
    soft = objective.SoftTargets([model], None, "cross_entropy", 2.0)

    _, sums = objective.training_objective(
        model, tf.constant([1]), tf.ones([1], tf.float64), soft, 1.0
    )

    np.testing.assert_allclose(sums.label_loss, np.log(10.0), rtol=1e-12)
    np.testing.assert_allclose(sums.teacher_label_loss, np.log(10.0), rtol=1e-12)
    entropy = 3 / 4 * np.log(4 / 3) + 1 / 4 * np.log(4.0)
    np.testing.assert_allclose(sums.soft_loss, entropy, rtol=1e-12)


def test_label_smoothing_matches_hand_calculation():
    # Against [1/2, 1/2] the student [3/4, 1/4] costs (ln(4/3) + ln 4) / 2; the
    # slope of its first logit is 3/4 - 1/2. No teacher, so no phi of one.
    student = by_logits([[np.log(3.0), 0.0]])
    fixed = tf.constant([0.5, 0.5], tf.float64)
    soft = objective.SoftTargets([], fixed, "cross_entropy", 1.0)

    with tf.GradientTape() as tape:
        tape.watch(student.bias)
        total, sums = objective.training_objective(
            student, tf.constant([0]), tf.ones([1], tf.float64), soft, 4.0
        )

    np.testing.assert_allclose(sums.soft_loss, np.log(16 / 3) / 2, rtol=1e-12)
    np.testing.assert_array_equal(sums.teacher_label_loss, 0.0)
    # phi's slope is 3/4 - 1, psi's counts four times: -1/4 + 4 * 1/4.
    np.testing.assert_allclose(
        tape.gradient(total, student.bias), [0.75, -0.75], rtol=1e-12
    )


@pytest.mark.parametrize("loss", SOFT_LOSSES)
def test_no_gradient_reaches_the_teachers(loss, many_chunks):
    student, soft = a_head(3, 10), soft_targets(2, loss)
    of_teachers = [x for t in soft.teachers for x in (t.hidden, t.kernel, t.bias)]

    with tf.GradientTape() as tape:
        tape.watch([student.kernel, *of_teachers])
        total, _ = objective.training_objective(student, TARGETS, WEIGHTS, soft, 1.0)
    to_student, *to_teachers = tape.gradient(total, [student.kernel, *of_teachers])

    assert np.abs(to_student).max() > 0.0
    assert to_teachers == [None] * 6


def test_parts_carry_no_gradient():
    student = a_head(3, 10)

    with tf.GradientTape() as tape:
        tape.watch(student.kernel)
        _, sums = objective.training_objective(
            student, TARGETS, WEIGHTS, soft_targets(1, "kl"), 1.0
        )
        parts = tf.add_n(list(sums))

    assert tape.gradient(parts, student.kernel) is None


def test_bfloat16_products_stay_close_to_float32():
    narrow = a_head(3, 10, tf.float32)._replace(compute_dtype=tf.bfloat16)
    wide = narrow._replace(compute_dtype=tf.float32)
    arguments = (TARGETS, tf.cast(WEIGHTS, tf.float32), None, 0.0)

    ours = value_and_gradients(objective.training_objective, narrow, *arguments)
    expected = value_and_gradients(objective.training_objective, wide, *arguments)

    for a, b in zip(ours, expected, strict=True):
        assert a.dtype == tf.float32
        # 8 significant bits per factor: 2^-8 per product.
        assert np.linalg.norm(a - b) < 0.01 * np.linalg.norm(b)


def sizes_in(graph):
    """Returns the number of elements of every tensor, bodies of loops included."""
    found = set()
    for operation in graph.get_operations():
        found |= {t.shape.num_elements() for t in operation.outputs}
        for name in ("body", "cond", "f"):
            if name in operation.node_def.attr:
                function = operation.get_attr(name).name
                found |= sizes_in(graph._get_function(function).graph)
    return found


def sizes_in_objective():
    def step(hidden, kernel, bias, theirs):
        student = output_head.OutputHead(hidden, kernel, bias, tf.float64)
        teacher = student._replace(hidden=theirs)
        soft = objective.SoftTargets([teacher], None, "kl", 1.0)
        return value_and_gradients(
            objective.training_objective, student, TARGETS, WEIGHTS, soft, 1.0
        )

    model = a_head(3, 10)
    traced = tf.function(step, autograph=False).get_concrete_function(
        *(tf.TensorSpec(x.shape, x.dtype) for x in (*model[:3], model.hidden))
    )
    return sizes_in(traced.graph)


def test_no_tensor_is_as_large_as_all_logits(many_chunks):
    sizes = sizes_in_objective()

    # 3 rows of 5 are a chunk's logits, so we did look into the loop. Larger than
    # those are only the hidden with their padding, [9, 3].
    assert ROWS_PER_CHUNK * VOCAB_SIZE in sizes
    assert {n for n in sizes if n and n > ROWS_PER_CHUNK * VOCAB_SIZE} <= {21, 27}
    assert NUM_POSITIONS * VOCAB_SIZE not in sizes


def test_one_chunk_holds_all_logits():
    # That the test before sees what it looks for.
    assert NUM_POSITIONS * VOCAB_SIZE in sizes_in_objective()
