"""Validation curves, from the reports of runs. Pure arithmetic."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Point(NamedTuple):
    """A validation report, or what lies between two.

    Attributes:
        step: Updates made.
        tokens: Trained on, by this student.
        seconds: Of training, by the clock: without process starts, validation, and
            tracing.
        device_seconds: The same for every process of the run together.
        cross_entropy: Nats per token.
    """

    step: float
    tokens: float
    seconds: float
    device_seconds: float
    cross_entropy: float


def curve(
    reports: Sequence[Mapping[str, Any]], *, tokens_per_step: int, processes: int
) -> list[Point]:
    """Returns the validation curve of a student.

    Args:
        reports: Its `metrics.jsonl`.
        tokens_per_step: Positions of its global batch.
        processes: Of the whole run: what device seconds are counted for.
    """
    trained = sorted((r["step"], r["seconds"]) for r in reports if r["kind"] == "train")
    steps = [0, *(step for step, _ in trained)]
    clock = [0.0, *itertools.accumulate(seconds for _, seconds in trained)]
    points = []
    for report in reports:
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


def smoothed(points: Sequence[Point], width: int) -> list[Point]:
    """Returns the means of every `width` consecutive reports, of steps as of nats.

    Because steps are averaged as well, a straight stretch of the curve stays where it
    was, also at its end; fewer reports than `width` become one.
    """
    width = max(1, min(width, len(points)))
    windows = (points[i : i + width] for i in range(len(points) - width + 1))
    return [Point(*map(statistics.fmean, zip(*w, strict=True))) for w in windows if w]


def best(points: Sequence[Point]) -> Point:
    """Returns the point of the lowest cross entropy; of equals, the earliest."""
    return min(points, key=lambda p: (p.cross_entropy, p.step))


def first_at(points: Sequence[Point], cross_entropy: float) -> Point:
    """Returns where a curve first comes down to a cross entropy that it reaches.

    Between two reports the curve is taken for straight.
    """
    for before, point in zip([None, *points], points, strict=False):
        if point.cross_entropy > cross_entropy:
            continue
        if before is None:
            return point
        fall = before.cross_entropy - point.cross_entropy
        share = (before.cross_entropy - cross_entropy) / fall
        return Point(*(a + share * (b - a) for a, b in zip(before, point, strict=True)))
    raise ValueError(f"The curve stays above {cross_entropy}.")


def band(curves: Sequence[Sequence[Point]], x: str) -> list[tuple[float, ...]]:
    """Returns x, mean, lowest and highest cross entropy at every common report.

    Args:
        curves: One per seed.
        x: Name of a field of `Point`; averaged over seeds.
    """
    rows: list[tuple[float, ...]] = []
    by_step = [{p.step: p for p in points} for points in curves]
    for step in sorted(set.intersection(*map(set, by_step)) if by_step else ()):
        points = [point_at[step] for point_at in by_step]
        values = [p.cross_entropy for p in points]
        mean_x = statistics.fmean(getattr(p, x) for p in points)
        if all(map(math.isfinite, values)):
            rows.append((mean_x, statistics.fmean(values), min(values), max(values)))
    return rows


def without_first_quarter(
    rows: Sequence[tuple[float, ...]],
) -> Sequence[tuple[float, ...]]:
    """Returns a band without its first quarter.

    There every arm falls alike, by nats; what tells arms apart later is hundredths.
    """
    return rows[len(rows) // 4 :]
