"""Lessons: peers' exports become teachers, between two steps.

The chief alone looks, reads and verifies, in the background; the others get the
tensors from it. A swap is agreed on: in a `freshest` exchange the chief's word
that something is staged travels in the totals of an update, so that all workers
learn of it at the same step; in a `scheduled` one the step is fixed and the group
waits. So all replicas use the same teacher in the same step, storage is read
once, and its slowness costs no step.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from lmcodistill import errors
from lmcodistill.codistill import prefetch, teachers, topologies
from lmcodistill.exports import lookup, manifest, probe, reader
from lmcodistill.storage import publication
from lmcodistill.training import cluster
from lmcodistill.training import job as job_lib
from lmcodistill.training import student as student_lib

_POLL_SECONDS = 0.05
# Wide and short, because time is what a recurrent model's steps cost.
_PROBE_STREAMS, _PROBE_TOKENS = 16, 8

log = logging.getLogger("lmcodistill")

Lesson = reader.Export | teachers.Teacher


def probe_of(job: job_lib.Job, inputs: job_lib.Inputs) -> probe.Probe:
    """Returns the probe of a student's text: the first tokens of some streams."""
    streams = min(_PROBE_STREAMS, job.batches.global_batch_size)
    window = inputs.windows.at(0, 0, streams)
    return probe.Probe(
        window.inputs[:, :_PROBE_TOKENS],
        window.targets[:, :_PROBE_TOKENS],
        window.is_start[:, :_PROBE_TOKENS],
        job.exchange.max_teacher_cross_entropy,
    )


class Reader:
    """Reads exports and judges whether they can teach. In any thread."""

    def __init__(self, job: job_lib.Job, inputs: job_lib.Inputs):
        self._probe = probe_of(job, inputs)
        self._vocabulary = inputs.data.manifest.vocabulary
        self._vocab_size = inputs.data.manifest.vocab_size

    def __call__(
        self, snapshot: publication.Snapshot, student: int | None
    ) -> reader.Export:
        """Returns an export that is whole, fits, and knows more than nothing.

        Args:
            snapshot: Where it is.
            student: Whose it must be; None: anybody's.

        Raises:
            SnapshotError: it cannot teach.
        """
        expected = manifest.Expected(self._vocabulary, self._vocab_size, student)
        export = reader.read(snapshot, expected)
        self._probe.check(export)
        return export


