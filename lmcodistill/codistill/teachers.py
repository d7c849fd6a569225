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


class PeerWeights(NamedTuple):
    """Some weights of a peer.

    Attributes:
        student: Whose they are.
        step: After how many updates they were published.
        generation: Which start of that student's chief published them.
        config: What the peer trains; its teacher may multiply in another type.
        vocab_size: V.
        weights: By name.
    """

    student: int
    step: int
    generation: int
    config: model_settings.ModelConfig
    vocab_size: int
    weights: dict[str, np.ndarray]


class Teacher:
    """One slot.

    Attributes:
        model: The model; its weights are a peer's.
        state: Its carried state, per replica and stream.
        guide_state: That of the guide's streams; None before it has read there.
        peer: The student whose weights it holds; what follows is as in those.
        step: In updates.
        generation: The first order of a peer's versions, before the step.
        config: The peer's.
        vocab_size: V.
    """

    def __init__(self, model: contract.Model, version: PeerWeights | reader.Export):
        """Makes a teacher without a state, of a model that has its weights."""
        self.model = model
        self.state: Any = None
        self.guide_state: Any = None
        self.note(version)

    def note(self, version: PeerWeights | reader.Export) -> None:
        """Notes whose weights the model has; keeps none of them itself."""
        self.peer, self.step = version.student, version.step
        self.generation = version.generation
        self.config, self.vocab_size = version.config, version.vocab_size


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
        """Makes an empty pool, whose variables are made in `scope`.

        With `carry_state`, a teacher's state survives new weights of the same peer;
        else `new_state` makes it, per replica, from the model and the step. `adapt`
        goes from a peer's configuration to that of its teacher.
        """
        self.active: list[Teacher] = []
        self._slots: list[Teacher] = []
        self._carry_state = carry_state
        self._new_state, self._scope, self._adapt = new_state, scope, adapt

    def swap(self, updates: Sequence[reader.Export | Teacher], step: int) -> None:
        """Makes these the teachers from the next step on.

        A slot's state is carried only where the same peer stays in it: the
        state of one model means nothing to another. The updates are exports to swap
        in, checked, and teachers to keep as they are; none leaves no teacher.
        """
        free = [slot for slot in self._slots if slot not in updates]
        expected = {x.student for x in updates if isinstance(x, reader.Export)}
        self.active = []
        for update in updates:
            if isinstance(update, Teacher):
                self.active.append(update)
                continue
            slot, has_state = self._fill(free, update, expected)
            if not (has_state and self._carry_state):
                slot.state = self._new_state(slot.model, step)
                slot.guide_state = None

    def restore(self, saved: Sequence[PeerWeights]) -> None:
        """Makes a checkpoint's teachers the active ones; their states come next."""
        free, expected = list(self._slots), {version.student for version in saved}
        self.active = []
        for version in saved:
            slot, _ = self._fill(free, version, expected)
            slot.guide_state = None

    def of_peer(self, peer: int) -> Teacher | None:
        """Returns the active teacher that came from `peer`."""
        return next((t for t in self.active if t.peer == peer), None)

    def _fill(
        self,
        free: list[Teacher],
        version: PeerWeights | reader.Export,
        expected: set[int],
    ) -> tuple[Teacher, bool]:
        """Puts weights into a slot, one of `free` or a new one, and makes it active.

        The slots of the peers that are `expected` are not given away: they carry
        their state. Returns the slot, and whether it has a state of that peer's.
        """
        sizes = (self._adapt(version.config), version.vocab_size)
        fitting = [t for t in free if (t.model.config, t.model.vocab_size) == sizes]
        same_peer = [slot for slot in fitting if slot.peer == version.student]
        others = [slot for slot in fitting if slot.peer not in expected]
        if same_peer or others:
            slot = (same_peer or others)[0]
            free.remove(slot)
            for name, variable in slot.model.weights.items():
                variable.assign(tf.cast(version.weights[name], variable.dtype))
            slot.note(version)
        else:
            with self._scope():
                model = registry.build(*sizes, version.weights, trainable=False)
            slot = Teacher(model, version)
            self._slots.append(slot)
        self.active.append(slot)
        return slot, bool(same_peer)
