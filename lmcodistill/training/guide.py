"""The guide: text that no student learns from, where the teachers' share is measured.

All students of a run read the same guide, a window at a time and over and over, in a
few streams that carry a state from one measurement to the next: the student's and the
position stand here, each teacher's with the teacher. There is no dropout.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from lmcodistill.codistill import auto_weight
from lmcodistill.codistill import teachers as teachers_lib
from lmcodistill.model import contract, states
from lmcodistill.storage import tensors
from lmcodistill.training import cluster, step
from lmcodistill.training import job as job_lib

# Begins the names of its tensors in a checkpoint.
PREFIX = "guide/"


class Guide:
    """Measures on the guide, and weighs the teachers by it."""

    def __init__(
        self,
        job: job_lib.Job,
        inputs: job_lib.Inputs,
        group: cluster.Group,
        updater: step.Updater,
    ):
        """Has read nothing yet; `inputs` has a guide."""
        assert inputs.guide is not None  # A job whose weight is measured has one.
        self._windows, self._updater, self._group = inputs.guide, updater, group
        self._settings, self._exchange = job.weight, job.exchange
        self._streams, self._window = job.weight.auto_lanes, job.batches.window
        # Where they cannot be shared out evenly, some are read twice and count once.
        self._rows = -(-self._streams // group.num_replicas)
        self._begin()

    def _begin(self) -> None:
        self._auto = auto_weight.AutoWeight(self._settings.auto_memory)
        self._position, self._state = 0, self._zeros(self._updater.model)

    def weight_at(
        self, number: int, limit: float, teachers: Sequence[teachers_lib.Teacher]
    ) -> float:
        """Returns the distillation weight of the update of a step. Collective.

        Args:
            number: The step.
            limit: The most that the weight can be.
            teachers: Those that teach in it, at least one.
        """
        is_first = not self._auto.tokens
        if is_first or number % self._settings.auto_every_steps == 0:
            self._measure(teachers)
        return self._auto.next(limit)

    @property
    def report(self) -> dict[str, float | None]:
        """The running means that the weight follows from; None before the first."""
        auto, is_measured = self._auto, bool(self._auto.tokens)
        return {
            "auto_share": auto.share if is_measured else None,
            "guide_cross_entropy": (
                auto.student_nats / auto.tokens if is_measured else None
            ),
            "guide_teacher_cross_entropy": (
                auto.teacher_nats / auto.tokens if is_measured else None
            ),
        }

    def _measure(self, teachers: Sequence[teachers_lib.Teacher]) -> None:
        for teacher in teachers:
            if teacher.guide_state is None:
                teacher.guide_state = self._state_after_reading(teacher.model)
        sums, (self._state, *theirs) = self._updater.measure(
            self._inputs_at(self._position),
            (self._state, *(t.guide_state for t in teachers)),
            [t.model for t in teachers],
        )
        for teacher, state in zip(teachers, theirs, strict=True):
            teacher.guide_state = state
        self._position += 1
        tokens = self._streams * self._window
        measured = auto_weight.Measurement._make([*map(float, sums), tokens])
        if measured.is_finite:
            self._auto.observe(measured)

    def _state_after_reading(self, model: contract.Model) -> Any:
        """Returns the state of a teacher that is new in its place: no handicap."""
        state, end = self._zeros(model), self._position
        for position in range(max(0, end - self._exchange.recompute_windows), end):
            state = self._updater.read(model, self._inputs_at(position), state)
        return state

    def _streams_of(self, replica: int) -> np.ndarray:
        """Returns which streams a replica reads, `[rows]`; those past the last anew."""
        return np.arange(replica * self._rows, (replica + 1) * self._rows)

    def _inputs_at(self, position: int) -> Any:
        """Returns a window of the guide, per replica."""
        window = self._windows.at(position, 0, self._streams)

        def of_replica(replica: int) -> step.GuideInputs:
            streams = self._streams_of(replica)
            rows = streams % self._streams
            counts = np.broadcast_to(
                streams < self._streams, (self._window, self._rows)
            )
            return step.GuideInputs(
                tokens=tf.constant(window.inputs[rows]),
                targets=tf.constant(window.targets[rows].T.reshape(-1)),
                is_start=tf.constant(window.is_start[rows]),
                counts=tf.constant(counts.reshape(-1)),
            )

        return self._group.per_replica(of_replica)

    def _zeros(self, model: contract.Model) -> Any:
        return self._group.per_replica(lambda _: model.initial_state(self._rows))

    def values(self, teachers: Sequence[teachers_lib.Teacher]) -> dict[str, np.ndarray]:
        """Returns the tensors of a checkpoint by name. Collective."""
        named = {"state": self._state} | {
            f"teacher_{k}/state": teacher.guide_state
            for k, teacher in enumerate(teachers)
            if teacher.guide_state is not None
        }
        padded = self._rows * self._group.num_replicas
        return {
            f"{PREFIX}{name}/{path}": value[: self._streams]
            for name, state in named.items()
            for path, value in states.by_path(
                self._group.gather_streams(state, padded)
            ).items()
        }

    def manifest(self) -> dict[str, Any] | None:
        """Returns what a checkpoint's manifest says of it, once it was read."""
        if not self._auto.tokens:
            return None
        sums = dataclasses.asdict(self._auto)
        del sums["memory"]
        sizes = {"lanes": self._streams, "window": self._window}
        return {"position": self._position, **sizes, "sums": sums}

    def restore(
        self,
        values: dict[str, np.ndarray],
        manifest: dict[str, Any] | None,
        teachers: Sequence[teachers_lib.Teacher],
        source: str,
    ) -> None:
        """Goes on as a checkpoint says; begins anew where it says nothing.

        So does one of an earlier version, or of another reading of the guide.

        Raises:
            SnapshotError: the tensors are not this student's.
        """
        self._begin()
        sizes = (self._streams, self._window)
        if not manifest or (manifest["lanes"], manifest["window"]) != sizes:
            return
        self._position = manifest["position"]
        self._auto = auto_weight.AutoWeight(self._auto.memory, **manifest["sums"])
        self._state = self._restored("state", self._updater.model, values, source)
        for k, teacher in enumerate(teachers):
            name = f"teacher_{k}/state"
            if any(x.startswith(f"{PREFIX}{name}/") for x in values):
                teacher.guide_state = self._restored(
                    name, teacher.model, values, source
                )

    def _restored(
        self,
        name: str,
        model: contract.Model,
        values: dict[str, np.ndarray],
        source: str,
    ) -> Any:
        prefix = f"{PREFIX}{name}/"
        saved = {
            n.removeprefix(prefix): x for n, x in values.items() if n.startswith(prefix)
        }
        zeros = model.initial_state(self._streams)
        shapes = {path: tuple(x.shape) for path, x in states.by_path(zeros).items()}
        tensors.check_table(saved, shapes, source)

        def of_replica(replica: int) -> contract.State:
            rows = self._streams_of(replica) % self._streams
            return states.like(
                zeros, {path: tf.constant(x[rows]) for path, x in saved.items()}
            )

        return self._group.per_replica(of_replica)
