"""How fast this machine does what a step is made of.

The plan's figures (`settings/planning.py`), each measured on its own, in about a
second, by the code that training runs: the products of `cost.step`, the layer, the
objective and the update rule. So a prediction from them says what the parts allow,
and knows nothing of how long a real step took.
"""

import functools
import statistics
import time
from collections.abc import Callable

import tensorflow as tf

from lmcodistill.model import cost, lstm, objective, optimizers, output_head
from lmcodistill.settings import model as model_settings
from lmcodistill.settings import planning
from lmcodistill.settings import training as training_settings

# Products of as many positions, or of one window; large enough for the full rate.
_POSITIONS = 1_024
# A layer of this size costs what launching costs.
_TINY = 8
_MOST_WEIGHTS = 1 << 24
_SECONDS = 1.0

Clock = Callable[[], float]


def measure(
    config: model_settings.LanguageModel,
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
    products = cost.step(config, vocab_size, streams, window)
    dtype = tf.as_dtype(config.compute_dtype)
    weight_dtype = tf.as_dtype(config.weight_dtype)
    num_weights = cost.weight_bytes(config, vocab_size) // weight_dtype.size
    return planning.Machine(
        matrix_rate=_matrix_rate(products, dtype, clock),
        recurrent_rate=_recurrent_rate(products, dtype, clock),
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


def _matrix_rate(products: list[cost.Product], dtype: tf.DType, clock: Clock) -> float:
    """Returns operations per second over all different large products."""
    large = sorted({p for p in products if not p.is_sequential})
    seconds = 0.0
    for rows, inner, columns, *_ in large:
        a, b = tf.ones([rows, inner], dtype), tf.ones([inner, columns], dtype)
        seconds += _seconds_of(
            functools.partial(tf.matmul, a, b), clock, _SECONDS / len(large)
        )
    return cost.operations(p._replace(times=1) for p in large) / seconds


def _recurrent_rate(
    products: list[cost.Product], dtype: tf.DType, clock: Clock
) -> float:
    """Returns operations per second of products that wait for one another."""
    sequential = sorted({p for p in products if p.is_sequential})
    seconds = 0.0
    for rows, inner, columns, times, _ in sequential:
        kernel = tf.zeros([inner, columns], dtype)

        @tf.function(autograph=False)
        def chain(start, kernel=kernel, inner=inner, columns=columns, times=times):
            def body(t, x):
                y = tf.matmul(x, kernel)
                if columns < inner:
                    y = tf.tile(y, [1, -(-inner // columns)])
                return t + 1, y[:, :inner]

            return tf.while_loop(lambda t, _: t < times, body, (0, start))[1]

        start = tf.ones([rows, inner], dtype)
        seconds += _seconds_of(
            functools.partial(chain, start), clock, _SECONDS / len(sequential)
        )
    return cost.operations(sequential) / seconds


def _launch_seconds(
    config: model_settings.LanguageModel, streams: int, window: int, clock: Clock
) -> float:
    """Returns what a token costs the smallest layer, the mean of both directions."""
    dtype = tf.as_dtype(config.weight_dtype)
    gain = tf.ones([4 * _TINY], dtype) if config.layer_norm else None
    kernel = tf.zeros([_TINY, 4 * _TINY], dtype)
    weights = lstm.Weights(kernel, kernel, tf.zeros([4 * _TINY], dtype), gain)
    zeros = tf.zeros([streams, _TINY], dtype)
    keep = tf.ones([window, streams, 1], dtype)

    @tf.function(autograph=False)
    def there_and_back(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs, _ = lstm.unroll(
                x,
                keep,
                lstm.State(zeros, zeros),
                weights,
                forget_bias=config.forget_bias,
                compute_dtype=tf.as_dtype(config.compute_dtype),
                is_trained=True,
            )
        return tape.gradient(outputs, x)

    x = tf.ones([window, streams, _TINY], dtype)
    return _seconds_of(lambda: there_and_back(x), clock) / (2 * window)


def _element_rate(
    vocab_size: int, positions: int, dtype: tf.DType, clock: Clock
) -> float:
    """Returns logits per second through the objective and back.

    Features of width one leave next to nothing of its products.
    """
    features, kernel = tf.ones([positions, 1], dtype), tf.ones([vocab_size, 1], dtype)
    targets = tf.zeros([positions], tf.int32)
    weights = tf.ones([positions], dtype)

    @tf.function(autograph=False)
    def there_and_back(features):
        with tf.GradientTape() as tape:
            tape.watch(features)
            readout = output_head.Readout(
                features, kernel, tf.zeros([vocab_size], dtype), dtype
            )
            total, _ = objective.training_objective(
                readout, targets, weights, None, tf.zeros([], dtype)
            )
        return tape.gradient(total, features)

    return positions * vocab_size / _seconds_of(lambda: there_and_back(features), clock)


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
    def update():
        scale, _ = optimizers.clip_scale([gradient], optimizer.clip_norm)
        rate = tf.constant(1e-3, dtype)
        rule.update(weight, gradient * scale, slots, rate, tf.constant(1.0))
        return weight[:1]

    num_bytes = cost.update_bytes(num_weights * dtype.size, optimizer.num_slots)
    return num_bytes / _seconds_of(update, clock)
