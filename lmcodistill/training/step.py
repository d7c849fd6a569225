"""One optimizer update of one student, on all its replicas.

The arithmetic is the model room's; here it is put together inside the strategy:
every replica computes the gradient of its streams, the group sums, every replica
makes the same update. All that changes from step to step comes in as tensors,
so one trace serves the run (one more whenever the set of teachers changes
shape).

An update whose sums are not finite is skipped: weights, slots and carried states
stay as they are. The sums are the group's, so all replicas skip alike.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from lmcodistill.codistill import teachers as teachers_lib
from lmcodistill.model import contract, objective, optimizers, scoring
from lmcodistill.settings import codistillation as codistillation_settings
from lmcodistill.training import cluster

Models = tuple[contract.Model, ...]
States = tuple[contract.State, ...]
Compiled = Any  # What `tf.function` returns; TensorFlow has no public type for it.


class Inputs(NamedTuple):
    """What one replica's update reads, besides the states.

    Attributes:
        tokens: [B / R, T] int32.
        targets: [T * B / R] int32, time-major: the token after each.
        is_start: [B / R, T] bool.
        learning_rate: Scalar float32.
        distillation_weight: Scalar float32.
        number: Scalar float32, the update's number, 1 for the first.
        dropout_seed: [2] int32.
    """

    tokens: Any
    targets: Any
    is_start: Any
    learning_rate: Any
    distillation_weight: Any
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
        gradient_norm: Before clipping.
        skipped: 1.0 where one of the others is not finite, else 0.0.
    """

    label_loss: tf.Tensor
    soft_loss: tf.Tensor
    teacher_label_loss: tf.Tensor
    agreement: tf.Tensor
    gradient_norm: tf.Tensor
    skipped: tf.Tensor


