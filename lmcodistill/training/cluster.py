"""A group: the processes that train one student together, synchronously.

Wraps `MultiWorkerMirroredStrategy` with the few collectives that the trainer
needs. Every method marked *collective* must be called by all workers of the
group, in the same order.
"""

import json
import pathlib
import platform
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lmcodistill import errors

# What a worker sees when another one is gone.
LOST_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.FailedPreconditionError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
)

_MIN_WORDS = 64
# Gradients travel in packs of about this size, the last layer's first, while the
# others are still being made. In one pack, TensorFlow's default, the sum of the
# paper's model over two local workers took twice as long (2026-11-22).
_BYTES_PER_PACK = 8 << 20


class Group:
    """The workers of one student.

    Attributes:
        strategy: What makes variables mirrored.
        worker_index: This process among the group's, 0 is the chief.
        num_workers: Processes in the group.
        num_replicas: Devices in the group, R.
        is_chief: Whether this process writes what the group leaves.
        has_gpu: Whether this process's replicas are GPUs.
        devices: Those of this process's replicas, by name, for people.
    """

    def __init__(self) -> None:
        """Joins the group that TF_CONFIG describes; waits for its members."""
        self.devices = _devices()
        self.has_gpu = bool(tf.config.list_physical_devices("GPU"))
        implementation = tf.distribute.experimental.CommunicationImplementation
        options = tf.distribute.experimental.CommunicationOptions(
            implementation=implementation.AUTO if self.has_gpu else implementation.RING,
            bytes_per_pack=_BYTES_PER_PACK,
        )
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy(
            communication_options=options
        )
        resolver = self.strategy.cluster_resolver
        workers = resolver.cluster_spec().as_dict().get("worker", [""])
        self.worker_index = int(resolver.task_id or 0)
        self.num_workers = len(workers)
        self.num_replicas = self.strategy.num_replicas_in_sync
        self.is_chief = self.worker_index == 0
        self._num_local = self.num_replicas // self.num_workers
        self._sum = tf.function(self._sum_over_replicas, autograph=False)

    def share_of(self, streams: int, micro_batches: int = 1) -> int:
        """Returns how many of `streams` each replica takes, in so many passes.

        Raises:
            UsageError: they cannot be shared out evenly.
        """
        parts = self.num_replicas * micro_batches
        if streams % parts:
            passes = f" in {micro_batches} passes each" if micro_batches > 1 else ""
            raise errors.UsageError(
                f"GLOBAL_BATCH_SIZE = {streams} cannot be shared by "
                f"{self.num_replicas} replicas{passes}. Choose a multiple of {parts}."
            )
        return streams // self.num_replicas

    def per_replica(self, make: Callable[[int], Any]) -> Any:
        """Returns one value (a nest) per local replica, as `strategy.run` takes them.

        `make` is given the replica's number in the group.
        """
        first = self.worker_index * self._num_local
        if self._num_local == 1:
            return make(first)
        values = [make(first + k) for k in range(self._num_local)]
        return tf.nest.map_structure(
            lambda *values: self.strategy.experimental_distribute_values_from_function(
                lambda context: values[context.replica_id_in_sync_group - first]
            ),
            *values,
        )

    def call(self, compiled: Callable[..., Any], args: Sequence[Any]) -> Any:
        """Returns what a compiled function of the replicas makes of `args`."""
        return compiled(*args)

    def reduce(
        self, tensors: Sequence[tf.Tensor], dtype: tf.DType | None = None
    ) -> list[tf.Tensor]:
        """Returns the sums over all replicas, inside a replica's graph. Collective.

        The tensors are of one type; `dtype` is the one they are added in, if another.
        """
        if self.num_replicas == 1:
            return list(tensors)  # TensorFlow would copy them into packs and back.
        context = tf.distribute.get_replica_context()
        sums = context.all_reduce(
            tf.distribute.ReduceOp.SUM, [tf.cast(t, dtype or t.dtype) for t in tensors]
        )
        return [tf.cast(s, t.dtype) for s, t in zip(sums, tensors, strict=True)]

    def _sum_over_replicas(self, values: Any) -> Any:
        # An argument has no device yet, and a collective needs one.
        return self.strategy.run(lambda x: self.reduce([tf.identity(x)])[0], (values,))

    def sum(self, value: np.ndarray) -> np.ndarray:
        """Returns the sum of one array over the workers. Collective."""
        if self.num_workers == 1:
            return value
        zeros = np.zeros_like(value)
        # Of a worker's replicas, the first gives the array and the others zeros.
        total = self._sum(
            self.per_replica(
                lambda r: tf.convert_to_tensor(zeros if r % self._num_local else value)
            )
        )
        return self.strategy.experimental_local_results(total)[0].numpy()

    def any(self, *flags: bool) -> list[bool]:
        """Returns of each flag whether any worker set it. Collective."""
        if self.num_workers == 1:
            return list(flags)
        return [bool(x) for x in self.sum(np.asarray(flags, np.int32))]

    def broadcast_json(self, value: Any) -> Any:
        """Returns the chief's JSON value on every worker. Collective."""
        content = json.dumps(value).encode() if self.is_chief else b""
        if self.num_workers == 1:
            return json.loads(content)
        length = int(self.sum(np.asarray([len(content)], np.int64))[0])
        # Few sizes, because every new one is traced.
        words = np.zeros(
            max(_MIN_WORDS, 1 << (-(-length // 4) - 1).bit_length()), np.int32
        )
        words.view(np.uint8)[: len(content)] = np.frombuffer(content, np.uint8)
        # The others add zeros: a sum is the one collective that is used.
        return json.loads(self.sum(words).tobytes()[:length])

    def gather_streams(self, nest: Any, streams: int) -> Any:
        """Returns per-stream state of the whole group. Collective.

        Args:
            nest: Per replica, tensors [B / R, ...], as `strategy.run` returned.
            streams: B.

        Returns:
            The nest with [B, ...] arrays, streams in order.
        """

        def gather(value: Any) -> np.ndarray:
            local = self.strategy.experimental_local_results(value)
            rows = np.concatenate([x.numpy() for x in local])
            whole = np.zeros((streams, *rows.shape[1:]), rows.dtype)
            first = self.worker_index * len(rows)
            whole[first : first + len(rows)] = rows
            return self.sum(whole)

        return tf.nest.map_structure(gather, nest)


def _devices() -> list[str]:
    """Returns the names of the GPUs that replicas are on, or of the processor."""
    names = [
        tf.config.experimental.get_device_details(device).get("device_name", "GPU")
        for device in tf.config.list_physical_devices("GPU")
    ]
    return [f"GPU {i}: {name}" for i, name in enumerate(names)] or [_processor()]


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [x.partition(":")[2].strip() for x in lines if x.startswith("model name")]
    return f"CPU: {names[0] if names else platform.machine()}"
