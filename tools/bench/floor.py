"""The least that a step's matrix products can cost on this machine.

The rate is measured here, in the process that made the steps: `tf.matmul` alone, at
the step's own shapes. Two floors: all products at the best of these rates, and each
at its own, which grants that a narrow product is slower than a wide one. Both in
time and in CPU time, which holds still while others use the machine.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from lmcodistill.model import contract

_TRIALS, _TRIAL_SECONDS = 3, 0.05


class Typed(NamedTuple):
    """Products, and the type of their operands."""

    dtype: str
    product: contract.Matmul


def measure(products: Sequence[Typed]) -> dict[str, Any]:
    """Returns floors and rates.

    Args:
        products: Those of a step.

    Returns:
        `seconds` and `cpu_seconds`, each with the floor at the `best_rate` and at
        their `own_rates`; what was measured of each of the `products`.
    """
    shapes = dict.fromkeys((dtype, *p[:3]) for dtype, p in products)
    measured = {shape: _cost_of_one(*shape) for shape in shapes}
    rows = [
        {
            "dtype": dtype,
            **p._asdict(),
            "operations": p.flops,
            "seconds": measured[dtype, *p[:3]][0] * p.times,
            "cpu_seconds": measured[dtype, *p[:3]][1] * p.times,
        }
        for dtype, p in products
    ]
    return {
        "seconds": _floors(rows, "seconds"),
        "cpu_seconds": _floors(rows, "cpu_seconds"),
        "products": rows,
    }


def _floors(rows: Sequence[dict[str, Any]], unit: str) -> dict[str, float]:
    best: dict[str, float] = {}
    for row in rows:
        rate = row["operations"] / row[unit]
        best[row["dtype"]] = max(rate, best.get(row["dtype"], 0.0))
    return {
        "best_rate": sum(row["operations"] / best[row["dtype"]] for row in rows),
        "own_rates": sum(row[unit] for row in rows),
    }


def _cost_of_one(
    dtype: str, rows: int, inner: int, columns: int
) -> tuple[float, float]:
    """Returns time and CPU time of one product: the least of a few trials."""
    left = tf.cast(tf.random.normal([rows, inner]), dtype)
    right = tf.cast(tf.random.normal([inner, columns]), dtype)

    @tf.function(autograph=False)
    def products(times):
        # In a graph, as in a step: to start an operation by itself costs more than
        # a narrow product.
        return tf.while_loop(
            lambda k, _: k < times,
            lambda k, _: (k + 1, tf.matmul(left, right)),
            (0, tf.zeros([rows, columns], dtype)),
            parallel_iterations=1,
        )

    def trial(times: int) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        products(tf.constant(times))
        tf.test.experimental.sync_devices()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return wall / times, max(cpu, 1e-9) / times

    trial(1)
    times = max(1, int(_TRIAL_SECONDS / trial(1)[0]))
    wall, cpu = zip(*(trial(times) for _ in range(_TRIALS)), strict=True)
    return min(wall), min(cpu)
