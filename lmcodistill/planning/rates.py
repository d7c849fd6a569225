"""How fast this machine does what a step is made of.

The plan's figures (`settings/planning.py`), each measured on its own, in about a
second, by the code that training runs: the matmuls of `cost.step`, the family's
layers, the objective and the update rule. So a prediction from them says what the
parts allow, and knows nothing of how long a real step took.
"""

import functools
import statistics
import time
from collections.abc import Callable

import tensorflow as tf

from lmcodistill.model import (
    contract,
    cost,
    objective,
    optimizers,
    output_head,
    registry,
    weights,
)
from lmcodistill.settings import model as model_settings
from lmcodistill.settings import planning
from lmcodistill.settings import training as training_settings

# Matmuls of as many positions, or of one window; large enough for the full rate.
_POSITIONS = 1_024
_SMALL_VOCABULARY = 8
_MOST_WEIGHTS = 1 << 24
_SECONDS = 1.0

Clock = Callable[[], float]


def measure(
    config: model_settings.ModelConfig,
    optimizer: training_settings.Optimizer,
    vocab_size: int,
    streams: int,
    window: int,
    clock: Clock = time.perf_counter,
) -> planning.Machine:
    """Returns the figures of this process's first device; takes seconds.

    Args:
        config: The model.
        optimizer: The update rule.
        vocab_size: V.
        streams: B, of this worker.
        window: T.
        clock: What a second is; with `time.process_time` one of a core's work,
            which does not depend on what else the machine does.
    """
    window = max(1, min(window, _POSITIONS // streams))
    matmuls = cost.step(config, vocab_size, streams, window)
    large = [m._replace(times=1) for m in matmuls if not m.is_sequential]
    sequential = [m for m in matmuls if m.is_sequential]
    dtype = tf.as_dtype(config.compute_dtype)
    weight_dtype = tf.as_dtype(config.weight_dtype)
    num_weights = cost.weight_bytes(config, vocab_size) // weight_dtype.size
    return planning.Machine(
        matrix_rate=_rate(large, lambda a, b, _: tf.matmul(a, b), dtype, clock),
        recurrent_rate=_rate(sequential, _chain, dtype, clock),
        recurrent_step_seconds=_launch_seconds(config, streams, window, clock),
        element_rate=_element_rate(vocab_size, streams * window, weight_dtype, clock),
        memory_bandwidth=_update_bandwidth(
            optimizer, min(num_weights, _MOST_WEIGHTS), weight_dtype, clock
        ),
    )


def _seconds_of(
    run: Callable[[], tf.Tensor], clock: Clock, budget: float = _SECONDS
) -> float:
    """Returns the median duration of `run()` after two warm-ups."""
    durations = []
    give_up = time.perf_counter() + budget
    for attempt in range(1_000):
        began = clock()
        # A device has only been asked until one of the numbers is here.
        tf.reshape(run(), [-1])[0].numpy()
        ended = clock()
        if attempt >= 2:
            durations.append(ended - began)
        if len(durations) >= 3 and time.perf_counter() > give_up:
            break
    return statistics.median(durations)


def _rate(
    matmuls: list[contract.Matmul],
    run: Callable[[tf.Tensor, tf.Tensor, int], tf.Tensor],
    dtype: tf.DType,
    clock: Clock,
) -> float:
    """Returns FLOPs per second over all different matmuls; 0.0: there are none.

    `run` makes one, from left operand, right operand and `times`.
    """
    different = sorted(set(matmuls))
    seconds = 0.0
    for rows, inner, columns, times, _ in different:
        a = tf.ones([rows, inner], dtype)
        # So that products of products stay finite.
        b = tf.fill([inner, columns], tf.cast(1.0 / inner, dtype))
        seconds += _seconds_of(
            functools.partial(run, a, b, times), clock, _SECONDS / len(different)
        )
    return cost.flops(different) / seconds if different else 0.0


@tf.function(autograph=False)
def _chain(x: tf.Tensor, kernel: tf.Tensor, times: int) -> tf.Tensor:
    """Multiplies by a kernel so many times; each product waits for the last."""
    inner, columns = kernel.shape

    def body(t: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        y = tf.matmul(x, kernel)
        if columns < inner:
            y = tf.tile(y, [1, -(-inner // columns)])
        return t + 1, y[:, :inner]

    return tf.while_loop(lambda t, _: t < times, body, (0, x))[1]


def _launch_seconds(
    config: model_settings.ModelConfig, streams: int, window: int, clock: Clock
) -> float:
    """Returns what a sequential matmul costs, and what is launched with it.

    The mean of forward and backward; 0.0 where the family has none.
    """
    smallest = registry.family_of(config).smallest(config)
    sizes = (smallest, _SMALL_VOCABULARY, streams, window)
    launches = sum(m.times for m in cost.step(*sizes) if m.is_sequential)
    if not launches:
        return 0.0
    model = registry.build(*sizes[:2], weights.initial(*sizes[:2], seed=0))
    tokens = tf.zeros([streams, window], tf.int32)
    is_start = tf.zeros([streams, window], tf.bool)

    @tf.function(autograph=False)
    def there_and_back() -> tf.Tensor:
        with tf.GradientTape() as tape:
            hidden, _ = model(tokens, is_start, model.initial_state(streams))
        # The output head is in no path; what hidden states depend on comes first.
        gradients = tape.gradient(hidden, list(model.weights.values()))
        return tf.convert_to_tensor(next(g for g in gradients if g is not None))

    return _seconds_of(there_and_back, clock) / launches


def _element_rate(
    vocab_size: int, positions: int, dtype: tf.DType, clock: Clock
) -> float:
    """Returns logits per second through the objective and back.

    Hidden states of width one leave next to nothing of its matmuls.
    """
    hidden, kernel = tf.ones([positions, 1], dtype), tf.ones([vocab_size, 1], dtype)
    targets = tf.zeros([positions], tf.int32)
    ones = tf.ones([positions], dtype)

    @tf.function(autograph=False)
    def there_and_back(hidden: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(hidden)
            head = output_head.OutputHead(
                hidden, kernel, tf.zeros([vocab_size], dtype), dtype
            )
            total, _ = objective.training_objective(
                head, targets, ones, None, tf.zeros([], dtype)
            )
        return tape.gradient(total, hidden)

    return positions * vocab_size / _seconds_of(lambda: there_and_back(hidden), clock)


def _update_bandwidth(
    optimizer: training_settings.Optimizer,
    num_weights: int,
    dtype: tf.DType,
    clock: Clock,
) -> float:
    """Returns bytes per second, counted as the plan counts them."""
    rule = optimizers.rule(optimizer)
    weight = tf.Variable(tf.zeros([num_weights], dtype))
    slots = [
        tf.Variable(tf.fill([num_weights], tf.cast(value, dtype)))
        for value in rule.slots.values()
    ]
    gradient = tf.ones([num_weights], dtype)

    @tf.function(autograph=False)
    def update() -> tf.Tensor:
        scale, _ = optimizers.clip_scale([gradient], optimizer.clip_norm)
        rate = tf.constant(1e-3, dtype)
        rule.at(rate, tf.constant(1.0))(weight, gradient * scale, slots)
        return weight[:1]

    num_bytes = cost.update_bytes(num_weights * dtype.size, optimizer.num_slots)
    return num_bytes / _seconds_of(update, clock)
