"""What a comparison found: every trial, and a line per arm."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import intervals, measures, runs
from lmcodistill.settings import training
from lmcodistill.storage import files

HEAD = (
    "arm",
    "nats/token",
    "difference",
    "95 % interval",
    "steps",
    "fewer",
    "CPU s",
)
_UNITS = 4  # Decimals of nats per token.


@dataclasses.dataclass(frozen=True)
class Findings:
    """All that a report shows.

    Attributes:
        lines: Per arm, the baseline first.
        trials: Per arm name, by seed.
        commands: Of all runs.
    """

    lines: list[measures.Line]
    trials: dict[str, list[measures.Trial]]
    commands: list[str]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The table under `HEAD`."""
        return [_row(line) for line in self.lines]

    def to_json(self) -> dict[str, Any]:
        """Returns numbers for programs."""
        return {
            "arms": [
                {
                    "name": line.arm.name,
                    "what": line.arm.what,
                    "settings": dict(line.arm.bindings),
                    "cross_entropy": line.cross_entropy,
                    "difference": _finite(line.difference._asdict()),
                    "steps_to_target": line.steps_to_target,
                    "step_ratio": line.step_ratio,
                    "device_ratio": line.device_ratio,
                    "cpu_seconds": line.cpu_seconds,
                    "trials": [
                        {
                            "cross_entropy": trial.cross_entropy,
                            "wall_seconds": trial.wall_seconds,
                            "cpu_seconds": trial.cpu_seconds,
                            "curve": [point._asdict() for point in trial.points],
                        }
                        for trial in self.trials[line.arm.name]
                    ],
                }
                for line in self.lines
            ],
            "commands": self.commands,
        }


def collect(
    chosen: Sequence[arms_lib.Arm],
    known: Mapping[str, arms_lib.Arm],
    made: Mapping[tuple[str, int], runs.Outcome],
    plan: runs.Plan,
    *,
    seeds: int,
    batches: training.Batches,
) -> Findings:
    """Reads what the runs reported, and compares every arm with the baseline.

    Args:
        chosen: The arms of the report, the baseline first.
        known: All arms, by name.
        made: Outcomes by run and seed.
        plan: Of the comparison.
        seeds: How many.
        batches: What the user's configuration says of them.
    """
    trials = {
        arm.name: [
            _trial(arm, known, made, plan, seed, batches) for seed in range(seeds)
        ]
        for arm in chosen
    }
    baseline = trials[arms_lib.BASELINE]
    return Findings(
        [measures.line(arm, trials[arm.name], baseline) for arm in chosen],
        trials,
        [command for outcome in made.values() for command in outcome.commands],
    )


def _trial(
    arm: arms_lib.Arm,
    known: Mapping[str, arms_lib.Arm],
    made: Mapping[tuple[str, int], runs.Outcome],
    plan: runs.Plan,
    seed: int,
    batches: training.Batches,
) -> measures.Trial:
    outcome = made[arm.run, seed]
    if arm.is_ensemble:
        assert outcome.ensemble is not None
        return measures.Trial(
            outcome.ensemble["cross_entropy"],
            [],
            outcome.wall_seconds,
            outcome.cpu_seconds,
        )
    run = runs.Run(plan, known[arm.run], seed)
    size = dict(arm.bindings).get("GLOBAL_BATCH_SIZE")
    points = measures.curve(
        files.read_json_lines(run.student(0).metrics),
        tokens_per_step=int(size or batches.global_batch_size) * batches.window,
        processes=arm.students * plan.workers_per_student,
    )
    teacher = made.get((arm.taught_by, seed))
    return measures.Trial(
        outcome.students[0]["cross_entropy"],
        points,
        outcome.wall_seconds,
        outcome.cpu_seconds,
        prior_steps=max(teacher.students[0]["steps"]) if teacher else 0,
        prior_cpu_seconds=teacher.cpu_seconds if teacher else 0.0,
    )


def _row(line: measures.Line) -> tuple[str, ...]:
    found = line.difference
    is_baseline = line.arm.name == arms_lib.BASELINE
    has_interval = found.num_values > 1 and not is_baseline
    return (
        line.arm.name,
        f"{line.cross_entropy:.{_UNITS}f}",
        "-" if is_baseline else f"{found.mean:+.{_UNITS}f}",
        _interval(found) if has_interval else "-",
        "-" if line.steps_to_target is None else f"{line.steps_to_target:,.0f}",
        "-" if line.step_ratio is None else f"{line.step_ratio:.2f}",
        f"{line.cpu_seconds:,.0f}",
    )


def _interval(found: intervals.Interval) -> str:
    # Spaces that no line is broken at.
    return f"{found.low:+.{_UNITS}f}\u00a0to\u00a0{found.high:+.{_UNITS}f}"


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no word for what is not finite."""
    return {k: None if abs(v) == float("inf") else v for k, v in values.items()}
