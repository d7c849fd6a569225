"""What one replica computes of an update: the gradient of its own streams.

The teachers read the window, the student reads it, and the objective of the model room
compares them. Nothing here changes a weight or meets another replica; that is `step`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from lmcodistill.model import contract, objective
from lmcodistill.settings import codistillation
from lmcodistill.training import gradient_accumulation

Models = tuple[contract.Model, ...]
States = tuple[contract.State, ...]  # The student's, and its teachers'.
Gradients = list[tf.Tensor]  # In the order of the model's weights.


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


class ReplicaGradients:
    """Gradients of the objective with respect to the student's weights.

    Attributes:
        model: The student.
    """

    def __init__(
        self,
        model: contract.Model,
        distillation: codistillation.Distillation,
        *,
        is_mix: bool,
        fixed_targets: np.ndarray | None,
        tokens_per_step: int,
        micro_batches: int,
        use_xla: bool,
    ):
        """Computes nothing yet.

        `is_mix` is `DistillationWeight.mix`; `fixed_targets`, [V] float32, is what
        label smoothing has in place of teachers; `tokens_per_step` is B * T;
        `micro_batches` is `Batches.micro_batches`.
        """
        self.model = model
        self._distillation, self._is_mix = distillation, is_mix
        self._fixed_targets = fixed_targets
        self._tokens_per_step, self._use_xla = tokens_per_step, use_xla
        self._micro_batches = micro_batches

    def of_update(self, teachers: Models, distil: bool) -> Callable[..., Any]:
        """Returns what an update needs, as a function of a batch and of states.

        Its results are the gradients, the objective's parts and the new states.
        """

        def compute(inputs: BatchInputs, states: States) -> tuple[Any, States]:
            state, *their_states = states
            soft, label_weight = None, 1.0
            weight = tf.cast(inputs.distillation_weight, self.model.dtype)
            if distil:
                soft, their_states = self._soft_targets(teachers, inputs, their_states)
                if self._is_mix:
                    label_weight = 1.0 / (1.0 + weight)
                    weight *= label_weight
            gradients, sums, state = self._gradients(
                inputs, state, soft, weight, label_weight
            )
            return (gradients, sums), (state, *their_states)

        def zeros() -> tuple[Gradients, objective.Sums]:
            return self._zero_gradients(), objective.Sums(
                *[tf.zeros([], self.model.dtype)] * len(objective.Sums._fields)
            )

        passes = gradient_accumulation.accumulated(compute, self._micro_batches, zeros)

        def flat(
            inputs: BatchInputs, states: States
        ) -> tuple[Gradients, tuple[tf.Tensor, ...], States]:
            (gradients, sums), states = passes(inputs, states)
            return gradients, tuple(sums), states

        return self._by_xla(flat)

    def of_terms(self, teachers: Models) -> Callable[..., Any]:
        """Returns the gradients of phi and of psi, as a function of the same.

        One after the other in one list, psi's as if its weight were 1.0.
        """

        def compute(inputs: BatchInputs, states: States) -> tuple[Gradients, States]:
            state, *theirs = states
            soft, _ = self._soft_targets(teachers, inputs, theirs)
            of_labels, *_ = self._gradients(inputs, state, None, 0.0)
            of_soft, *_ = self._gradients(inputs, state, soft, 1.0, label_weight=0.0)
            return of_labels + of_soft, states

        passes = gradient_accumulation.accumulated(
            compute, self._micro_batches, lambda: 2 * self._zero_gradients()
        )
        return self._by_xla(lambda inputs, states: passes(inputs, states)[0])

    def _zero_gradients(self) -> Gradients:
        return [tf.zeros(w.shape, w.dtype) for w in self.model.weights.values()]

    def _by_xla(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a function of a replica, which XLA compiles if it is on."""
        if not self._use_xla:
            return function
        return tf.function(function, jit_compile=True, autograph=False)

    def _gradients(
        self,
        inputs: BatchInputs,
        state: contract.State,
        soft: objective.SoftTargets | None,
        weight: float | tf.Tensor,
        label_weight: float | tf.Tensor = 1.0,
    ) -> tuple[Gradients, objective.Sums, contract.State]:
        """Returns one replica's gradients of the objective, its parts, the new state.

        The weights are those of psi and of phi.
        """
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
                weight,
                label_weight,
            )
            loss = total / self._tokens_per_step
        gradients = [
            tf.convert_to_tensor(g)  # The embedding's is sparse; the update is not.
            for g in tape.gradient(loss, list(model.weights.values()))
        ]
        return gradients, sums, state

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
