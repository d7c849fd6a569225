"""One optimizer update of one student, on all its replicas.

Every replica computes the gradient of its streams (`replica_gradients`), the group
sums, every replica makes the same update. All that changes from step to step comes in
as tensors, so one trace serves the run (one more whenever the set of teachers changes
shape).

An update whose sums are not finite is skipped: weights, slots and carried states
stay as they are. The sums are the group's, so all replicas skip alike.
"""

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from lmcodistill.codistill import teachers as teachers_lib
from lmcodistill.model import (
    contract,
    gradient_angle,
    optimizers,
    scoring,
)
from lmcodistill.settings import training
from lmcodistill.training import cluster, replica_gradients
from lmcodistill.training.replica_gradients import BatchInputs, Models, States

Compiled = Any  # What `tf.function` returns; TensorFlow has no public type for it.


class GuideInputs(NamedTuple):
    """What one replica reads of the guide, in its share of the streams.

    Attributes:
        tokens: [rows, T] int32.
        targets: [T * rows] int32, time-major: the token after each.
        is_start: [rows, T] bool.
        counts: [T * rows] bool: whether a target counts, or on another replica.
    """

    tokens: Any
    targets: Any
    is_start: Any
    counts: Any


class Control(NamedTuple):
    """What workers tell each other beside a batch; it changes no update.

    It travels with the losses, so that agreeing costs no collective of its own.
    As an update's result, the sum over the group's replicas.

    Attributes:
        stop: Scalar float32, 1.0 where this worker was asked to stop.
        teachers_ready: Scalar float32, 1.0 where the chief has staged new teachers.
        save: Scalar float32, 1.0 where this worker was asked for a checkpoint.
    """

    stop: Any = 0.0
    teachers_ready: Any = 0.0
    save: Any = 0.0


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
        staleness: Updates between the weights that the gradient is of and the update
            that it made; 0.0 where workers wait for each other.
    """

    label_loss: tf.Tensor
    soft_loss: tf.Tensor
    teacher_label_loss: tf.Tensor
    agreement: tf.Tensor
    open: tf.Tensor
    taught: tf.Tensor
    gradient_norm: tf.Tensor
    skipped: tf.Tensor
    staleness: Any = 0.0


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
        gradients: replica_gradients.ReplicaGradients,
        optimizer: training.Optimizer,
        *,
        mean: contract.Model | None = None,
        average_decay: float = 0.0,
        on_trace: Callable[[], None] = lambda: None,
    ):
        """Makes the slots; call inside the strategy's scope, like the model.

        `mean` follows the weights by `average_decay`. `on_trace` is called before
        anything is traced.
        """
        self.model = model = gradients.model
        self._group, self._gradients, self._optimizer = group, gradients, optimizer
        self.mean, self._average_decay = mean, average_decay
        self._rule = optimizers.rule(optimizer)
        self.slots = {
            slot: {name: self._slot_of(v, value) for name, v in model.weights.items()}
            for slot, value in self._rule.slots.items()
        }
        self._compiled: list[Compiled] = []
        self.tracing_seconds = 0.0
        self._on_trace = on_trace
        # By the models: a swap changes their weights, and no graph.
        self._update_of = functools.cache(self._compile_update)
        self._read_of = functools.cache(self._compile_read)
        self._measure_of = functools.cache(self._compile_measure)
        self._angle_of = functools.cache(self._compile_angle)

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
        self, inputs: GuideInputs, states: States, teachers: Sequence[contract.Model]
    ) -> tuple[scoring.Confirmation, States]:
        """Returns what labels say of student and teachers, summed. Collective.

        No weight changes, and there is no dropout.

        Args:
            inputs: Per replica.
            states: The student's and the teachers', per replica.
            teachers: At least one.

        Returns:
            The group's sums; and the new states per replica, which are the old ones
            where a sum is not finite.
        """
        return self._measure_of(tuple(teachers))(inputs, states)

    def angle(
        self,
        inputs: BatchInputs,
        state: contract.State,
        teachers: Sequence[teachers_lib.Teacher],
    ) -> gradient_angle.GradientAngle:
        """Returns how the group's gradients of phi and psi lie. Collective.

        They are those of an update, dropout included. Nothing changes; arguments as
        `measure`, and no teacher where the soft targets are fixed.
        """
        angle = self._angle_of(tuple(t.model for t in teachers))
        return angle(inputs, (state, *(t.state for t in teachers)))

    def _slot_of(self, weight: tf.Variable, value: float) -> tf.Variable:
        """Returns a new slot of a weight, on the device where the weight is."""
        with self._group.strategy.extended.colocate_vars_with(weight):
            initial = tf.fill(weight.shape, tf.cast(value, weight.dtype))
            return tf.Variable(initial, trainable=False)

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
            if not traces:
                self._on_trace()
            results = self._group.call(compiled, args)
            if compiled.experimental_get_tracing_count() > traces:
                self.tracing_seconds += time.monotonic() - began
            return results

        return call

    def _compile_read(self, models: Models) -> Callable[..., Any]:
        [model] = models
        return self._compile(lambda x, state: model(x.tokens, x.is_start, state)[1])

    def _compile_measure(self, teachers: Models) -> Callable[..., Any]:
        def replica(inputs: GuideInputs, states: States) -> tuple[tf.Tensor, States]:
            heads, new_states = [], []
            for model, state in zip((self.model, *teachers), states, strict=True):
                hidden, new_state = model(inputs.tokens, inputs.is_start, state)
                heads.append(model.output_head(hidden))
                new_states.append(new_state)
            values = scoring.confirmation(heads[0], heads[1:], inputs.targets)
            counted = [tf.where(inputs.counts, x, tf.zeros_like(x)) for x in values]
            # In one collective, as an update's.
            [sums] = self._group.reduce([tf.reduce_sum(tf.stack(counted), 1)])
            is_finite = tf.reduce_all(tf.math.is_finite(sums))
            return sums, tf.cond(is_finite, lambda: tuple(new_states), lambda: states)

        def finish(results: tuple[Any, States]) -> tuple[scoring.Confirmation, States]:
            sums, states = results
            return scoring.Confirmation(*tf.unstack(self._first(sums))), states

        return self._compile(replica, finish)

    def _compile_angle(self, teachers: Models) -> Callable[..., Any]:
        terms = self._gradients.of_terms(teachers)

        def replica(*args: Any) -> gradient_angle.GradientAngle:
            gradients = self._group.reduce(terms(*args))
            count = len(self.model.weights)
            return gradient_angle.between(gradients[:count], gradients[count:])

        return self._compile(replica, self._first)

    def _compile_update(self, teachers: Models, distil: bool) -> Callable[..., Any]:
        gradients_of = self._gradients.of_update(teachers, distil)
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
        *sums, stop, teachers_ready, save = tf.unstack(report)
        taught = tf.constant(float(distil))
        totals = Totals._make([*sums, taught, norm, skipped, tf.zeros([])])
        return totals, Control(stop, teachers_ready, save), states

    def _apply(
        self,
        gradients: list[tf.Tensor],
        scale: tf.Tensor,
        is_finite: tf.Tensor,
        inputs: BatchInputs,
    ) -> None:
        """Changes weights, slots and means in place, where `is_finite` holds."""
        rate = tf.cast(inputs.learning_rate, self.model.dtype)

        def merge(
            strategy: Any, gradients: list[Any], scale: Any, *scalars: Any
        ) -> None:
            is_finite, rate, number = self._first(scalars)

            def change_all() -> None:
                change = self._rule.at(rate, number)

                def change_one(
                    weight: Any, gradient: Any, scale: Any, slots: Any, means: Any
                ) -> None:
                    change(weight, gradient * scale, slots)
                    for mean in means:
                        optimizers.move_mean(mean, weight, self._average_decay, number)

                for (name, weight), gradient in zip(
                    self.model.weights.items(), gradients, strict=True
                ):
                    slots = [slots[name] for slots in self.slots.values()]
                    means = [self.mean.weights[name]] if self.mean else []
                    args = gradient, scale, slots, means
                    strategy.extended.update(weight, change_one, args, group=False)

            # One for all weights: each would cost its tracing.
            tf.cond(is_finite, change_all, lambda: None)

        tf.distribute.get_replica_context().merge_call(
            merge, args=(gradients, scale, is_finite, rate, inputs.number)
        )