class Updater:
    """The student's weights, its optimizer's slots and the compiled update.

    Attributes:
        model: The student.
        slots: Per slot name, per weight name, a variable.
    """

    def __init__(
        self,
        group: cluster.Group,
        model: contract.Model,
        rule: optimizers.Rule,
        *,
        clip_norm: float,
        all_reduce_dtype: tf.DType | None,
        use_xla: bool,
        tokens_per_step: int,
        distillation: codistillation_settings.Distillation,
        fixed_targets: np.ndarray | None,
    ):
        """Makes the slots; call inside the strategy's scope.

        Args:
            group: Whose strategy.
            model: The student, made in the same scope.
            rule: The update rule.
            clip_norm: Largest global norm of the gradient.
            all_reduce_dtype: Type in which gradients travel between replicas;
                None: their own.
            use_xla: Whether XLA compiles the forward and the backward pass.
            tokens_per_step: Positions of the global batch, `B * T`.
            distillation: psi.
            fixed_targets: [V] float32 for label smoothing, else None.
        """
        self.model, self._group, self._rule = model, group, rule
        self._clip_norm, self._tokens_per_step = clip_norm, tokens_per_step
        self._all_reduce_dtype, self._use_xla = all_reduce_dtype, use_xla
        self._distillation, self._fixed_targets = distillation, fixed_targets
        self.slots = {
            slot: {
                name: tf.Variable(
                    tf.fill(v.shape, tf.cast(value, v.dtype)), trainable=False
                )
                for name, v in model.weights.items()
            }
            for slot, value in rule.slots.items()
        }
        # By the models themselves: their weights change, their graphs do not.
        self._updates: dict[tuple[bool, Models], Compiled] = {}
        self._reads: dict[contract.Model, Compiled] = {}
        self._measures: dict[Models, Compiled] = {}

    def __call__(
        self,
        inputs: Inputs,
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
        models = tuple(t.model for t in teachers)
        update = self._updates.get((distil, models))
        if update is None:
            update = self._updates[distil, models] = self._compile(models, distil)
        their_states = tuple(t.state for t in teachers)
        totals, agreed, state, their_states = update(
            inputs, control, state, their_states
        )
        for teacher, new_state in zip(teachers, their_states, strict=True):
            teacher.state = new_state
        return totals, agreed, state

    @property
    def has_fixed_targets(self) -> bool:
        """Whether there are soft targets without any teacher."""
        return self._fixed_targets is not None

    @property
    def num_traces(self) -> int:
        """How many times an update or a read was traced; swaps must add none."""
        caches = (self._updates, self._reads, self._measures)
        compiled = itertools.chain.from_iterable(c.values() for c in caches)
        return sum(function.experimental_get_tracing_count() for function in compiled)

    def read(
        self,
        model: contract.Model,
        inputs: Inputs,
        state: contract.State,
    ) -> contract.State:
        """Returns the state of a teacher after reading a window, per replica."""

        def replica(inputs: Inputs, state: contract.State) -> contract.State:
            return model(inputs.tokens, inputs.is_start, state)[1]

        if model not in self._reads:
            run = self._group.strategy.run
            self._reads[model] = tf.function(
                lambda *args: run(replica, args), autograph=False
            )
        return self._reads[model](inputs, state)

    def measure(
        self,
        inputs: Inputs,
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
        models = tuple(t.model for t in teachers)
        if models not in self._measures:
            self._measures[models] = self._compile_measure(models)
        return self._measures[models](inputs, state, tuple(t.state for t in teachers))

    def _compile_measure(self, teachers: Models) -> Compiled:
        strategy = self._group.strategy

        def replica(
            inputs: Inputs, state: contract.State, their_states: States
        ) -> tuple[tf.Tensor, ...]:
            heads = [
                model.output_head(model(inputs.tokens, inputs.is_start, carried)[0])
                for model, carried in zip(
                    [self.model, *teachers], [state, *their_states], strict=True
                )
            ]
            values = scoring.confirmation(heads[0], heads[1:], inputs.targets)
            return tuple(self._group.reduce([tf.reduce_sum(x) for x in values]))

        @tf.function(autograph=False)
        def measure(*args: Any) -> scoring.Confirmation:
            sums = strategy.run(replica, args)
            first = strategy.experimental_local_results
            return scoring.Confirmation(*(first(x)[0] for x in sums))

        return measure

    def _compile(self, teachers: Models, distil: bool) -> Compiled:
        strategy = self._group.strategy

        def replica(*args: Any) -> tuple[Totals, Control, Any, States]:
            return self._replica(teachers, distil, *args)

        @tf.function(autograph=False)
        def update(*args: Any) -> tuple[Totals, Control, Any, States]:
            totals, agreed, *states = strategy.run(replica, args)
            first = strategy.experimental_local_results
            report = tf.nest.map_structure(lambda x: first(x)[0], (totals, agreed))
            return (*report, *states)

        return update

    def _replica(
        self,
        teachers: Models,
        distil: bool,
        inputs: Inputs,
        control: Control,
        state: contract.State,
        their_states: States,
    ) -> tuple[Totals, Control, contract.State, States]:
        """Gradient, sum over the group, update; runs once per replica."""
        before = (state, their_states)

        def gradients_of(*args: Any) -> tuple[Any, ...]:
            return self._gradients(teachers, distil, *args)

        if self._use_xla:
            gradients_of = tf.function(gradients_of, jit_compile=True, autograph=False)
        gradients, sums, *states = gradients_of(inputs, state, their_states)
        gradients = self._group.reduce(gradients, self._all_reduce_dtype)
        # In one collective: each costs a round trip, however little it carries.
        [report] = self._group.reduce(
            [tf.stack([tf.cast(x, tf.float32) for x in (*sums, *control)])]
        )
        scale, norm = optimizers.clip_scale(gradients, self._clip_norm)
        norm = tf.cast(norm, tf.float32)
        is_finite = tf.reduce_all(tf.math.is_finite(tf.concat([report, [norm]], 0)))
        self._apply(gradients, scale, is_finite, inputs)
        after = tuple(states)
        state, their_states = tf.cond(is_finite, lambda: after, lambda: before)
        skipped = 1.0 - tf.cast(is_finite, tf.float32)
        *sums, stop, teachers_ready = tf.unstack(report)
        agreed = Control(stop, teachers_ready)
        totals = Totals._make([*sums, norm, skipped])
        return totals, agreed, state, their_states

    def _gradients(
        self,
        teachers: Models,
        distil: bool,
        inputs: Inputs,
        state: contract.State,
        their_states: States,
    ) -> tuple[list[tf.Tensor], tuple[tf.Tensor, ...], Any, States]:
        """Returns one replica's gradients, its sums and the new states."""
        soft, their_states = self._soft_targets(teachers, distil, inputs, their_states)
        model = self.model
        with tf.GradientTape() as tape:
            hidden, state = model(
                inputs.tokens, inputs.is_start, state, inputs.dropout_seed
            )
            total, sums = objective.training_objective(
                model.output_head(hidden),
                inputs.targets,
                tf.ones(inputs.targets.shape, model.dtype),
                soft,
                tf.cast(inputs.distillation_weight, model.dtype),
            )
            loss = total / self._tokens_per_step
        names = list(model.weights)
        gradients = [
            tf.convert_to_tensor(g)  # The embedding's is sparse; the update is not.
            for g in tape.gradient(loss, [model.weights[n] for n in names])
        ]
        return gradients, tuple(sums), state, their_states

    def _apply(
        self,
        gradients: list[tf.Tensor],
        scale: tf.Tensor,
        is_finite: tf.Tensor,
        inputs: Inputs,
    ) -> None:
        """Changes weights and slots in place, where `is_finite` holds."""
        rate = tf.cast(inputs.learning_rate, self.model.dtype)

        def change(
            weight: tf.Variable,
            gradient: tf.Tensor,
            slots: list[tf.Variable],
            scale: tf.Tensor,
            is_finite: tf.Tensor,
            rate: tf.Tensor,
            number: tf.Tensor,
        ) -> None:
            def update() -> None:
                self._rule.update(weight, gradient * scale, slots, rate, number)

            tf.cond(is_finite, update, lambda: None)

        def merge(
            strategy: tf.distribute.Strategy,
            gradients: list[tf.Tensor],
            *scalars: tf.Tensor,
        ) -> None:
            for (name, weight), gradient in zip(
                self.model.weights.items(), gradients, strict=True
            ):
                slots = [slots[name] for slots in self.slots.values()]
                strategy.extended.update(
                    weight, change, (gradient, slots, *scalars), group=False
                )

        tf.distribute.get_replica_context().merge_call(
            merge, args=(gradients, scale, is_finite, rate, inputs.number)
        )

    def _soft_targets(
        self, teachers: Models, distil: bool, inputs: Inputs, their_states: States
    ) -> tuple[objective.SoftTargets | None, States]:
        """Runs the teachers over the window; returns the targets, their states."""
        if not distil:
            return None, ()
        heads, new_states = [], []
        for teacher, their_state in zip(teachers, their_states, strict=True):
            hidden, new_state = teacher(inputs.tokens, inputs.is_start, their_state)
            heads.append(teacher.output_head(hidden))
            new_states.append(new_state)
        fixed = None
        if self._fixed_targets is not None:
            fixed = tf.constant(self._fixed_targets, self.model.dtype)
        settings = self._distillation
        soft = objective.SoftTargets(heads, fixed, settings.loss, settings.temperature)
        return soft, tuple(new_states)
