"""Teachers: loaded exports, frozen, each with its own carried state.

A slot is a model of one architecture whose weights are assigned at a swap, so
that the training step is traced once and not again, however often its teachers
change.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from lmcodistill.exports import reader
from lmcodistill.model import contract, registry
from lmcodistill.settings import model as model_settings


class Origin(NamedTuple):
    """Where a teacher's weights are from.

    Attributes:
        peer: Which student's export it is.
        step: After how many updates it was published.
        generation: Which start of its student's chief published it.
        config: What its peer trains; the teacher may multiply in another type.
        vocab_size: V.
    """

    peer: int
    step: int
    generation: int
    config: model_settings.ModelConfig
    vocab_size: int


class Saved(NamedTuple):
    """A teacher in a checkpoint.

    Attributes:
        origin: Where its weights are from.
        weights: By name.
        restore_state: From the teacher's model to its state, per replica.
    """

    origin: Origin
    weights: dict[str, np.ndarray]
    restore_state: Callable[[contract.Model], Any]


class Teacher:
    """One slot.

    Attributes:
        model: The model; its weights are the export's.
        origin: Where they are from.
        state: Its carried state, per replica and stream.
    """

    def __init__(self, model: contract.Model, origin: Origin):
        """Makes a teacher without a state."""
        self.model, self.origin = model, origin
        self.state: Any = None

    @property
    def peer(self) -> int:
        """Which student's export it is."""
        return self.origin.peer

    @property
    def step(self) -> int:
        """After how many updates it was published."""
        return self.origin.step

    @property
    def version(self) -> tuple[int, int]:
        """What exports of one peer are ordered by."""
        return (self.origin.generation, self.origin.step)


class TeacherPool:
    """The teachers of one student, by slot.

    Attributes:
        active: Those that teach now, in a fixed order.
    """

    def __init__(
        self,
        *,
        carry_state: bool,
        new_state: Callable[[contract.Model, int], Any],
        scope: Callable[[], contextlib.AbstractContextManager],
        adapt: Callable[
            [model_settings.ModelConfig], model_settings.ModelConfig
        ] = lambda config: config,
    ):
        """Makes an empty pool.

        Args:
            carry_state: Whether a teacher's state survives new weights of the
                same peer.
            new_state: From a model and the step to the state, per replica, of a
                teacher that carries none.
            scope: Where variables are made (a strategy's scope).
            adapt: From a peer's configuration to the one its teacher is built with.
        """
        self.active: list[Teacher] = []
        self._slots: list[Teacher] = []
        self._carry_state = carry_state
        self._new_state, self._scope, self._adapt = new_state, scope, adapt

    def swap(self, updates: Sequence[reader.Export | Teacher], step: int) -> None:
        """Makes these the teachers from the next step on.

        A slot's state is carried only where the same peer stays in it: the
        state of one model means nothing to another.

        Args:
            updates: Exports to swap in, checked, and teachers to keep as they
                are; none leaves the student without a teacher.
            step: The student's.
        """
        free = [slot for slot in self._slots if slot not in updates]
        expected = {x.student for x in updates if isinstance(x, reader.Export)}
        self.active = []
        for update in updates:
            if isinstance(update, Teacher):
                self.active.append(update)
                continue
            origin = Origin(
                peer=update.student,
                step=update.step,
                generation=update.generation,
                config=update.config,
                vocab_size=update.vocab_size,
            )
            slot, has_state = self._fill(free, origin, update.weights, expected)
            if not (has_state and self._carry_state):
                slot.state = self._new_state(slot.model, step)

    def restore(self, saved: Sequence[Saved]) -> None:
        """Makes a checkpoint's teachers the active ones, with their states."""
        free, expected = list(self._slots), {one.origin.peer for one in saved}
        self.active = []
        for one in saved:
            slot, _ = self._fill(free, one.origin, one.weights, expected)
            slot.state = one.restore_state(slot.model)

    def of_peer(self, peer: int) -> Teacher | None:
        """Returns the active teacher that came from `peer`."""
        return next((t for t in self.active if t.peer == peer), None)

    def _fill(
        self,
        free: list[Teacher],
        origin: Origin,
        weights: dict[str, np.ndarray],
        expected: set[int],
    ) -> tuple[Teacher, bool]:
        """Puts weights into a slot, an old or a new one, and makes it active.

        Args:
            free: Slots to choose from; the one that is chosen is taken out.
            origin: Where the weights are from.
            weights: By name.
            expected: Peers whose own slots are not to be given away: they carry
                their state.

        Returns:
            The slot, and whether it has a state of that peer's.
        """
        config = self._adapt(origin.config)
        fitting = [
            slot
            for slot in free
            if (slot.model.config, slot.model.vocab_size) == (config, origin.vocab_size)
        ]
        same_peer = [slot for slot in fitting if slot.peer == origin.peer]
        others = [slot for slot in fitting if slot.peer not in expected]
        if not same_peer + others:
            with self._scope():
                model = registry.build(
                    config, origin.vocab_size, weights, trainable=False
                )
            slot = Teacher(model, origin)
            self._slots.append(slot)
        else:
            slot = (same_peer + others)[0]
            free.remove(slot)
            for name, variable in slot.model.weights.items():
                variable.assign(tf.cast(weights[name], variable.dtype))
        slot.origin = origin
        self.active.append(slot)
        return slot, bool(same_peer)
