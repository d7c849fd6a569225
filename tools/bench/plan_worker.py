"""One of the processes whose figures `python -m tools.bench plan` asks for.

Started as a worker of a group would be, as many at once as will train. Measures
what `lmcodistill plan --measure` measures, and an all-reduce of its group, while
the others do the same.

Example:
  TF_CONFIG=... python -m tools.bench.plan_worker --settings FILE --output DIR
"""

import argparse
import dataclasses
import json
import pathlib
import time
from collections.abc import Callable

from lmcodistill import tf_environment
from lmcodistill.settings import model, training

GO, READY = "go", "ready"
_FEW = 1_024


def main() -> None:
    """Joins its group, waits for all others, measures, writes one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--name", required=True)
    flags = parser.parse_args()
    asked = json.loads(flags.settings.read_text())
    tf_environment.start()
    from lmcodistill.model import cost
    from lmcodistill.planning import rates
    from lmcodistill.training import cluster

    group = cluster.Group()
    worker = f"{flags.name}-{group.worker_index}"
    (flags.output / f"{READY}-{worker}").touch()
    while not (flags.output / GO).exists():
        time.sleep(0.01)
    config = model.LanguageModel(**asked["model"])
    sizes = (asked["vocab_size"], asked["streams"], asked["window"])
    measured: dict[str, dict[str, object]] = {}
    for name, clock in (("wall", time.perf_counter), ("cpu", time.process_time)):
        machine = rates.measure(config, training.Optimizer(), *sizes, clock)
        measured[name] = {"machine": dataclasses.asdict(machine)}
        if group.num_workers > 1:
            many = cost.weight_bytes(config, asked["vocab_size"]) // 4
            measured[name] |= {
                "few_seconds": _all_reduce_seconds(group, _FEW, clock),
                "many_seconds": _all_reduce_seconds(group, many, clock),
                "bytes": 4 * (many - _FEW),
            }
    (flags.output / f"{worker}.json").write_text(json.dumps(measured))
    group.any(False)  # None leaves while another still measures.


def _all_reduce_seconds(group, length: int, clock: Callable[[], float]) -> float:
    """Returns what adding up one tensor takes, as the step does it."""
    import tensorflow as tf

    value = tf.ones([length])

    def replica():
        context = tf.distribute.get_replica_context()
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

    @tf.function(autograph=False)
    def add():
        return group.strategy.run(replica)

    # The same number on all workers, or they would wait for each other for ever.
    durations = []
    for _ in range(12):
        began = clock()
        group.strategy.experimental_local_results(add())[0][0].numpy()
        durations.append(clock() - began)
    return sorted(durations[2:])[len(durations[2:]) // 2]


if __name__ == "__main__":
    main()