class Reload:
    """Looks for the peers' exports and swaps teachers."""

    def __init__(
        self,
        job: job_lib.Job,
        group: cluster.Group,
        student: student_lib.Student,
        read: Reader,
        asked_to_stop: Callable[[], bool],
    ):
        """Begins nothing yet.

        Args:
            job: The job.
            group: The workers.
            student: Whose teachers.
            read: Reads and judges one export, in a thread of the chief.
            asked_to_stop: Whether this worker was.
        """
        self._job, self._group, self._student = job, group, student
        self._read, self._asked_to_stop = read, asked_to_stop
        is_freshest = job.exchange.mode == "freshest"
        self._stager: prefetch.Stager[reader.Export] = prefetch.Stager(
            lambda request, snapshot: read(snapshot, request.peer),
            deadline_seconds=(
                job.exchange.read_deadline_seconds if is_freshest else None
            ),
        )
        self._is_announced = False

    @property
    def refusals(self) -> dict[str, int]:
        """How many exports were refused since the start, by reason."""
        return dict(self._stager.refusals)

    @property
    def is_reading(self) -> bool:
        """Whether the chief has a look at storage under way."""
        return bool(self._stager.requests) and not self._stager.is_done

    def __call__(self, at: int) -> bool:
        """Does what is due before the update at step `at`. Collective.

        Returns:
            False where the wait for a scheduled export was given up because a
            worker of the group was asked to stop.
        """
        job = self._job
        if job.distillation.targets == "offline":
            if not self._student.teachers.active and at >= job.weight.burn_in_steps:
                self._swap(at, self._offline())
            return True
        if job.distillation.targets not in ("peers", "weights"):
            return True
        self._drop_stale(at)
        if not topologies.is_reload_due(at, job.weight.burn_in_steps, job.exchange):
            return True
        if job.exchange.mode == "scheduled":
            return self._wait_and_swap(at)
        if self._group.is_chief:
            requests = self._requests(at)
            if not self._stager.begin(requests):
                log.warning("step=%d event=still_reading peers=%s", at, requests)
        return True

    def announce(self) -> bool:
        """Returns whether the chief has something staged; True once for each."""
        if not self._stager.is_done or self._is_announced:
            return False
        if self._job.exchange.mode == "scheduled":
            return False
        self._is_announced = True
        return True

    def swap_staged(self, at: int) -> None:
        """Swaps in what the chief announced. Collective."""
        lessons: list[Lesson] = []
        if self._group.is_chief:
            peers = [request.peer for request in self._stager.requests]
            lessons = self._lessons(peers, self._stager.take())
            self._is_announced = False
        self._swap(at, lessons)

    def _requests(self, at: int) -> list[prefetch.Request]:
        """Returns what the reload at step `at` needs and does not have yet."""
        job, settings = self._job, self._job.exchange
        step = None
        if settings.mode == "scheduled":
            step = topologies.scheduled_export(at, settings)
            if step is None:
                return []
        limit = settings.max_staleness_steps
        requests = []
        for peer in self._peers_at(at):
            held = self._student.teachers.of_peer(peer)
            if held is not None and held.step == step:
                continue
            requests.append(
                prefetch.Request(
                    peer=peer,
                    folder=job.peer_layout(peer).exports,
                    step=step,
                    held=held.version if held else None,
                    oldest=at - limit if limit else 0,
                    key=job.key,
                )
            )
        return requests

    def _peers_at(self, at: int) -> list[int]:
        job = self._job
        return topologies.peers_at(at, job.student, job.num_students, job.exchange)

    def _lessons(
        self, peers: Sequence[int], found: dict[int, reader.Export]
    ) -> list[Lesson]:
        """Returns what was found, and for the other peers what they taught before."""
        if not found:
            return []  # Nothing new is no reason to swap.
        current = self._student.teachers.of_peer
        lessons = [found.get(peer) or current(peer) for peer in peers]
        return [lesson for lesson in lessons if lesson is not None]

    def _wait_and_swap(self, at: int) -> bool:
        """Waits until exactly the scheduled exports are staged, and swaps."""
        # The same on every worker: it follows from the step and the teachers.
        requests = self._requests(at)
        if requests:
            if self._group.is_chief and self._stager.requests != requests:
                self._stager.drop()
                self._stager.begin(requests)
            if not self._wait(at):
                return False
            found = self._stager.take() if self._group.is_chief else {}
            lessons = self._lessons(self._peers_at(at), found)
            if self._job.distillation.targets == "weights":
                self._student.average_with(self._of_all_workers(lessons))
                log.info("step=%d event=weights_averaged", at)
            else:
                self._swap(at, lessons)
        if self._group.is_chief:
            self._look_ahead(at)
        return True

    def _wait(self, at: int) -> bool:
        """Waits for the stager; returns False where a worker was asked to stop.

        Raises:
            GroupLostError: the deadline passed.
        """
        settings = self._job.exchange
        began = time.monotonic()
        while True:
            done, stop, late = self._group.any(
                self._stager.is_done,
                self._asked_to_stop(),
                time.monotonic() - began > settings.deadline_seconds,
            )
            if done:
                return True
            if stop:
                return False
            if late:
                raise errors.GroupLostError(
                    f"Students {self._peers_at(at)} did not all publish an export of "
                    f"step {topologies.scheduled_export(at, settings)} that can be "
                    f"used within {settings.deadline_seconds:g} s; the scheduled "
                    f"exchange needs exactly those at step {at}. Start the peers "
                    "again, or use --gin.EXCHANGE_MODE=freshest, which waits for "
                    "nobody."
                )
            time.sleep(_POLL_SECONDS)

    def _look_ahead(self, at: int) -> None:
        """Begins to wait for what the next reload will need."""
        period = self._job.exchange.reload_every_steps
        requests = self._requests((at // period + 1) * period)
        if requests:
            self._stager.begin(requests)

    def drop_all(self, at: int) -> None:
        """Lets all teachers go; later reloads may bring better ones."""
        self._student.teachers.adopt([], at)

    def _drop_stale(self, at: int) -> None:
        """Lets teachers go that are older than allowed; the mean is of the rest."""
        pool, limit = self._student.teachers, self._job.exchange.max_staleness_steps
        fresh = [t for t in pool.active if not limit or at - t.step <= limit]
        if len(fresh) == len(pool.active):
            return
        for teacher in pool.active:
            if teacher not in fresh:
                log.warning(
                    "step=%d teacher=%d export_step=%d staleness=%d "
                    "event=teacher_dropped",
                    at,
                    teacher.peer,
                    teacher.step,
                    at - teacher.step,
                )
        pool.adopt(fresh, at)

    def _offline(self) -> list[Lesson]:
        if not self._group.is_chief:
            return []
        found: list[Lesson] = []
        for index, path in enumerate(self._job.distillation.offline_exports):
            snapshot = lookup.find(path, self._job.key)
            export = self._read(snapshot, None)
            found.append(dataclasses.replace(export, student=index))
        return found

    def _swap(self, at: int, lessons: Sequence[Lesson]) -> None:
        """Gives every worker the chief's lessons, if there are any, and swaps."""
        shared = self._of_all_workers(lessons)
        if not shared:
            return
        pool = self._student.teachers
        pool.adopt(shared, at)
        for teacher in pool.active:
            log.info(
                "step=%d teacher=%d export_step=%d staleness=%d event=teacher_loaded",
                at,
                teacher.peer,
                teacher.step,
                at - teacher.step,
            )

    def _of_all_workers(self, lessons: Sequence[Lesson]) -> list[Any]:
        """Returns the chief's lessons on every worker. Collective."""
        count = self._group.broadcast_json(len(lessons))
        of_chief = lessons if self._group.is_chief else [None] * count
        return [self._shared(lesson) for lesson in of_chief]

    def _shared(self, lesson: Lesson | None) -> Lesson:
        """Returns the chief's lesson on every worker; the others give None."""
        if self._group.num_workers == 1 and lesson is not None:
            return lesson
        kept = self._group.broadcast_json(
            lesson.peer if isinstance(lesson, teachers.Teacher) else None
        )
        teacher = None if kept is None else self._student.teachers.of_peer(kept)
        if teacher is not None:
            return teacher
        fresh = lesson if isinstance(lesson, reader.Export) else None
        header = self._group.broadcast_json(fresh.header() if fresh else None)
        export = fresh or reader.blank(header)
        weights = {n: self._group.sum(x) for n, x in sorted(export.weights.items())}
        return dataclasses.replace(export, weights=weights)
