"""What a comparison measured: every trial, and every arm against the reference.

Pure arithmetic, but for `read`. What the numbers say in words is in `verdicts`.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import curves, intervals, runs
from lmcodistill.storage import files

# Ensembles whose gain a single model may keep a share of; the first that is there.
_ENSEMBLES = ("pooled_ensemble", "ensemble")
# A curve is smoothed over this share of the reference's reports.
_SMOOTHED_SHARE = 0.1


class Spent(NamedTuple):
    """What training took.

    Attributes:
        steps: Updates, one after the other: of students side by side, of one.
        tokens: Read by one student, and by one teacher of each generation before it.
        device_seconds: Of all processes.
    """

    steps: float = 0.0
    tokens: float = 0.0
    device_seconds: float = 0.0

    def and_then(self, point: curves.Point) -> "Spent":
        """Returns what it took with what came next, until a point of a curve."""
        return Spent(
            self.steps + point.step,
            self.tokens + point.tokens,
            self.device_seconds + point.device_seconds,
        )


@dataclasses.dataclass(frozen=True)
class Trial:
    """One arm with one seed.

    Attributes:
        cross_entropy: Of the last export over the held-out text, nats per token.
        points: Student 0's validation curve; empty for an ensemble.
        wall_seconds: Of training.
        cpu_seconds: Of all processes of the run, and of those that trained its
            teachers before.
        prior: What its teachers took before.
    """

    cross_entropy: float
    points: list[curves.Point]
    wall_seconds: float
    cpu_seconds: float
    prior: Spent = Spent()


class ToTarget(NamedTuple):
    """What it took to be as good as the reference ever was; its teachers' included.

    Attributes:
        num_reached: Seeds that came down to it; if not all, the next three are None.
        steps: Mean over seeds.
        tokens: The same.
        device_seconds: The same.
        fewer_steps: The reference's steps over the arm's, to what both reached.
        fewer_device_seconds: The same of device seconds.
    """

    num_reached: int
    steps: intervals.Interval | None
    tokens: intervals.Interval | None
    device_seconds: intervals.Interval | None
    fewer_steps: intervals.Interval
    fewer_device_seconds: intervals.Interval


class ArmResult(NamedTuple):
    """An arm against the reference.

    Attributes:
        arm: The arm.
        reference: Name of the arm that it is compared with.
        trials: By seed.
        cross_entropy: Mean over seeds, nats per token.
        difference: From the reference, seed by seed, nats per token.
        p: That the difference is chance, Student's.
        p_holm: The same for all arms of the report together; `intervals.holm`.
        num_compared: How many arms these are.
        to_target: What it took to the reference's best; None without a curve.
        share_kept: Of what an ensemble gains on the reference, how much this single
            model does; None where that says nothing.
        cpu_seconds: Mean, teachers' included.
    """

    arm: arms_lib.Arm
    reference: str
    trials: Sequence[Trial]
    cross_entropy: float
    difference: intervals.Interval
    p: float
    p_holm: float
    num_compared: int
    to_target: ToTarget | None
    share_kept: intervals.Interval | None
    cpu_seconds: float

    @property
    def is_reference(self) -> bool:
        return self.arm.name == self.reference

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.arm.name,
            "what": self.arm.description,
            "settings": dict(self.arm.bindings),
            **_json(self, "arm", "trials"),
            "trials": [
                {
                    "cross_entropy": trial.cross_entropy,
                    "wall_seconds": trial.wall_seconds,
                    "cpu_seconds": trial.cpu_seconds,
                    "curve": [point._asdict() for point in trial.points],
                }
                for trial in self.trials
            ],
        }


def read(
    chosen: Sequence[arms_lib.Arm],
    made: Mapping[runs.TrainRun[runs.RunOutcome], runs.RunOutcome],
    tokens_per_step: Mapping[str, int],
) -> dict[arms_lib.Arm, list[Trial]]:
    """Reads what the runs reported.

    Args:
        chosen: The arms of the report.
        made: Outcomes of all runs that these arms need.
        tokens_per_step: Positions of the global batch of each arm's run.

    Returns:
        The trials of each arm, by seed.
    """
    by_key = {(run.arm.name, run.seed): (run, made[run]) for run in made}
    seeds = sorted({run.seed for run in made})

    def curve(name: str, seed: int) -> list[curves.Point]:
        run, _ = by_key[name, seed]
        return curves.curve(
            files.read_json_lines(run.student(0).metrics),
            tokens_per_step=tokens_per_step[name],
            processes=run.processes,
        )

    def prior(arm: arms_lib.Arm, seed: int) -> tuple[Spent, float]:
        """Returns what an arm's teachers took, and theirs, and their CPU seconds."""
        if not arm.taught_by:
            return Spent(), 0.0
        run, outcome = by_key[arm.taught_by, seed]
        spent, cpu_seconds = prior(run.arm, seed)
        for point in curve(arm.taught_by, seed)[-1:]:
            spent = spent.and_then(point)
        return spent, cpu_seconds + outcome.cpu_seconds

    def trial(arm: arms_lib.Arm, seed: int) -> Trial:
        run, outcome = by_key[arm.run, seed]
        spent, cpu_seconds = prior(run.arm, seed)
        scored = outcome.ensemble if arm.is_ensemble else outcome.students[0]
        assert scored is not None
        return Trial(
            scored["cross_entropy"],
            [] if arm.is_ensemble else curve(arm.run, seed),
            outcome.wall_seconds,
            outcome.cpu_seconds + cpu_seconds,
            spent,
        )

    return {arm: [trial(arm, seed) for seed in seeds] for arm in chosen}


