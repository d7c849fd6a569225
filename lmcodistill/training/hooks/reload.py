"""Peers' exports become teachers, between two updates.

The chief alone looks, reads and verifies, in the background; the others get the
tensors from it. A swap is agreed on: where nobody waits, the chief's word that
something is staged travels beside the losses of an update, so that all workers
learn of it at the same step; else the step is fixed and the group waits. So all
replicas use the same teacher in the same step, storage is read once, and its
slowness costs no step. What to read and when is the policy's to decide.
"""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from lmcodistill import errors
from lmcodistill.codistill import policies, prefetch, teachers
from lmcodistill.exports import lookup, manifest, probe, reader
from lmcodistill.storage import publication
from lmcodistill.training import cluster
from lmcodistill.training import job as job_lib
from lmcodistill.training import student as student_lib

_POLL_SECONDS = 0.05

log = logging.getLogger("lmcodistill")

# A fresh export, or a teacher that goes on as it is.
Update = reader.Export | teachers.Teacher


class WaitStopped(Exception):
    """A wait for peers was given up: a worker of the group was asked to stop."""


class Loader:
    """Reads exports and judges whether they can teach. In any thread."""

    def __init__(self, job: job_lib.Job, inputs: job_lib.Inputs):
        self._job, self._manifest = job, inputs.data.manifest
        self._probe = probe.of_text(
            inputs.windows,
            job.batches.global_batch_size,
            job.exchange.max_teacher_cross_entropy,
        )

    def of_peers(self) -> prefetch.Prefetcher[reader.Export]:
        """Returns what reads the peers' exports in the background."""
        return prefetch.Prefetcher(
            lambda request, snapshot: self.load(snapshot, request.peer),
            lambda peer: self._job.peer_layout(peer).exports,
            key=self._job.key,
            deadline_seconds=self._job.policy.read_deadline_seconds,
        )

    def of_path(self, path: str) -> reader.Export:
        """Returns the export that a user means by a path; raises as `load`."""
        return self.load(lookup.find(path, self._job.key), None)

    def load(
        self, snapshot: publication.Snapshot, student: int | None
    ) -> reader.Export:
        """Returns an export that is whole, fits, and knows more than nothing.

        It must be that of `student`; None: anybody's.

        Raises:
            SnapshotError: it cannot teach.
        """
        data = self._manifest
        expected = manifest.Expected(data.vocabulary, data.vocab_size, student)
        export = reader.read(snapshot, expected)
        self._probe.check(export)
        return export


