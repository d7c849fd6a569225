"""What a student does about its peers' exports before each step: one class a mode.

Pure decisions, without files, clocks or TensorFlow; `training/hooks/reload.py` and
`training/hooks/publish.py` carry them out. A new mode is a class
here and a line in `MODES`.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple

from lmcodistill.codistill import fixed_targets, topologies
from lmcodistill.settings import codistillation as settings

# What exports of one peer are ordered by: generation and step.
Version = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Request:
    """Which export of a peer to stage.

    Attributes:
        peer: Whose export.
        step: Exactly this step, waiting for it; None: the newest there is.
        held: Version of the export that teaches now; nothing older is taken.
        oldest: Nothing from before this step is taken.
    """

    peer: int
    step: int | None = None
    held: Version | None = None
    oldest: int = 0


class ReloadPlan(NamedTuple):
    """What to do before an update; by default nothing.

    Attributes:
        let_go: Peers whose exports teach no longer.
        peers: Who teaches from now on, in this order; for those without a request
            what is held goes on teaching.
        requests: What to stage.
        must_wait: Whether the update waits until all of it is there.
        is_averaged: Whether weights become the mean with what was staged, which
            teaches nobody.
        paths: Exports to read at once and to be taught by, wherever they are.
        next_step: The reload to look ahead to, once this plan is carried out.
    """

    let_go: tuple[int, ...] = ()
    peers: tuple[int, ...] = ()
    requests: tuple[Request, ...] = ()
    must_wait: bool = False
    is_averaged: bool = False
    paths: tuple[str, ...] = ()
    next_step: int | None = None


class Publishing(NamedTuple):
    """What a student owes to those who read its exports.

    Attributes:
        may_skip: Whether it may go without an export that is in the way.
        num_kept: How many of its newest exports it must not delete.
        counted_every_steps: Only those of its multiples count among these: peers wait
            for no others.
        patience_seconds: How long it tries again where storage refuses one.
    """

    may_skip: bool
    num_kept: int
    counted_every_steps: int
    patience_seconds: float


@dataclasses.dataclass(frozen=True)
class Policy:
    """One student's part in the exchange. This one reads no exports.

    Attributes:
        student: The student's index.
        num_students: Students in the run, N.
        exchange: The periods and the topology.
        burn_in_steps: Steps before any export is read.
        offline_exports: Paths of the exports that teach an offline student.
        is_waited_for: Whether peers wait for exactly the exports of some steps, so
            that all students must be alive.
    """

    student: int
    num_students: int
    exchange: settings.Exchange
    burn_in_steps: int = 0
    offline_exports: tuple[str, ...] = ()
    is_waited_for: ClassVar[bool] = False
    reads_peers: ClassVar[bool] = False

    @property
    def num_teachers(self) -> int:
        """How many models teach the student at a time, K."""
        return 0

    @property
    def read_deadline_seconds(self) -> float | None:
        """After which a look at storage that hangs is given up; None: never."""
        return self.exchange.read_deadline_seconds

    def before_step(self, step: int, held: Mapping[int, Version]) -> ReloadPlan:
        """Returns what to do before the update that moves `step` to `step + 1`.

        `held` has the versions of the exports that teach now, by peer.
        """
        return ReloadPlan()

    def update_steps(self, last: int) -> Iterator[int]:
        """Yields the steps of a run of `last` at which there is something new to use.

        Exports come as they do where all students keep one pace.
        """
        yield from ()

    def publishing(self, checkpoint_every_steps: int) -> Publishing:
        """Returns what it owes to readers; a restart throws it back by a checkpoint."""
        exchange = self.exchange
        # By the mode alone: peers may read the exports of who reads none.
        if not MODES[exchange.mode].is_waited_for:
            return Publishing(True, exchange.keep_exports, 1, 0.0)
        # A peer is never further behind than the step whose export it made us wait
        # for, and a restart throws it back by one more checkpoint period.
        behind = exchange.delay_steps + exchange.reload_every_steps
        behind += checkpoint_every_steps
        num_kept = 2 * behind // exchange.publish_every_steps + 2
        num_kept = max(exchange.keep_exports, num_kept)
        period = exchange.publish_every_steps
        return Publishing(False, num_kept, period, exchange.deadline_seconds)

    @property
    def longest_wait_seconds(self) -> float:
        """How long a step may wait for storage and peers, and nothing be wrong."""
        # One wait for its own export to be written, one for the peers'.
        return 2 * self.publishing(1).patience_seconds


class Offline(Policy):
    """Fixed exports teach, from the end of burn-in on (two-phase distillation)."""

    @property
    def num_teachers(self) -> int:
        return len(self.offline_exports)

    def before_step(self, step: int, held: Mapping[int, Version]) -> ReloadPlan:
        if held or step < self.burn_in_steps:
            return ReloadPlan()
        return ReloadPlan(paths=self.offline_exports)

    def update_steps(self, last: int) -> Iterator[int]:
        if self.burn_in_steps < last:
            yield self.burn_in_steps


class Freshest(Policy):
    """The newest committed export of every peer teaches, whenever it came."""

    reads_peers = True

    @property
    def least_age_steps(self) -> int:
        """How old an export is at least when it is used, all students at one pace."""
        return 1  # That of the same step is still being written.

    @property
    def num_teachers(self) -> int:
        return topologies.num_teachers(self.exchange, self.num_students)

    def before_step(self, step: int, held: Mapping[int, Version]) -> ReloadPlan:
        limit = self.exchange.max_staleness_steps
        oldest = step - limit if limit else 0
        stale = tuple(peer for peer, (_, taught) in held.items() if taught < oldest)
        is_turn = step % self.exchange.reload_every_steps == 0
        # The first look is at the end of burn-in, whatever the period.
        is_first = step == self.burn_in_steps
        if not is_first and not (is_turn and step > self.burn_in_steps):
            return ReloadPlan(let_go=stale)
        held = {peer: held[peer] for peer in held if peer not in stale}
        peers = topologies.peers_at(
            step, self.student, self.num_students, self.exchange
        )
        requests = [Request(peer, None, held.get(peer), oldest) for peer in peers]
        return self._reload(step, ReloadPlan(stale, tuple(peers), tuple(requests)))

    def _reload(self, step: int, plan: ReloadPlan) -> ReloadPlan:
        """Returns the plan of a reload, given that of the newest exports."""
        return plan

    def export_step(self, step: int) -> int | None:
        """Returns the step of the export that the reload at `step` uses.

        It is the newest of at least `least_age_steps`; None if none was published.
        """
        newest = step - self.least_age_steps
        published = newest - newest % self.exchange.publish_every_steps
        return published if published > 0 else None

    def update_steps(self, last: int) -> Iterator[int]:
        period, first = self.exchange.reload_every_steps, self.burn_in_steps
        used = None
        later = range((first // period + 1) * period, last, period)
        for step in itertools.chain((first,), later):
            peers = topologies.peers_at(
                step, self.student, self.num_students, self.exchange
            )
            newest = (self.export_step(step), peers)
            if newest[0] and newest != used and step < last:
                used = newest
                yield step


class Scheduled(Freshest):
    """Exactly the peers' exports of `delay_steps` ago teach, and are waited for."""

    is_waited_for = True

    @property
    def least_age_steps(self) -> int:
        return self.exchange.delay_steps

    @property
    def read_deadline_seconds(self) -> float | None:
        return None  # The wait has a deadline of its own.

    def _reload(self, step: int, plan: ReloadPlan) -> ReloadPlan:
        published = self.export_step(step)
        requests = tuple(
            dataclasses.replace(request, step=published)
            for request in plan.requests
            if published and (request.held is None or request.held[1] != published)
        )
        period = self.exchange.reload_every_steps
        return plan._replace(
            requests=requests, must_wait=True, next_step=(step // period + 1) * period
        )


class WeightAveraging(Scheduled):
    """No teachers: at every reload the weights become the mean of all (local SGD)."""

    @property
    def num_teachers(self) -> int:
        return 0

    def _reload(self, step: int, plan: ReloadPlan) -> ReloadPlan:
        return super()._reload(step, plan)._replace(is_averaged=True)


MODES: dict[str, type[Policy]] = {"freshest": Freshest, "scheduled": Scheduled}
# Where it is not the peers who teach.
_OTHER_TARGETS: dict[str, type[Policy]] = {
    "none": Policy,
    "offline": Offline,
    **dict.fromkeys(fixed_targets.DISTRIBUTIONS, Policy),
}


def of(
    student: int,
    num_students: int,
    distillation: settings.Distillation,
    exchange: settings.Exchange,
    burn_in_steps: int,
) -> Policy:
    """Returns the policy of a student; of the arguments, see `Policy`."""
    classes = _OTHER_TARGETS | {"peers": MODES[exchange.mode]}
    cls = WeightAveraging if exchange.average_weights else classes[distillation.targets]
    return cls(
        student, num_students, exchange, burn_in_steps, distillation.offline_exports
    )
