"""Which single model a comparison recommends, and where each choice ends. Pure.

Two questions have two answers. *At equal device seconds*: somebody has the machines
of all students, for as long as one of them needs to train the reference, and wants the
best single model of that. So the budget is what the reference takes, times the
students, and each arm is judged by the best that it reached within that: an arm that
takes more is cut off. *At equal inference cost*: somebody trains once and answers for
long, and wants the best single model whatever its training takes.

In both, an arm is recommended only if it is shown to be better than the reference, all
arms counted: otherwise the reference is, being simpler.
"""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import curves, intervals, results, verdicts

# Of its steps, after which a run is not worth stopping: means over a tenth of the
# reports end half of that before the run does.
_NEARLY_ALL = 0.9


class Choice(NamedTuple):
    """The best single model by some rule.

    Attributes:
        arm: How it is trained.
        cross_entropy: What it scores, mean over seeds.
        reference: Name of the arm that it is compared with.
        difference: From that one, by the same rule; None for itself.
        p_holm: That this is chance, all arms counted.
        stop_at_step: Where its training ends; 0: at its end.
        budget: Device seconds; None where training may take what it will.
    """

    arm: arms_lib.Arm
    cross_entropy: float
    reference: str
    difference: intervals.Interval | None
    p_holm: float
    stop_at_step: int = 0
    budget: float | None = None

    @property
    def question(self) -> str:
        """What it is the best for."""
        if self.budget is None:
            return "at equal inference cost, whatever its training takes"
        return "at equal device seconds"

    @property
    def reason(self) -> str:
        """One sentence for people."""
        within = "" if self.budget is None else f" within {self.budget:,.0f} device s"
        text = f"{self.arm.name}: {self.cross_entropy:.4f} nats per token{within}"
        if self.difference is None:
            return f"{text}; no arm is shown to be better."
        return (
            f"{text}, {self.difference.mean:+.4f} from {self.reference} (95 % interval "
            f"{self.difference.low:+.4f} to {self.difference.high:+.4f} over "
            f"{self.difference.num_values} seeds, p {self.p_holm:.4f} corrected)."
        )


def at_equal_inference_cost(arm_results: Sequence[results.ArmResult]) -> Choice:
    """Returns the best single model, whatever its training takes."""
    plain, singles = _single_models(arm_results)
    better = [r for r in singles if verdicts.finding(r) is verdicts.Finding.BETTER]
    best = min(better, key=lambda r: r.cross_entropy, default=plain)
    return Choice(
        best.arm,
        best.cross_entropy,
        plain.arm.name,
        None if best is plain else best.difference,
        best.p_holm,
    )


def at_equal_device_seconds(
    arm_results: Sequence[results.ArmResult], students: int
) -> Choice | None:
    """Returns the best single model that the machines of all students can train.

    By the smoothed validation curves.

    Args:
        arm_results: Of all arms.
        students: How many groups of machines there are, each the reference's.

    Returns:
        None without curves.
    """
    plain, singles = _single_models(arm_results)
    if not all(trial.points for trial in plain.trials):
        return None
    budget = students * statistics.fmean(
        trial.prior.and_then(trial.points[-1]).device_seconds for trial in plain.trials
    )
    reached = {}
    for result in (plain, *singles):
        width = results.smoothing(plain.trials[0].points)
        points = [_within(trial, width, budget) for trial in result.trials]
        if all(points):
            reached[result.arm] = [point for point in points if point]
    differences = {
        arm: [
            a.cross_entropy - b.cross_entropy
            for a, b in zip(points, reached[plain.arm], strict=True)
        ]
        for arm, points in reached.items()
        if arm != plain.arm
    }
    together = intervals.holm(
        {arm: intervals.p_value(values) for arm, values in differences.items()}
    )
    better = [
        arm
        for arm, values in differences.items()
        if together[arm] <= intervals.LEVEL and statistics.fmean(values) < 0.0
    ]

    def mean(arm: arms_lib.Arm) -> float:
        return statistics.fmean(point.cross_entropy for point in reached[arm])

    best = min(better, key=mean, default=plain.arm)
    (trials,) = (r.trials for r in arm_results if r.arm == best)
    step = round(statistics.fmean(point.step for point in reached[best]))
    is_whole = step >= _NEARLY_ALL * trials[0].points[-1].step
    return Choice(
        best,
        mean(best),
        plain.arm.name,
        intervals.mean_interval(differences[best]) if best in differences else None,
        together.get(best, 1.0),
        0 if is_whole else step,
        budget,
    )


def _single_models(
    arm_results: Sequence[results.ArmResult],
) -> tuple[results.ArmResult, list[results.ArmResult]]:
    """Returns the reference, or the baseline if that is an ensemble, and the others."""
    reference, *_ = arm_results
    if reference.arm.is_ensemble:
        trials = {result.arm: result.trials for result in arm_results}
        arm_results = results.compare(trials, arms_lib.BASELINE)
    singles = [result for result in arm_results if not result.arm.is_ensemble]
    plain, *others = singles
    return plain, others


def _within(trial: results.Trial, width: int, budget: float) -> curves.Point | None:
    """Returns the best point of a trial that its budget reaches, if any."""
    left = budget - trial.prior.device_seconds
    smooth = curves.smoothed(trial.points, width)
    points = [point for point in smooth if point.device_seconds <= left]
    return curves.best(points) if points else None
