"""Validation curves, from the reports of runs. Pure arithmetic."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Point(NamedTuple):
    """A validation report.

    Attributes:
        step: Updates made.
        tokens: Trained on, by this student.
        seconds: Of training, by the clock: without process starts, validation, and
            tracing.
        device_seconds: The same for every process of the run together.
        cross_entropy: Nats per token.
    """

    step: int
    tokens: int
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
