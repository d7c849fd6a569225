"""One optimizer update of one student, on all its replicas.

The arithmetic is the model room's; here it is put together inside the strategy:
every replica computes the gradient of its streams, the group sums, every replica
makes the same update. All that changes from step to step comes in as tensors,
so one trace serves the run (one more whenever the set of teachers changes
shape).

An update whose sums are not finite is skipped: weights, slots and carried states
stay as they are. The sums are the group's, so all replicas skip alike.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from lmcodistill.codistill import teachers as teachers_lib
from lmcodistill.model import contract, objective, optimizers, scoring
from lmcodistill.settings import codistillation as codistillation_settings
from lmcodistill.training import cluster


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
        stop: Scalar float32, 1.0 where this worker was asked to stop.
        announced: Scalar float32, 1.0 where the chief has staged new teachers.
    """

    tokens: Any
    targets: Any
    is_start: Any
    learning_rate: Any
    distillation_weight: Any
    number: Any
    dropout_seed: Any
    stop: Any
    announced: Any


class Totals(NamedTuple):
    """What the group reports of one update.

    Attributes:
        label_loss: Nats, summed over the global batch.
        soft_loss: As `objective.Sums`.
        teacher_label_loss: As `objective.Sums`.
        agreement: As `objective.Sums`.
        stop: On how many replicas a stop was asked for.
        announced: On how many replicas new teachers were announced.
        gradient_norm: Before clipping.
        skipped: 1.0 where one of the others is not finite, else 0.0.
    """

    label_loss: tf.Tensor
    soft_loss: tf.Tensor
    teacher_label_loss: tf.Tensor
    agreement: tf.Tensor
    stop: tf.Tensor
    announced: tf.Tensor
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
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(
        self,
        inputs: Inputs,
        state: contract.State,
        teachers: Sequence[teachers_lib.Teacher],
        distil: bool,
    ) -> tuple[Totals, contract.State]:
        """Makes one update; the teachers' states move on as well. Collective.

        Args:
            inputs: Per replica.
            state: The student's carried state, per replica.
            teachers: Those that teach in this step.
            distil: Whether soft targets count; without, none is computed.

        Returns:
            The group's totals, and the student's new state per replica.
        """
        teachers = teachers if distil else ()
        key = (int(distil), *(id(t.model) for t in teachers))
        if key not in self._compiled:
            self._compiled[key] = self._compile([t.model for t in teachers], distil)
        their_states = tuple(t.state for t in teachers)
        totals, state, their_states = self._compiled[key](inputs, state, their_states)
        for teacher, new_state in zip(teachers, their_states, strict=True):
            teacher.state = new_state
        return totals, state

    @property
    def num_traces(self) -> int:
        """How many times an update or a read was traced; swaps must add none."""
        counts = (f.experimental_get_tracing_count() for f in self._compiled.values())
        return sum(counts)

    def read(self, model: contract.Model, inputs: Inputs, state: Any) -> Any:
        """Returns the state of a teacher after reading a window, per replica."""

        def replica(inputs, state):
            return model(inputs.tokens, inputs.is_start, state)[1]

        key = (-1, id(model))
        if key not in self._compiled:
            run = self._group.strategy.run
            self._compiled[key] = tf.function(
                lambda *args: run(replica, args), autograph=False
            )
        return self._compiled[key](inputs, state)

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
        key = (-2, *(id(t.model) for t in teachers))
        if key not in self._compiled:
            self._compiled[key] = self._compile_measure([t.model for t in teachers])
        their_states = tuple(t.state for t in teachers)
        return self._compiled[key](inputs, state, their_states)

    def _compile_measure(self, teachers: list[contract.Model]):
        strategy = self._group.strategy

        def replica(inputs, state, their_states):
            heads = [
                model.output_head(model(inputs.tokens, inputs.is_start, carried)[0])
                for model, carried in zip(
                    [self.model, *teachers], [state, *their_states], strict=True
                )
            ]
            found = scoring.confirmation(heads[0], heads[1:], inputs.targets)
            sums = [tf.reduce_sum(values) for values in found]
            return tuple(self._group.reduce(sums))

        @tf.function(autograph=False)
        def measure(inputs, state, their_states):
            sums = strategy.run(replica, (inputs, state, their_states))
            first = strategy.experimental_local_results
            return scoring.Confirmation(*(first(x)[0] for x in sums))

        return measure

    def _compile(self, teachers: list[contract.Model], distil: bool):
        strategy = self._group.strategy

        @tf.function(autograph=False)
        def update(inputs, state, their_states):
            def replica(inputs, state, their_states):
                return self._replica(teachers, distil, inputs, state, their_states)

            totals, *states = strategy.run(replica, (inputs, state, their_states))
            first = strategy.experimental_local_results
            return (tf.nest.map_structure(lambda x: first(x)[0], totals), *states)

        return update

    def _replica(self, teachers, distil, inputs: Inputs, state, their_states):
        """Gradient, sum over the group, update; runs once per replica."""
        before = (state, their_states)

        def gradients_of(inputs, state, their_states):
            return self._gradients(teachers, distil, inputs, state, their_states)

        if self._use_xla:
            gradients_of = tf.function(gradients_of, jit_compile=True, autograph=False)
        gradients, sums, *after = gradients_of(inputs, state, their_states)
        gradients = self._group.reduce(gradients, self._all_reduce_dtype)
        told = (*sums, inputs.stop, inputs.announced)
        [report] = self._group.reduce(
            [tf.stack([tf.cast(x, tf.float32) for x in told])]
        )
        scale, norm = optimizers.clip_scale(gradients, self._clip_norm)
        report = tf.concat([report, [tf.cast(norm, tf.float32)]], 0)
        is_finite = tf.reduce_all(tf.math.is_finite(report))
        self._apply(gradients, scale, is_finite, inputs)
        after = tuple(after)
        state, their_states = tf.cond(is_finite, lambda: after, lambda: before)
        skipped = 1.0 - tf.cast(is_finite, tf.float32)
        totals = Totals._make([*tf.unstack(report), skipped])
        return totals, state, their_states

    def _gradients(self, teachers, distil, inputs: Inputs, state, their_states):
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

    def _apply(self, gradients, scale, is_finite, inputs: Inputs):
        """Changes weights and slots in place, where `is_finite` holds."""
        rate = tf.cast(inputs.learning_rate, self.model.dtype)

        def change(weight, gradient, slots, scale, is_finite, rate, number):
            def update():
                self._rule.update(weight, gradient * scale, slots, rate, number)

            tf.cond(is_finite, update, lambda: None)

        def merge(strategy, gradients, *scalars):
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

    def _soft_targets(self, teachers, distil, inputs: Inputs, their_states):
        """Runs the teachers over the window; returns the targets, their states."""
        heads, new_states = [], []
        for teacher, their_state in zip(teachers, their_states, strict=True):
            hidden, new_state = teacher(inputs.tokens, inputs.is_start, their_state)
            heads.append(teacher.output_head(hidden))
            new_states.append(new_state)
        if not distil:
            return None, ()
        fixed = None
        if self._fixed_targets is not None:
            fixed = tf.constant(self._fixed_targets, self.model.dtype)
        settings = self._distillation
        soft = objective.SoftTargets(heads, fixed, settings.loss, settings.temperature)
        return soft, tuple(new_states)
