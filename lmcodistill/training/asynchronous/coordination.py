"""The coordinator's group: it hands work to workers, and weights are on servers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lmcodistill.training import cluster


class Coordination(cluster.Group):
    """A group of one process, whose replicas are the workers that it calls.

    What is "per replica" is a list with a value of each worker's streams. A stream
    belongs to no process: it is read by whoever is free.
    """

    def __init__(self) -> None:
        """Calls the servers and workers that TF_CONFIG names; waits for them."""
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        self.strategy = tf.distribute.ParameterServerStrategy(resolver)
        self._coordinator = tf.distribute.coordinator.ClusterCoordinator(self.strategy)
        self.num_replicas = resolver.cluster_spec().num_tasks("worker")
        self.worker_index, self.num_workers = 0, 1
        self.is_chief, self.has_gpu = True, False
        self.devices = [f"{self.num_replicas} asynchronous workers"]

    def per_replica(self, make: Callable[[int], Any]) -> list[Any]:
        """Returns one value (a nest) for each worker's streams."""
        return [make(replica) for replica in range(self.num_replicas)]

    def call(self, compiled: Callable[..., Any], args: Sequence[Any]) -> Any:
        """Returns what a compiled function makes of `args`, on any worker.

        Waits for it. What a worker does not live to answer is asked of another; it
        may have made its update already.
        """
        return self._coordinator.fetch(self._coordinator.schedule(compiled, args))

    def reduce(
        self, tensors: Sequence[tf.Tensor], dtype: tf.DType | None = None
    ) -> list[tf.Tensor]:
        """Returns the tensors: a worker's gradients are added to nobody's."""
        return list(tensors)

    def gather_streams(self, nest: Any, streams: int) -> Any:
        """Returns the state of all streams, in order; see `Group.gather_streams`."""
        return tf.nest.map_structure(lambda *x: np.concatenate(x), *nest)
