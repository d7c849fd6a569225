"""Everything a student is between two steps, and how it is saved and restored.

The weights, the optimizer's slots, the carried state of every stream, and the
teachers. What the next step reads is not among it: that follows from the step.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lmcodistill.codistill import fixed_targets, teacher_dtype, teachers
from lmcodistill.exports import reader
from lmcodistill.model import contract, gradient_angle, registry, states, weights
from lmcodistill.storage import faults, tensors
from lmcodistill.training import cluster, replica_gradients, step
from lmcodistill.training import guide as guide_lib
from lmcodistill.training import job as job_lib

NO_CONTROL = step.Control()


class Student:
    """A student on this worker.

    Attributes:
        model: Its language model.
        published: What is evaluated and exported: `model`, or a model whose weights
            are the means of its weights over the updates.
        teachers: Its teachers.
        taught_from: The first step that may have soft targets.
        distillation_weight: Of the last update.
        rollbacks: How often it went back to a checkpoint because it diverged.
            Each lowers the learning rate for the rest of the run: what a step
            reads follows from the step, so the same rate would diverge again.
    """

    _updater_class = step.Updater

    def __init__(
        self,
        job: job_lib.Job,
        inputs: job_lib.Inputs,
        group: cluster.Group,
        on_trace: Callable[[], None] = lambda: None,
    ):
        """Builds the student with new weights. Collective.

        `on_trace` is called before anything is traced, which may take minutes.
        """
        self._job, self._inputs, self._group = job, inputs, group
        self._streams = job.num_streams
        self._micro_batches = job.batches.micro_batches
        self._share = group.share_of(self._streams, self._micro_batches)
        manifest = inputs.data.manifest
        # Two students must not start alike, unless their weights are averaged.
        seed = job.training.seed + (0 if job.training.shared_start else job.student)
        sizes = inputs.model, manifest.vocab_size
        initial = weights.initial(*sizes, seed)
        decay = job.training.average_decay
        with group.strategy.scope():
            self.model = registry.build(
                *sizes, initial, recompute=job.training.recompute
            )
            mean = registry.build(*sizes, initial) if decay else None
            gradients = replica_gradients.ReplicaGradients(
                self.model,
                job.distillation,
                is_mix=job.weight.mix,
                fixed_targets=self._distribution(),
                tokens_per_step=job.tokens_per_step,
                micro_batches=self._micro_batches,
                use_xla=job.training.xla == "on"
                or (job.training.xla == "auto" and group.has_gpu),
            )
            self._updater = self._updater_class(
                *(group, gradients, job.optimizer),
                mean=mean,
                average_decay=decay,
                on_trace=on_trace,
            )
        self.published = mean or self.model
        self._state = self._zero_state(self.model)
        self.rollbacks = 0
        self.taught_from = job.taught_from(inputs.windows.windows_per_epoch)
        self.distillation_weight = 0.0
        self._guide = None
        if inputs.guide is not None:
            self._guide = guide_lib.Guide(job, inputs, group, self._updater)
        is_native = teacher_dtype.is_native_here()
        self.teachers = teachers.TeacherPool(
            carry_state=job.exchange.state_on_swap == "carry",
            new_state=self._new_teacher_state,
            scope=group.strategy.scope,
            adapt=lambda config: teacher_dtype.of_teacher(
                config, job.distillation.teacher_compute_dtype, is_native
            ),
        )

    def update(
        self, number: int, control: step.Control = NO_CONTROL
    ) -> tuple[step.Totals, step.Control]:
        """Makes the update that moves step `number` to `number + 1`. Collective.

        Returns:
            The group's totals, and what all of its replicas had to tell.
        """
        is_taught = self._is_taught(number)
        weight = self._weight_at(number) if is_taught else 0.0
        # A measured weight is 0.0 at times; the teachers read on meanwhile.
        distil = is_taught and (weight > 0.0 or self._guide is not None)
        self.distillation_weight = weight
        rate = self.learning_rate_at(number)
        if faults.point("update.rate"):
            rate = math.nan
        constants = step.Control(*(tf.constant(x, tf.float32) for x in control))
        totals, agreed, self._state = self._updater(
            self._inputs_at(number, rate, weight),
            self._group.per_replica(lambda _: constants),
            self._state,
            self.teachers.active,
            distil,
        )
        return totals, agreed

    def _is_taught(self, number: int) -> bool:
        """Returns whether there are soft targets for the update of step `number`."""
        targets = self._job.distillation.targets
        has_targets = self.teachers.active or targets in fixed_targets.DISTRIBUTIONS
        return bool(has_targets) and number >= self.taught_from

    def gradient_angle(self, number: int) -> gradient_angle.GradientAngle | None:
        """Returns the angle of the two terms' gradients before an update. Collective.

        None without soft targets.
        """
        if not self._is_taught(number):
            return None
        angle = self._updater.angle(
            self._inputs_at(number), self._state, self.teachers.active
        )
        return gradient_angle.GradientAngle(*map(float, angle))

    def _weight_at(self, number: int) -> float:
        """Returns the distillation weight of an update. Collective."""
        limit = self._job.weight.at(number)
        if self._guide is None:
            return limit
        return self._guide.weight_at(number, limit, self.teachers.active)

    def learning_rate_at(self, number: int) -> float:
        """Returns the rate for the update that moves step `number` on."""
        factor = self._job.training.rollback_rate_factor**self.rollbacks
        return self._job.learning_rate.at(number) * factor

    def average_with(self, peers: Sequence[reader.Export]) -> None:
        """Makes the weights the mean of this student's and its peers'.

        In the order of students, so that all of them get the same bits. The
        optimizer's slots stay its own.
        """
        weights_here = {n: v.numpy() for n, v in self.model.weights.items()}
        by_student = {self._job.student: weights_here} | {
            p.student: p.weights for p in peers
        }
        for name, variable in self.model.weights.items():
            values = [by_student[student][name] for student in sorted(by_student)]
            variable.assign(np.mean(values, axis=0, dtype=np.float64))

    @property
    def guide_report(self) -> dict[str, float | None]:
        """What is reported of the guide; nothing where nothing is measured."""
        return {} if self._guide is None else self._guide.report

    @property
    def num_traces(self) -> int:
        """How many times the update was traced."""
        return self._updater.num_traces

    @property
    def tracing_seconds(self) -> float:
        """Time that went into tracing and compiling so far; see `step.Updater`."""
        return self._updater.tracing_seconds

    def _inputs_at(self, number: int, rate: float = 0.0, weight: float = 0.0) -> Any:
        """Returns what the update of step `number` reads, per replica."""
        return self._group.per_replica(
            lambda replica: self._batch(replica, number, number, rate, weight)
        )

    def _batch(
        self, replica: int, window_number: int, number: int, rate: float, weight: float
    ) -> replica_gradients.BatchInputs:
        """Returns a window of a replica's streams, for the update of step `number`."""
        window = self._inputs.windows.at(
            window_number, replica * self._share, self._share
        )
        temperature = self._job.distillation.temperature_at(
            number, self._job.weight.burn_in_steps
        )
        # Room for the layers' offsets between two runs' seeds; one seed for each part
        # of the batch that is drawn by itself.
        seed = (self._job.training.seed + self._job.student) * 1_000
        part = number * self._group.num_replicas + replica
        seeds = [seed, part * self._micro_batches]
        return replica_gradients.BatchInputs(
            tf.constant(window.inputs),
            tf.constant(window.flat_targets),
            tf.constant(window.is_start),
            tf.constant(rate, tf.float32),
            tf.constant(weight, tf.float32),
            tf.constant(temperature, tf.float32),
            tf.constant(number + 1, tf.float32),
            tf.constant(seeds, tf.int32),
        )

    def _zero_state(self, model: contract.Model) -> Any:
        return self._group.per_replica(lambda replica: model.initial_state(self._share))

    def _new_teacher_state(self, model: contract.Model, reached: int) -> contract.State:
        """Returns zeros, or what a teacher remembers of the last windows."""
        state = self._zero_state(model)
        settings = self._job.exchange
        if settings.state_on_swap != "recompute":
            return state
        for number in range(max(0, reached - settings.recompute_windows), reached):
            state = self._updater.read(model, self._inputs_at(number), state)
        return state

    def _distribution(self) -> np.ndarray | None:
        """Returns the [V] distribution of label smoothing, if that is asked for."""
        make = fixed_targets.DISTRIBUTIONS.get(self._job.distillation.targets)
        if make is None:
            return None
        text = self._inputs.text
        return make(
            self._inputs.data.manifest.vocab_size,
            lambda count: text.read(0, min(count, text.num_tokens)),
        )

    def digest(self) -> str:
        """Returns a digest of this worker's copy of what is exported.

        Workers of one group must agree on it bit for bit, and so must two runs
        with a scheduled exchange.
        """
        content = hashlib.sha256()
        for name in sorted(self.published.weights):
            content.update(self.published.weights[name].numpy().tobytes())
        return content.hexdigest()

    def _variables(self) -> dict[str, tf.Variable]:
        """Returns all that an update changes, by its name in a checkpoint."""
        named = {f"model/{n}": v for n, v in self.model.weights.items()}
        for slot, variables in self._updater.slots.items():
            named |= {f"optimizer/{slot}/{n}": v for n, v in variables.items()}
        if self._updater.mean:
            named |= {f"mean/{n}": v for n, v in self._updater.mean.weights.items()}
        return named

    def values(self) -> dict[str, tf.Tensor | np.ndarray]:
        """Returns every tensor of a checkpoint by name. Collective.

        The variables' own buffers, not copies: use them before the next update.
        """
        variables = self._variables()
        streams = self._state_values("state", self._state)
        for k, teacher in enumerate(self.teachers.active):
            theirs = teacher.model.weights.items()
            variables |= {f"teacher_{k}/model/{n}": v for n, v in theirs}
            streams |= self._state_values(f"teacher_{k}/state", teacher.state)
        if self._guide is not None:
            streams |= self._guide.values(self.teachers.active)
        return {n: tf.convert_to_tensor(v) for n, v in variables.items()} | streams

    def _state_values(self, prefix: str, state: Any) -> dict[str, np.ndarray]:
        values = states.by_path(self._group.gather_streams(state, self._streams))
        return {f"{prefix}/{path}": value for path, value in values.items()}

    def manifest(self) -> dict[str, Any]:
        """Returns what a checkpoint's manifest says of its tensors."""
        return {
            "student": self._job.student,
            "vocabulary": self._inputs.data.manifest.vocabulary,
            "global_batch_size": self._job.batches.global_batch_size,
            "rollbacks": self.rollbacks,
            "guide": None if self._guide is None else self._guide.manifest(),
            "teachers": [
                {
                    "peer": t.peer,
                    "step": t.step,
                    "incarnation": t.generation,
                    **registry.to_json(t.config),
                    "vocab_size": t.vocab_size,
                }
                for t in self.teachers.active
            ],
        }

    def restore(
        self, values: dict[str, np.ndarray], manifest: dict[str, Any], source: str
    ) -> None:
        """Puts a checkpoint's tensors in place. Collective.

        A student that goes back keeps count of it: the checkpoint is from before.

        Raises:
            SnapshotError: the tensors are not this student's.
        """
        others = ("teacher_", guide_lib.PREFIX)
        student = {n: v for n, v in values.items() if not n.startswith(others)}
        variables = self._variables()
        state = states.by_path(self.model.initial_state(self._streams))
        expected = variables | {f"state/{n}": x for n, x in state.items()}
        shapes = {name: tuple(x.shape) for name, x in expected.items()}
        tensors.check_table(student, shapes, source)
        for name, variable in variables.items():
            variable.assign(values[name])
        self._state = self._restored_state("state", self.model, values)
        self.rollbacks = max(self.rollbacks, manifest["rollbacks"])
        saved = [
            self._saved_teacher(k, described, values, source)
            for k, described in enumerate(manifest["teachers"])
        ]
        self.teachers.restore(saved)
        for k, teacher in enumerate(self.teachers.active):
            prefix = f"teacher_{k}/state"
            teacher.state = self._restored_state(prefix, teacher.model, values)
        if self._guide is not None:
            guide = manifest.get("guide")  # Earlier versions had none.
            self._guide.restore(values, guide, self.teachers.active, source)

    def _saved_teacher(
        self,
        index: int,
        described: dict[str, Any],
        values: dict[str, np.ndarray],
        source: str,
    ) -> teachers.PeerWeights:
        """Returns the `index`-th teacher of a checkpoint, its tensors checked."""
        config, vocab_size = registry.from_json(described), described["vocab_size"]
        prefix = f"teacher_{index}/model/"
        saved = {
            n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)
        }
        tensors.check_table(saved, weights.shapes(config, vocab_size), source)
        return teachers.PeerWeights(
            student=described["peer"],
            step=described["step"],
            generation=described["incarnation"],
            config=config,
            vocab_size=vocab_size,
            weights=saved,
        )

    def _restored_state(
        self, prefix: str, model: contract.Model, values: dict[str, np.ndarray]
    ) -> Any:
        zeros = model.initial_state(self._share)

        def of_replica(replica: int) -> contract.State:
            rows = slice(replica * self._share, (replica + 1) * self._share)
            leaves = {
                path: tf.constant(values[f"{prefix}/{path}"][rows])
                for path in states.by_path(zeros)
            }
            return states.like(zeros, leaves)

        return self._group.per_replica(of_replica)