def compare(
    trials: Mapping[arms_lib.Arm, Sequence[Trial]], reference: str
) -> list[ArmResult]:
    """Compares every arm with the reference, seed by seed.

    Args:
        trials: Of each arm by the same seeds.
        reference: The name of one of the arms.

    Returns:
        The reference first, the others in their order.
    """
    by_name = {arm.name: own for arm, own in trials.items()}
    plain = by_name[reference]
    ensemble = next((by_name[name] for name in _ENSEMBLES if name in by_name), None)
    differences = {
        arm: [t.cross_entropy - r.cross_entropy for t, r in _pairs(own, plain)]
        for arm, own in trials.items()
    }
    p_values = {
        arm: intervals.p_value(values)
        for arm, values in differences.items()
        if arm.name != reference
    }
    together = intervals.holm(p_values)
    results = [
        ArmResult(
            arm,
            reference,
            own,
            statistics.fmean(t.cross_entropy for t in own),
            intervals.mean_interval(differences[arm]),
            p_values.get(arm, 1.0),
            together.get(arm, 1.0),
            len(p_values),
            to_target(own, plain),
            None
            if ensemble is None or arm.is_ensemble or arm.name == reference
            else share_kept(own, plain, ensemble),
            statistics.fmean(t.cpu_seconds for t in own),
        )
        for arm, own in trials.items()
    ]
    return sorted(results, key=lambda result: not result.is_reference)


def to_target(trials: Sequence[Trial], reference: Sequence[Trial]) -> ToTarget | None:
    """Returns what it took to come down to the reference's best, over seeds.

    Each seed has its own target, the lowest point of the reference's curve of that
    seed: what a seed does to both arms cancels, and no seed of the reference is asked
    for more than it reached itself, as it would be for a mean over seeds. Where the arm
    stays above it, the two are compared at the arm's own best instead. So every seed
    counts, and arms that are equal come out equal: if only the seeds that came down
    counted, luck would make them 1 to 10 % faster (simulated). All curves are smoothed
    by means over a tenth of the reference's reports, which halves the spread.
    """
    num_reached = 0
    passages = []
    for trial, plain in _pairs(trials, reference):
        if not (trial.points and plain.points):
            return None
        width = smoothing(plain.points)
        own = curves.smoothed(trial.points, width)
        other = curves.smoothed(plain.points, width)
        bests = [curves.best(points).cross_entropy for points in (own, other)]
        num_reached += bests[0] <= bests[1]
        passages.append(
            (
                trial.prior.and_then(curves.first_at(own, max(bests))),
                plain.prior.and_then(curves.first_at(other, max(bests))),
            )
        )

    def mean(name: str) -> intervals.Interval | None:
        if num_reached < len(trials):
            return None
        return intervals.mean_interval([getattr(own, name) for own, _ in passages])

    def fewer(name: str) -> intervals.Interval:
        return intervals.geometric_interval(
            [getattr(b, name) / max(getattr(a, name), 1e-9) for a, b in passages]
        )

    return ToTarget(
        num_reached,
        *(mean("steps"), mean("tokens"), mean("device_seconds")),
        *(fewer("steps"), fewer("device_seconds")),
    )


def smoothing(reference: Sequence[curves.Point]) -> int:
    """Returns over how many reports curves are smoothed: a tenth of the reference's."""
    return round(_SMOOTHED_SHARE * len(reference))


def share_kept(
    trials: Sequence[Trial], reference: Sequence[Trial], ensemble: Sequence[Trial]
) -> intervals.Interval | None:
    """Returns how much of an ensemble's gain on the reference an arm has.

    A ratio of means, `intervals.ratio_interval`. None where the ensemble gains nothing.
    """

    def gains(of: Sequence[Trial]) -> list[float]:
        return [r.cross_entropy - t.cross_entropy for t, r in _pairs(of, reference)]

    whole = gains(ensemble)
    if statistics.fmean(whole) <= 0.0:
        return None
    return intervals.ratio_interval(gains(trials), whole)


def _pairs(
    trials: Sequence[Trial], reference: Sequence[Trial]
) -> list[tuple[Trial, Trial]]:
    return list(zip(trials, reference, strict=True))


def _json(value: Any, *without: str) -> Any:
    """Returns named tuples as JSON objects, intervals without infinities."""
    if isinstance(value, intervals.Interval):
        return value.to_json()
    if hasattr(value, "_asdict"):
        fields = value._asdict().items()
        return {name: _json(v) for name, v in fields if name not in without}
    return value
