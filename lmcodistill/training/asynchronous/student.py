"""A student whose workers make their updates without waiting for each other.

Each worker's streams are another batch. Whenever an update of one of these batches
is done, its next window goes to whichever worker is free, with the state that the
streams carry: what a lost worker was at is done again by another. A gradient is of
the weights at the time when its worker read them, and is applied to what others have
made of them since; how many updates lie between is its staleness.
"""

from concurrent import futures
from typing import Any

import numpy as np
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.exports import writer
from lmcodistill.model import registry
from lmcodistill.training import job as job_lib
from lmcodistill.training import step
from lmcodistill.training import student as student_lib
from lmcodistill.training.asynchronous import coordination
from lmcodistill.training.hooks.every import Every

# In a checkpoint's manifest: of each worker's streams, how many windows were read.
_WINDOWS_READ = "windows_read"


class AsynchronousUpdater(step.Updater):
    """An update of one worker's gradient alone, which measures its staleness."""

    def __init__(self, *args: Any, **kwargs: Any):
        """Makes slots and the count of updates on the parameter servers."""
        super().__init__(*args, **kwargs)
        self._count = tf.Variable(0, dtype=tf.int64, trainable=False)

    def _replica(
        self,
        gradients_of: Any,
        distil: bool,
        inputs: step.BatchInputs,
        control: step.Control,
        states: step.States,
    ) -> tuple[step.Totals, step.Control, step.States]:
        count_when_read = self._count.read_value()

        def gradients_after_count(*args: Any) -> Any:
            with tf.control_dependencies([count_when_read]):
                return gradients_of(*args)

        totals, agreed, states = super()._replica(
            gradients_after_count, distil, inputs, control, states
        )
        # The norm is of the whole gradient, which is there when it is.
        with tf.control_dependencies([totals.gradient_norm]):
            count = self._count.assign_add(1, read_value=True)
        staleness = tf.cast(count - 1 - count_when_read, tf.float32)
        return totals._replace(staleness=staleness), agreed, states


class AsynchronousStudent(student_lib.Student):
    """A student on the coordinator, its weights on parameter servers.

    A step is an update, whoever made it. Where weights are read, for an evaluation,
    a checkpoint or an export, the updates under way are waited for, so that step N
    is the state after N updates here as well.
    """

    _updater_class = AsynchronousUpdater

    def __init__(
        self,
        job: job_lib.Job,
        inputs: job_lib.Inputs,
        group: coordination.Coordination,
        **kwargs: Any,
    ):
        """Builds the student with new weights; arguments as `Student`."""
        super().__init__(job, inputs, group, **kwargs)
        # Evaluating reads the weights once per window: here, not from the servers.
        self._trained = self.published
        self.published = registry.build(
            inputs.model, inputs.data.manifest.vocab_size, self._trained_weights()
        )
        self._windows_read = [0] * group.num_replicas
        self._threads = futures.ThreadPoolExecutor(group.num_replicas)
        self._under_way: dict[futures.Future, int] = {}
        self._begun, self._is_stopping = 0, False
        training, last = job.training, job.training.last_step
        self._reads = [
            Every(training.evaluate_every_steps, last),
            Every(training.checkpoint_every_steps, last),
            Every(job.exchange.publish_every_steps, last),
        ]

    def update(
        self, number: int, control: step.Control = student_lib.NO_CONTROL
    ) -> tuple[step.Totals, step.Control]:
        """Waits for the update that moves step `number` to `number + 1`.

        Returns:
            Its totals, and whether to stop now: nothing is under way any more.
        """
        self._is_stopping |= bool(control.stop)
        self._begin(number)
        done, _ = futures.wait(self._under_way, return_when=futures.FIRST_COMPLETED)
        first = done.pop()
        replica = self._under_way.pop(first)
        totals, _, self._state[replica] = first.result()
        self._windows_read[replica] += 1
        if self._is_stopping or self._is_read(number + 1):
            self._fetch_weights()
        has_stopped = self._is_stopping and not self._under_way
        return totals, step.Control(stop=float(has_stopped))

    def _begin(self, number: int) -> None:
        """Begins updates until no streams are left, or weights will be read."""
        if not self._under_way:
            self._begun = number
        # Alone while it is traced; and one by one to the end.
        is_alone = self._is_stopping or not self.num_traces
        most = 1 if is_alone else self._group.num_replicas
        while len(self._under_way) < most and (
            self._begun == number or not self._is_read(self._begun)
        ):
            replicas = set(range(self._group.num_replicas))
            free = replicas - set(self._under_way.values())
            replica = min(free, key=lambda r: (self._windows_read[r], r))
            window = self._windows_read[replica]
            rate = self.learning_rate_at(self._begun)
            task = self._threads.submit(
                self._updater,
                self._batch(replica, window, self._begun, rate, 0.0),
                step.Control(*(tf.zeros([]) for _ in step.Control._fields)),
                self._state[replica],
                (),
                False,
            )
            self._under_way[task] = replica
            self._begun += 1

    def _is_read(self, number: int) -> bool:
        """Returns whether the weights of a step are read before the next update."""
        return any(every.is_due(number) for every in self._reads)

    def _trained_weights(self) -> dict[str, np.ndarray]:
        return writer.weights_of(self._trained)

    def _fetch_weights(self) -> None:
        for name, value in self._trained_weights().items():
            self.published.weights[name].assign(value)

    def manifest(self) -> dict[str, Any]:
        """Returns what a checkpoint's manifest says; see `Student.manifest`."""
        return super().manifest() | {_WINDOWS_READ: self._windows_read}

    def restore(
        self, values: dict[str, np.ndarray], manifest: dict[str, Any], source: str
    ) -> None:
        """Puts a checkpoint's tensors in place; what is under way is dropped.

        Raises:
            SnapshotError: it is of another strategy, number of workers, or model.
        """
        workers, saved = self._group.num_replicas, manifest.get(_WINDOWS_READ, ())
        if len(saved) != workers:
            raise errors.SnapshotError(
                f"{source} is of {len(saved) or 'no'} asynchronous workers, and here "
                f"are {workers}: each goes on where its streams are. Start as many, "
                "with the same --strategy, or give another --run_dir.",
                reason="workers",
            )
        futures.wait(self._under_way)
        self._under_way.clear()
        super().restore(values, manifest, source)
        self._windows_read = list(saved)
        self._fetch_weights()
