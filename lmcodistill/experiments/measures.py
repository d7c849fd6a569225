"""From the reports of runs to the numbers of a comparison. Pure arithmetic."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import intervals

Reports = Sequence[Mapping[str, Any]]


class Point(NamedTuple):
    """A validation report.

    Attributes:
        step: Updates made.
        tokens: Trained on, by this student.
        seconds: Of training, by the clock, process starts excluded.
        device_seconds: The same for every process of the run together.
        cross_entropy: Nats per token.
    """

    step: int
    tokens: int
    seconds: float
    device_seconds: float
    cross_entropy: float


def curve(found: Reports, *, tokens_per_step: int, processes: int) -> list[Point]:
    """Returns the validation curve of a student.

    Args:
        found: Its `metrics.jsonl`.
        tokens_per_step: Positions of its global batch.
        processes: Of the whole run: what device seconds are counted for.
    """
    trained = sorted((r["step"], r["seconds"]) for r in found if r["kind"] == "train")
    steps = [0, *(step for step, _ in trained)]
    clock = [0.0, *itertools.accumulate(seconds for _, seconds in trained)]
    points = []
    for report in found:
        if report["kind"] == "validation" and report["cross_entropy"] is not None:
            step = int(report["step"])
            # Reports of training and of validation come at steps of their own.
            seconds = float(np.interp(step, steps, clock))
            points.append(
                Point(
                    step,
                    step * tokens_per_step,
                    seconds,
                    seconds * processes,
                    float(report["cross_entropy"]),
                )
            )
    return sorted(points)


def first_at(points: Sequence[Point], target: float) -> Point | None:
    """Returns the first report that is as good as `target`, or None."""
    return next((p for p in points if p.cross_entropy <= target), None)


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
    points: list[Point]
    wall_seconds: float
    cpu_seconds: float
    prior_steps: int = 0
    prior_cpu_seconds: float = 0.0


class Line(NamedTuple):
    """What is said of an arm.

    Attributes:
        arm: The arm.
        cross_entropy: Mean over seeds, nats per token.
        difference: From the baseline, seed by seed, nats per token.
        steps_to_target: Mean step at which it was as good as the baseline ever
            was, teachers' steps included; None where some seed never was.
        step_ratio: The baseline's steps to its best over this arm's, mean.
        device_ratio: The same of device seconds.
        cpu_seconds: Mean, teachers' included.
    """

    arm: arms_lib.Arm
    cross_entropy: float
    difference: intervals.Interval
    steps_to_target: float | None
    step_ratio: float | None
    device_ratio: float | None
    cpu_seconds: float


def line(arm: arms_lib.Arm, trials: Sequence[Trial], baseline: Sequence[Trial]) -> Line:
    """Compares an arm with the baseline, seed by seed.

    Args:
        arm: The arm.
        trials: By seed.
        baseline: By the same seeds.
    """
    steps, step_ratios, device_ratios = [], [], []
    for own, plain in zip(trials, baseline, strict=True):
        if not (own.points and plain.points):
            continue
        best = min(plain.points, key=lambda p: (p.cross_entropy, p.step))
        reached = first_at(own.points, best.cross_entropy)
        if reached is None:
            continue
        total = reached.step + own.prior_steps
        steps.append(total)
        step_ratios.append(best.step / total)
        device_ratios.append(best.device_seconds / max(reached.device_seconds, 1e-9))
    always = len(steps) == len(trials)
    return Line(
        arm,
        statistics.fmean(t.cross_entropy for t in trials),
        intervals.mean_interval(
            [
                own.cross_entropy - plain.cross_entropy
                for own, plain in zip(trials, baseline, strict=True)
            ]
        ),
        statistics.fmean(steps) if always else None,
        statistics.fmean(step_ratios) if always else None,
        # What the teachers' training cost is in no report of the pupil's.
        statistics.fmean(device_ratios) if always and not arm.taught_by else None,
        statistics.fmean(t.cpu_seconds + t.prior_cpu_seconds for t in trials),
    )


def band(curves: Sequence[Sequence[Point]], x: str) -> list[tuple[float, ...]]:
    """Returns x, mean, lowest and highest cross entropy at every common report.

    Args:
        curves: One per seed.
        x: Name of a field of `Point`; averaged over seeds.
    """
    rows: list[tuple[float, ...]] = []
    by_step = [{p.step: p for p in points} for points in curves]
    for step in sorted(set.intersection(*map(set, by_step)) if by_step else ()):
        points = [found[step] for found in by_step]
        values = [p.cross_entropy for p in points]
        at = statistics.fmean(getattr(p, x) for p in points)
        if all(map(math.isfinite, values)):
            rows.append((at, statistics.fmean(values), min(values), max(values)))
    return rows


def after_the_fall(rows: Sequence[tuple[float, ...]]) -> Sequence[tuple[float, ...]]:
    """Returns a band without its first quarter.

    There every arm falls alike, by nats; what tells arms apart later is hundredths.
    """
    return rows[len(rows) // 4 :]
