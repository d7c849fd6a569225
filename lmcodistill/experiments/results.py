"""What a comparison measured: every trial, and every arm against the baseline.

And what the numbers say, in sentences that follow from them either way.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import curves, runs
from lmcodistill.storage import files

HEAD = ("arm", "nats/token", "difference", "95 % interval", "steps", "fewer", "CPU s")
_UNITS = 4  # Decimals of nats per token.
# Nats per token; smaller differences matter to no one, whatever the interval.
NEGLIGIBLE = 0.005
# Student's t, two-sided 95 %, by degrees of freedom from 1 on; beyond, normal.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


class Interval(NamedTuple):
    """A mean with its 95 % interval.

    Attributes:
        mean: Of the values.
        low: Lower end; minus infinity where one value says nothing of the spread.
        high: Upper end.
        num_values: How many there were.
    """

    mean: float
    low: float
    high: float
    num_values: int

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0.0 or self.high < 0.0


def mean_interval(values: Sequence[float]) -> Interval:
    """Returns the mean of `values` and Student's interval around it.

    For differences between two arms, give the differences seed by seed: both
    arms' student 0 begins with the same weights and reads the same batches, so
    much of the spread between seeds cancels.
    """
    if not values:
        raise ValueError("No value.")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    freedom = len(values) - 1
    quantile = _T[freedom - 1] if freedom <= len(_T) else 1.96
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half, len(values))


@dataclasses.dataclass(frozen=True)
class Trial:
    """One arm with one seed.

    Attributes:
        cross_entropy: Of the last export over the held-out text, nats per token.
        points: Student 0's validation curve; empty for an ensemble.
        wall_seconds: Of training.
        cpu_seconds: Of all processes of the run.
        prior_steps: Steps that its teachers took before.
        prior_cpu_seconds: What those cost.
    """

    cross_entropy: float
    points: list[curves.Point]
    wall_seconds: float
    cpu_seconds: float
    prior_steps: int = 0
    prior_cpu_seconds: float = 0.0


class ArmResult(NamedTuple):
    """An arm against the baseline.

    Attributes:
        arm: The arm.
        trials: By seed.
        cross_entropy: Mean over seeds, nats per token.
        difference: From the baseline, seed by seed, nats per token.
        steps_to_target: Mean step at which it was as good as the baseline ever
            was, teachers' steps included; None where some seed never was.
        step_ratio: The baseline's steps to its best over this arm's, mean.
        device_ratio: The same of device seconds.
        cpu_seconds: Mean, teachers' included.
    """

    arm: arms_lib.Arm
    trials: Sequence[Trial]
    cross_entropy: float
    difference: Interval
    steps_to_target: float | None
    step_ratio: float | None
    device_ratio: float | None
    cpu_seconds: float

    @property
    def row(self) -> tuple[str, ...]:
        """The arm's line of the table under `HEAD`."""
        difference, interval = self.difference, "-"
        is_baseline = self.arm.name == arms_lib.BASELINE
        if difference.num_values > 1 and not is_baseline:
            # Spaces that no line is broken at.
            interval = (
                f"{difference.low:+.{_UNITS}f}\u00a0to\u00a0"
                f"{difference.high:+.{_UNITS}f}"
            )
        return (
            self.arm.name,
            f"{self.cross_entropy:.{_UNITS}f}",
            "-" if is_baseline else f"{difference.mean:+.{_UNITS}f}",
            interval,
            "-" if self.steps_to_target is None else f"{self.steps_to_target:,.0f}",
            "-" if self.step_ratio is None else f"{self.step_ratio:.2f}",
            f"{self.cpu_seconds:,.0f}",
        )

    def to_json(self) -> dict[str, Any]:
        values = self._asdict()
        del values["arm"]
        return {
            "name": self.arm.name,
            "what": self.arm.description,
            "settings": dict(self.arm.bindings),
            **values,
            # JSON has no word for what is not finite.
            "difference": {
                name: None if math.isinf(value) else value
                for name, value in self.difference._asdict().items()
            },
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


def collect(
    chosen: Sequence[arms_lib.Arm],
    made: Mapping[runs.ArmRun, runs.RunOutcome],
    tokens_per_step: Mapping[str, int],
) -> list[ArmResult]:
    """Reads what the runs reported, and compares every arm with the baseline.

    Args:
        chosen: The arms of the report, the baseline first.
        made: Outcomes of all runs that these arms need.
        tokens_per_step: Positions of the global batch of each arm's run.
    """
    by_key = {(run.arm.name, run.seed): (run, made[run]) for run in made}
    seeds = sorted({run.seed for run in made})

    def trial(arm: arms_lib.Arm, seed: int) -> Trial:
        run, outcome = by_key[arm.run, seed]
        costs = outcome.wall_seconds, outcome.cpu_seconds
        if arm.is_ensemble:
            assert outcome.ensemble is not None
            return Trial(outcome.ensemble["cross_entropy"], [], *costs)
        points = curves.curve(
            files.read_json_lines(run.student(0).metrics),
            tokens_per_step=tokens_per_step[arm.run],
            processes=run.processes,
        )
        cross_entropy = outcome.students[0]["cross_entropy"]
        return Trial(cross_entropy, points, *costs, *before(arm, seed))

    def before(arm: arms_lib.Arm, seed: int) -> tuple[int, float]:
        """Returns steps and CPU seconds of its teachers, and of theirs."""
        if not arm.taught_by:
            return 0, 0.0
        run, teacher = by_key[arm.taught_by, seed]
        steps, cpu_seconds = before(run.arm, seed)
        steps += max(teacher.students[0]["steps"])
        return steps, cpu_seconds + teacher.cpu_seconds

    trials = [[trial(arm, seed) for seed in seeds] for arm in chosen]
    return [
        compare(arm, own_trials, trials[0])
        for arm, own_trials in zip(chosen, trials, strict=True)
    ]


def compare(
    arm: arms_lib.Arm, trials: Sequence[Trial], baseline: Sequence[Trial]
) -> ArmResult:
    """Compares an arm with the baseline, seed by seed.

    Args:
        arm: The arm.
        trials: By seed.
        baseline: By the same seeds.
    """
    pairs = list(zip(trials, baseline, strict=True))
    steps, step_ratios, device_ratios = [], [], []
    for trial, plain in pairs:
        if not (trial.points and plain.points):
            continue
        best = min(plain.points, key=lambda p: (p.cross_entropy, p.step))
        as_good = (p for p in trial.points if p.cross_entropy <= best.cross_entropy)
        if (reached := next(as_good, None)) is None:
            continue
        steps.append(reached.step + trial.prior_steps)
        step_ratios.append(best.step / steps[-1])
        device_ratios.append(best.device_seconds / max(reached.device_seconds, 1e-9))
    always = len(steps) == len(trials)
    return ArmResult(
        arm,
        trials,
        statistics.fmean(t.cross_entropy for t in trials),
        mean_interval([t.cross_entropy - b.cross_entropy for t, b in pairs]),
        statistics.fmean(steps) if always else None,
        statistics.fmean(step_ratios) if always else None,
        # What the teachers' training cost is in no report of the student's.
        statistics.fmean(device_ratios) if always and not arm.taught_by else None,
        statistics.fmean(t.cpu_seconds + t.prior_cpu_seconds for t in trials),
    )


def conclusion(result: ArmResult) -> str:
    """Returns one sentence on an arm against the baseline."""
    difference = result.difference
    name = result.arm.description[:1].upper() + result.arm.description[1:]
    if difference.num_values == 1:
        return (
            f"{name}: {difference.mean:+.4f} nats per token from the baseline with one "
            "seed, which says nothing of chance; give more --seeds."
        )
    spread = (
        f"{difference.mean:+.4f} nats per token, 95 % interval {difference.low:+.4f} "
        f"to {difference.high:+.4f} over {difference.num_values} seeds"
    )
    if not difference.excludes_zero:
        return f"{name}: no difference that these seeds can show ({spread})."
    if abs(difference.mean) < NEGLIGIBLE:
        return (
            f"{name}: no difference that matters ({spread}; less than {NEGLIGIBLE} "
            "counts as none)."
        )
    word = "better" if difference.mean < 0 else "worse"
    return f"{name}: {word} than the baseline ({spread}){_speed(result)}"


def _speed(result: ArmResult) -> str:
    if result.arm.is_ensemble:
        return "; it needs every one of the models to answer."
    if result.steps_to_target is None:
        return "; not every seed came down to the baseline's best."
    if result.step_ratio is None or result.step_ratio <= 1.0:
        return "."
    text = (
        f"; as good as the baseline's best after {result.steps_to_target:,.0f} steps, "
        f"{result.step_ratio:.2f} times fewer"
    )
    if result.device_ratio is not None:
        text += f", for {1.0 / result.device_ratio:.2f} times the device seconds"
    return f"{text}."
