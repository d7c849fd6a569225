"""What a tuning tried of every arm, in numbers, words and tables. Pure."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import grids

HEAD = ("arm", "settings", "nats/token at each rung", "chosen")
BEST_HEAD = ("arm", "best settings", "nats/token", "trials")


class Tried(NamedTuple):
    """Some settings of an arm.

    Attributes:
        point: The settings.
        scores: Nats per token at the rungs that it reached; infinity: it diverged.
        cpu_seconds: Of all processes.
        commands: What was run.
    """

    point: grids.Point
    scores: tuple[float, ...]
    cpu_seconds: float
    commands: tuple[str, ...]


class Tuned(NamedTuple):
    """What was tried of an arm, and what was best.

    Attributes:
        arm: The arm as it was given.
        grid: Its values.
        rungs: Steps at which trials were compared.
        trials: All of them.
        best: The settings that its scored runs have.
        folder: Where these are, within the arm's.
    """

    arm: arms_lib.Arm
    grid: grids.Grid
    rungs: tuple[int, ...]
    trials: tuple[Tried, ...]
    best: grids.Point
    folder: str

    @property
    def best_arm(self) -> arms_lib.Arm:
        """The arm with its best settings."""
        bindings = (*self.arm.bindings, *self.best)
        return dataclasses.replace(self.arm, bindings=bindings)

    @property
    def edges(self) -> list[str]:
        return self.grid.edges(self.best)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.arm.name,
            "grid": dict(self.grid.knobs),
            "points": self.grid.size,
            "rungs": self.rungs,
            "trials": [
                {
                    "settings": dict(trial.point),
                    # JSON has no word for what is not finite.
                    "scores": [s if math.isfinite(s) else None for s in trial.scores],
                    "cpu_seconds": trial.cpu_seconds,
                    "commands": trial.commands,
                }
                for trial in self.trials
            ],
            "best": dict(self.best),
            "on_the_edge": self.edges,
        }


def sentences(tuned: Sequence[Tuned], budget: int) -> list[str]:
    """Returns what was tried and whether more should be, for people."""
    lines = [
        f"Every arm had a budget of {budget} trials, on a seed and a part of the "
        "validation text of their own; half of the trials went on at half of the steps."
    ]
    for arm in tuned:
        count = len(arm.trials)
        if count < arm.grid.size:
            lines.append(
                f"{arm.arm.name}: {count} of {arm.grid.size} points were drawn, evenly."
            )
        elif count < budget:
            lines.append(f"{arm.arm.name}: its grid has {count} points, all tried.")
    lines.append(
        "CPU seconds of tuning: "
        + ", ".join(
            f"{arm.arm.name} {sum(t.cpu_seconds for t in arm.trials):,.0f}"
            for arm in tuned
        )
        + "."
    )
    lines += [
        f"{arm.arm.name}: the best lies on the edge of its grid, {', '.join(arm.edges)}"
        "; widen it there and start the same command again, which makes no trial twice."
        for arm in tuned
        if arm.edges
    ]
    return lines


def rows(tuned: Sequence[Tuned]) -> list[tuple[str, ...]]:
    """Returns a line under `HEAD` for every trial, an arm's best ones first."""
    return [
        (
            arm.arm.name,
            settings(trial.point),
            ", ".join(_score(score) for score in trial.scores),
            "yes" if trial.point == arm.best else "",
        )
        for arm in tuned
        for trial in sorted(arm.trials, key=lambda t: (-len(t.scores), t.scores[-1]))
    ]


def best_rows(tuned: Sequence[Tuned]) -> list[tuple[str, ...]]:
    """Returns a line under `BEST_HEAD` for every arm."""
    return [
        (
            arm.arm.name,
            settings(arm.best),
            _score(next(t.scores[-1] for t in arm.trials if t.point == arm.best)),
            str(len(arm.trials)),
        )
        for arm in tuned
    ]


def settings(point: grids.Point) -> str:
    """Returns settings for people."""
    return " ".join(f"{name}={value}" for name, value in point) or "as given"


def _score(score: float) -> str:
    return f"{score:.4f}" if math.isfinite(score) else "diverged"
