"""One optimizer update of one student, on all its replicas.

The arithmetic is the model room's; here it is put together inside the strategy:
every replica computes the gradient of its streams, the group sums, every replica
makes the same update. All that changes from step to step comes in as tensors,
so one trace serves the run (one more whenever the set of teachers changes
shape).

An update whose sums are not finite is skipped: weights, slots and carried states
stay as they are. The sums are the group's, so all replicas skip alike.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from lmcodistill.codistill import teachers as teachers_lib
from lmcodistill.model import contract, objective, optimizers, scoring
from lmcodistill.settings import codistillation, training
from lmcodistill.training import cluster

Models = tuple[contract.Model, ...]
States = tuple[contract.State, ...]  # The student's, and its teachers'.
Compiled = Any  # What `tf.function` returns; TensorFlow has no public type for it.


class BatchInputs(NamedTuple):
    """What one replica's update reads, besides the states.

    Attributes:
        tokens: [B / R, T] int32.
        targets: [T * B / R] int32, time-major: the token after each.
        is_start: [B / R, T] bool.
        learning_rate: Scalar float32.
        distillation_weight: Scalar float32.
        temperature: Scalar float32, of psi; read where it changes during training.
        number: Scalar float32, the update's number, 1 for the first.
        dropout_seed: [2] int32.
    """

    tokens: Any
    targets: Any
    is_start: Any
    learning_rate: Any
    distillation_weight: Any
    temperature: Any
    number: Any
    dropout_seed: Any


class Control(NamedTuple):
    """What workers tell each other beside a batch; it changes no update.

    It travels with the losses, so that agreeing costs no collective of its own.
    As an update's result, the sum over the group's replicas.

    Attributes:
        stop: Scalar float32, 1.0 where this worker was asked to stop.
        teachers_ready: Scalar float32, 1.0 where the chief has staged new teachers.
    """

    stop: Any = 0.0
    teachers_ready: Any = 0.0


class Totals(NamedTuple):
    """What the group reports of one update.

    Attributes:
        label_loss: Nats, summed over the global batch.
        soft_loss: As `objective.Sums`.
        teacher_label_loss: As `objective.Sums`.
        agreement: As `objective.Sums`.
        open: As `objective.Sums`.
        taught: 1.0 where there were soft targets, else 0.0.
        gradient_norm: Before clipping.
        skipped: 1.0 where one of the others is not finite, else 0.0.
    """

    label_loss: tf.Tensor
    soft_loss: tf.Tensor
    teacher_label_loss: tf.Tensor
    agreement: tf.Tensor
    open: tf.Tensor
    taught: tf.Tensor
    gradient_norm: tf.Tensor
    skipped: tf.Tensor


class Updater:
    """The student's weights, its optimizer's slots and the compiled update.

    Attributes:
        model: The student.
        mean: The mean of its weights over the updates, as a model; None: there is none.
        slots: Per slot name, per weight name, a variable.
        tracing_seconds: Of all calls so far that traced or compiled first, what they
            then computed included.
    """

    def __init__(
        self,
        group: cluster.Group,
        model: contract.Model,
        optimizer: training.Optimizer,
        *,
        use_xla: bool,
        tokens_per_step: int,
        distillation: codistillation.Distillation,
        is_mix: bool,
        fixed_targets: np.ndarray | None,
        mean: contract.Model | None = None,
        average_decay: float = 0.0,
    ):
        """Makes the slots; call inside the strategy's scope, like the model.

        `tokens_per_step` is B * T; `is_mix` is `DistillationWeight.mix`;
        `fixed_targets`, [V] float32, is what label smoothing has in place of
        teachers. `mean` follows the weights by `average_decay`.
        """
        self.model, self._group, self._optimizer = model, group, optimizer
        self.mean, self._average_decay = mean, average_decay
        self._rule = optimizers.rule(optimizer)
        self._use_xla, self._tokens_per_step = use_xla, tokens_per_step
        self._distillation, self._is_mix = distillation, is_mix
        self._fixed_targets = fixed_targets
        self.slots = {
            slot: {
                name: tf.Variable(
                    tf.fill(v.shape, tf.cast(value, v.dtype)), trainable=False
                )
                for name, v in model.weights.items()
            }
            for slot, value in self._rule.slots.items()
        }
        self._compiled: list[Compiled] = []
        self.tracing_seconds = 0.0
        # By the models: a swap changes their weights, and no graph.
        self._update_of = functools.cache(self._compile_update)
        self._read_of = functools.cache(self._compile_read)
        self._measure_of = functools.cache(self._compile_measure)

    def __call__(
        self,
        inputs: BatchInputs,
        control: Control,
        state: contract.State,
        teachers: Sequence[teachers_lib.Teacher],
        distil: bool,
    ) -> tuple[Totals, Control, contract.State]:
        """Makes one update; the teachers' states move on as well. Collective.

        Args:
            inputs: Per replica.
            control: Per replica.
            state: The student's carried state, per replica.
            teachers: Those that teach in this step.
            distil: Whether soft targets count; without, none is computed.

        Returns:
            The group's totals, its control, and the student's new state per replica.
        """
        teachers = teachers if distil else ()
        update = self._update_of(tuple(t.model for t in teachers), distil)
        states = (state, *(t.state for t in teachers))
        totals, agreed, (state, *theirs) = update(inputs, control, states)
        for teacher, new_state in zip(teachers, theirs, strict=True):
            teacher.state = new_state
        return totals, agreed, state

    @property
    def num_traces(self) -> int:
        """How many times an update or a read was traced; swaps must add none."""
        return sum(f.experimental_get_tracing_count() for f in self._compiled)

    def read(
        self, model: contract.Model, inputs: BatchInputs, state: contract.State
    ) -> contract.State:
        """Returns the state of a teacher after reading a window, per replica."""
        return self._read_of((model,))(inputs, state)

    def measure(
        self,
        inputs: BatchInputs,
        state: contract.State,
        teachers: Sequence[teachers_lib.Teacher],
    ) -> scoring.Confirmation:
        """Returns what labels say of student and teachers, summed. Collective.

        Nothing changes, carried states included; there is no dropout.

        Args:
            inputs: Per replica: a batch that is not learnt from yet.
            state: The student's carried state, per replica.
            teachers: At least one.
        """
        measure = self._measure_of(tuple(t.model for t in teachers))
        return measure(inputs, (state, *(t.state for t in teachers)))

    def _first(self, values: Any) -> Any:
        """Returns the first local replica's; of sums, all replicas have the same."""
        local = self._group.strategy.experimental_local_results
        return tf.nest.map_structure(lambda x: local(x)[0], values)

    def _compile(
        self, replica: Callable[..., Any], finish: Callable[[Any], Any] = lambda x: x
    ) -> Callable[..., Any]:
        """Returns what runs a function on every replica, and another on the results."""

        def on_replicas(*args: Any) -> Any:
            return finish(self._group.strategy.run(replica, args))

        compiled = tf.function(on_replicas, autograph=False)
        self._compiled.append(compiled)

        def call(*args: Any) -> Any:
            traces = compiled.experimental_get_tracing_count()
            began = time.monotonic()
            results = compiled(*args)
            if compiled.experimental_get_tracing_count() > traces:
                self.tracing_seconds += time.monotonic() - began
            return results

        return call

    def _compile_read(self, models: Models) -> Callable[..., Any]:
        [model] = models
        return self._compile(lambda x, state: model(x.tokens, x.is_start, state)[1])

    def _compile_measure(self, teachers: Models) -> Callable[..., Any]:
        def replica(inputs: BatchInputs, states: States) -> scoring.Confirmation:
            heads = [
                model.output_head(model(inputs.tokens, inputs.is_start, state)[0])
                for model, state in zip((self.model, *teachers), states, strict=True)
            ]
            values = scoring.confirmation(heads[0], heads[1:], inputs.targets)
            sums = self._group.reduce([tf.reduce_sum(x) for x in values])
            return scoring.Confirmation(*sums)

        return self._compile(replica, self._first)

    def _compile_update(self, teachers: Models, distil: bool) -> Callable[..., Any]:
        gradients_of: Callable[..., Any]
        gradients_of = functools.partial(self._gradients, teachers, distil)
        if self._use_xla:
            gradients_of = tf.function(gradients_of, jit_compile=True, autograph=False)
        return self._compile(
            functools.partial(self._replica, gradients_of, distil),
            lambda results: (*self._first(results[:2]), results[2]),
        )

    def _replica(
        self,
        gradients_of: Callable[[BatchInputs, States], tuple[Any, ...]],
        distil: bool,
        inputs: BatchInputs,
        control: Control,
        states: States,
    ) -> tuple[Totals, Control, States]:
        """Gradient, sum over the group, update; runs once per replica."""
        gradients, sums, new_states = gradients_of(inputs, states)
        dtype = tf.bfloat16 if self._optimizer.all_reduce_dtype == "bfloat16" else None
        gradients = self._group.reduce(gradients, dtype)
        # In one collective: each costs a round trip, however little it carries.
        [report] = self._group.reduce(
            [tf.stack([tf.cast(x, tf.float32) for x in (*sums, *control)])]
        )
        scale, norm = optimizers.clip_scale(gradients, self._optimizer.clip_norm)
        norm = tf.cast(norm, tf.float32)
        is_finite = tf.reduce_all(tf.math.is_finite(tf.concat([report, [norm]], 0)))
        self._apply(gradients, scale, is_finite, inputs)
        states = tf.cond(is_finite, lambda: new_states, lambda: states)
        skipped = 1.0 - tf.cast(is_finite, tf.float32)
        *sums, stop, teachers_ready = tf.unstack(report)
        taught = tf.constant(float(distil))
        totals = Totals._make([*sums, taught, norm, skipped])
        return totals, Control(stop, teachers_ready), states

    def _gradients(
        self, teachers: Models, distil: bool, inputs: BatchInputs, states: States
    ) -> tuple[list[tf.Tensor], tuple[tf.Tensor, ...], States]:
        """Returns one replica's gradients, its sums and the new states."""
        state, *their_states = states
        soft = None
        if distil:
            soft, their_states = self._soft_targets(teachers, inputs, their_states)
        model = self.model
        weight = tf.cast(inputs.distillation_weight, model.dtype)
        with tf.GradientTape() as tape:
            hidden, state = model(
                inputs.tokens, inputs.is_start, state, inputs.dropout_seed
            )
            total, sums = objective.training_objective(
                model.output_head(hidden),
                inputs.targets,
                tf.ones(inputs.targets.shape, model.dtype),
                soft,
                weight,
            )
            loss = total / self._tokens_per_step
            if self._is_mix and distil:
                loss /= 1.0 + weight
        gradients = [
            tf.convert_to_tensor(g)  # The embedding's is sparse; the update is not.
            for g in tape.gradient(loss, list(model.weights.values()))
        ]
        return gradients, tuple(sums), (state, *their_states)

    def _soft_targets(
        self, teachers: Models, inputs: BatchInputs, states: Sequence[contract.State]
    ) -> tuple[objective.SoftTargets, list[contract.State]]:
        """Runs the teachers over the window; returns the targets, their states."""
        heads, new_states = [], []
        for teacher, state in zip(teachers, states, strict=True):
            hidden, new_state = teacher(inputs.tokens, inputs.is_start, state)
            heads.append(teacher.output_head(hidden))
            new_states.append(new_state)
        fixed = None
        if self._fixed_targets is not None:
            fixed = tf.constant(self._fixed_targets, self.model.dtype)
        settings = self._distillation
        temperature: float | tf.Tensor = settings.temperature
        if settings.final_temperature is not None:
            temperature = tf.cast(inputs.temperature, self.model.dtype)
        soft = objective.SoftTargets(
            heads,
            fixed,
            settings.loss,
            temperature,
            settings.gate,
            settings.gate_confidence,
        )
        return soft, new_states

    def _apply(
        self,
        gradients: list[tf.Tensor],
        scale: tf.Tensor,
        is_finite: tf.Tensor,
        inputs: BatchInputs,
    ) -> None:
        """Changes weights, slots and means in place, where `is_finite` holds."""
        rate = tf.cast(inputs.learning_rate, self.model.dtype)

        def change(
            weight: Any,
            gradient: Any,
            slots: list[Any],
            means: list[Any],
            *scalars: Any,
        ) -> None:
            scale, is_finite, rate, number = scalars

            def update() -> None:
                self._rule.update(weight, gradient * scale, slots, rate, number)
                for mean in means:
                    optimizers.move_mean(mean, weight, self._average_decay, number)

            tf.cond(is_finite, update, lambda: None)

        def merge(strategy: Any, gradients: list[Any], *scalars: Any) -> None:
            for (name, weight), gradient in zip(
                self.model.weights.items(), gradients, strict=True
            ):
                slots = [slots[name] for slots in self.slots.values()]
                means = [self.mean.weights[name]] if self.mean else []
                strategy.extended.update(
                    weight, change, (gradient, slots, means, *scalars), group=False
                )

        tf.distribute.get_replica_context().merge_call(
            merge, args=(gradients, scale, is_finite, rate, inputs.number)
        )