class Reload:
    """Carries out what the policy of an exchange plans."""

    def __init__(
        self,
        policy: policies.Policy,
        group: cluster.Group,
        student: student_lib.Student,
        loader: Loader,
        asked_to_stop: Callable[[], bool],
        on_wait: Callable[[str], None] = lambda _: None,
    ):
        """Begins nothing yet; only the chief uses the loader.

        `on_wait` is called before each wait, with what is waited for, in words.
        """
        self._policy, self._group, self._student = policy, group, student
        self._loader, self._asked_to_stop = loader, asked_to_stop
        self._on_wait = on_wait
        self._prefetcher = loader.of_peers()
        self._is_announced = False

    @property
    def refusals(self) -> dict[str, int]:
        """How many exports were refused since the start, by reason."""
        return dict(self._prefetcher.refusals)

    @property
    def is_reading(self) -> bool:
        """Whether the chief has a look at storage under way."""
        return bool(self._prefetcher.requests) and not self._prefetcher.is_done

    def __call__(self, step: int) -> None:
        """Does what is due before the update at `step`. Collective.

        Raises:
            WaitStopped: a worker was asked to stop while the group waited.
            GroupLostError: the exports that are waited for did not come.
            SnapshotError: an export given by its path cannot teach.
        """
        plan = self._plan(step)
        if plan.let_go:  # The mean is of the rest.
            pool = self._student.teachers
            kept = [t for t in pool.active if t.peer not in plan.let_go]
            for teacher in pool.active:
                if teacher not in kept:
                    _log_teacher(step, teacher, "teacher_dropped", logging.WARNING)
            pool.swap(kept, step)
        if plan.paths:
            paths = plan.paths if self._group.is_chief else ()
            # Teachers are told apart by their place in the list, whosever they are.
            numbered = [
                dataclasses.replace(self._loader.of_path(path), student=index)
                for index, path in enumerate(paths)
            ]
            self._swap(step, numbered)
        elif plan.must_wait:
            self._wait_and_swap(step, plan)
        elif plan.requests and self._group.is_chief:
            has_begun = self._prefetcher.begin(plan.requests)
            if not has_begun:
                log.warning("step=%d event=still_reading peers=%s", step, plan.peers)

    def _plan(self, step: int) -> policies.ReloadPlan:
        held = {t.peer: (t.generation, t.step) for t in self._student.teachers.active}
        return self._policy.before_step(step, held)

    def announce(self) -> bool:
        """Returns whether the chief has something staged; True once for each."""
        # What is waited for at a fixed step needs no announcement.
        if self._policy.is_waited_for or self._is_announced:
            return False
        self._is_announced = self._prefetcher.is_done
        return self._is_announced

    def swap_staged(self, step: int) -> None:
        """Swaps in what the chief announced. Collective."""
        updates: list[Update] = []
        if self._group.is_chief:
            peers = [request.peer for request in self._prefetcher.requests]
            updates = self._updates(peers, self._prefetcher.take())
            self._is_announced = False
        self._swap(step, updates)

    def _updates(
        self, peers: Sequence[int], fresh: dict[int, reader.Export]
    ) -> list[Update]:
        """Returns what is fresh, and for the other peers what they taught before."""
        if not fresh:
            return []  # Nothing new is no reason to swap.
        current = self._student.teachers.of_peer
        updates = [fresh.get(peer) or current(peer) for peer in peers]
        return [update for update in updates if update is not None]

    def _wait_and_swap(self, step: int, plan: policies.ReloadPlan) -> None:
        """Waits until exactly what is planned is staged, and swaps.

        The plan is the same on every worker: it follows from the step and the
        teachers.
        """
        is_chief = self._group.is_chief
        if plan.requests:
            if is_chief and self._prefetcher.requests != plan.requests:
                self._prefetcher.drop()
                self._prefetcher.begin(plan.requests)
            self._wait(step, plan)
            fresh = self._prefetcher.take() if is_chief else {}
            updates = self._updates(plan.peers, fresh)
            if plan.is_averaged:
                self._student.average_with(self._of_all_workers(updates))
                log.info("step=%d event=weights_averaged", step)
            else:
                self._swap(step, updates)
        if is_chief and plan.next_step is not None:
            ahead = self._plan(plan.next_step).requests
            if ahead:
                self._prefetcher.begin(ahead)

    def _wait(self, step: int, plan: policies.ReloadPlan) -> None:
        """Waits for the prefetcher. Collective; raises as `__call__`."""
        deadline = self._policy.exchange.deadline_seconds
        began = time.monotonic()
        peers = ", ".join(map(str, plan.peers))
        self._on_wait(f"step {plan.requests[0].step} of student {peers}")
        while True:
            done, stop, late = self._group.any(
                self._prefetcher.is_done,
                self._asked_to_stop(),
                time.monotonic() - began > deadline,
            )
            if done:
                return
            if stop:
                raise WaitStopped
            if late:
                raise errors.GroupLostError(
                    f"Students {list(plan.peers)} did not all publish an export of "
                    f"step {plan.requests[0].step} that can be "
                    f"used within {deadline:g} s; the scheduled "
                    f"exchange needs exactly those at step {step}. Start the peers "
                    "again, or use --gin.EXCHANGE_MODE=freshest, which waits for "
                    "nobody."
                )
            time.sleep(_POLL_SECONDS)

    def _swap(self, step: int, updates: Sequence[Update]) -> None:
        """Gives every worker the chief's updates, if there are any, and swaps."""
        shared = self._of_all_workers(updates)
        if not shared:
            return
        pool = self._student.teachers
        pool.swap(shared, step)
        for teacher in pool.active:
            _log_teacher(step, teacher, "teacher_loaded", logging.INFO)

    def _of_all_workers(self, updates: Sequence[Update]) -> list[Any]:
        """Returns the chief's updates on every worker. Collective."""
        count = self._group.broadcast_json(len(updates))
        of_chief = updates if self._group.is_chief else [None] * count
        return [self._shared(update) for update in of_chief]

    def _shared(self, update: Update | None) -> Update:
        """Returns the chief's update on every worker; the others give None."""
        if self._group.num_workers == 1 and update is not None:
            return update
        kept = self._group.broadcast_json(
            update.peer if isinstance(update, teachers.Teacher) else None
        )
        teacher = None if kept is None else self._student.teachers.of_peer(kept)
        if teacher is not None:
            return teacher
        fresh = update if isinstance(update, reader.Export) else None
        header = self._group.broadcast_json(fresh.header() if fresh else None)
        export = fresh or reader.blank(header)
        weights = {n: self._group.sum(x) for n, x in sorted(export.weights.items())}
        return dataclasses.replace(export, weights=weights)


def _log_teacher(step: int, teacher: teachers.Teacher, event: str, level: int) -> None:
    log.log(
        level,
        "step=%d teacher=%d export_step=%d staleness=%d event=%s",
        *(step, teacher.peer, teacher.step, step - teacher.step, event),
    )
