"""Teachers: loaded exports, frozen, each with its own carried state.

A slot is a model of one architecture whose weights are assigned at a swap, so
that the training step is traced once and not again, however often its teachers
change.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from lmcodistill.exports import reader
from lmcodistill.model import contract
from lmcodistill.settings import model as model_settings


class Teacher:
    """One slot.

    Attributes:
        model: The model; its weights are the export's.
        config: What its peer trains, which may multiply in another type.
        peer: Which student's export it is.
        step: After how many updates it was published.
        generation: In which of its student's lives.
        state: Its carried state, per replica and stream.
    """

    def __init__(self, export: reader.Export, config: model_settings.ModelConfig):
        """Makes a teacher without a state.

        Args:
            export: Its weights.
            config: What to build, the export's own but for the compute type.
        """
        self.model = dataclasses.replace(export, config=config).build()
        self.state: Any = None
        self._note_origin(export)

    def _note_origin(self, export: reader.Export) -> None:
        self.peer, self.step = export.student, export.step
        self.generation, self.config = export.generation, export.config

    @property
    def version(self) -> tuple[int, int]:
        """What exports of one peer are ordered by."""
        return (self.generation, self.step)

    def accepts(self, config: model_settings.ModelConfig, vocab_size: int) -> bool:
        """Returns whether weights of that configuration can be assigned."""
        return self.model.config == config and self.model.vocab_size == vocab_size

    def assign(self, export: reader.Export) -> None:
        """Swaps the weights, in place."""
        for name, variable in self.model.weights.items():
            variable.assign(tf.cast(export.weights[name], variable.dtype))
        self._note_origin(export)


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

    def adopt(self, lessons: Sequence[reader.Export | Teacher], at: int) -> None:
        """Makes these the teachers from the next step on.

        A slot's state is carried only where the same peer stays in it: the
        state of one model means nothing to another.

        Args:
            lessons: Exports to swap in, checked, and teachers to keep as they
                are; none leaves the student without a teacher.
            at: The student's step.
        """
        free = [slot for slot in self._slots if slot not in lessons]
        expected = {x.student for x in lessons if isinstance(x, reader.Export)}
        self.active = []
        for lesson in lessons:
            if isinstance(lesson, Teacher):
                self.active.append(lesson)
                continue
            slot = self._choose(free, lesson, expected)
            if slot is None:
                with self._scope():
                    slot = Teacher(lesson, self._adapt(lesson.config))
                slot.state = self._new_state(slot.model, at)
                self._slots.append(slot)
            else:
                free.remove(slot)
                is_another = slot.peer != lesson.student
                slot.assign(lesson)
                if is_another or not self._carry_state:
                    slot.state = self._new_state(slot.model, at)
            self.active.append(slot)

    def of_peer(self, peer: int) -> Teacher | None:
        """Returns the active teacher that came from `peer`."""
        return next((t for t in self.active if t.peer == peer), None)

    def _choose(
        self, free: Sequence[Teacher], export: reader.Export, expected: set[int]
    ) -> Teacher | None:
        """Returns the slot for `export`, if there is one.

        Args:
            free: Slots to choose from.
            export: What goes into it.
            expected: Peers whose own slots are not to be given away: they carry
                their state.
        """
        config = self._adapt(export.config)
        fitting = [t for t in free if t.accepts(config, export.vocab_size)]
        same_peer = [t for t in fitting if t.peer == export.student]
        others = [t for t in fitting if t.peer not in expected]
        return next(iter(same_peer or others), None)
