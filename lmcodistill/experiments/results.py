"""What a comparison measured: every trial, and every arm against the baseline."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import curves, intervals, runs
from lmcodistill.storage import files

HEAD = ("arm", "nats/token", "difference", "95 % interval", "steps", "fewer", "CPU s")
_UNITS = 4  # Decimals of nats per token.


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
    difference: intervals.Interval
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
        if not arm.taught_by:
            return Trial(cross_entropy, points, *costs)
        _, teacher = by_key[arm.taught_by, seed]
        prior = max(teacher.students[0]["steps"]), teacher.cpu_seconds
        return Trial(cross_entropy, points, *costs, *prior)

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
        intervals.mean_interval([t.cross_entropy - b.cross_entropy for t, b in pairs]),
        statistics.fmean(steps) if always else None,
        statistics.fmean(step_ratios) if always else None,
        # What the teachers' training cost is in no report of the student's.
        statistics.fmean(device_ratios) if always and not arm.taught_by else None,
        statistics.fmean(t.cpu_seconds + t.prior_cpu_seconds for t in trials),
    )
