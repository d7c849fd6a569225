"""What a tuning tries: grids of settings, and a fair share of their points.

Pure. A point is some settings as gin text; values are kept as they were written.
"""

import collections
import dataclasses
import itertools
import math
import random
import re
from collections.abc import Mapping, Sequence

from lmcodistill import errors
from lmcodistill.experiments import arms as arms_lib

_KNOB = re.compile(r"[A-Za-z_][\w.]*")
# What a tuning sets itself, or needs to be the same in all trials.
_OURS = {
    *("NUM_TRAIN_STEPS", "Training.num_train_steps", "Training.stop_at_step"),
    *("SEED", "Training.seed", "ORDER_SEED", "Batches.order_seed"),
    *("EVALUATION_FIRST_TOKEN", "Training.evaluation_first_token"),
    *("EVALUATION_TOKENS", "Training.evaluation_tokens"),
    *("EVALUATE_EVERY_STEPS", "Training.evaluate_every_steps"),
    *("OFFLINE_EXPORTS", "Distillation.offline_exports"),
}

Point = arms_lib.Bindings


@dataclasses.dataclass(frozen=True)
class Grid:
    """Values to try of some knobs, each with each.

    Attributes:
        knobs: Names, each with its values.
    """

    knobs: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __add__(self, other: "Grid") -> "Grid":
        """Returns the grid of both; a knob of both has the values of `other`."""
        return Grid(tuple((dict(self.knobs) | dict(other.knobs)).items()))

    @property
    def size(self) -> int:
        """How many combinations there are."""
        return math.prod(len(values) for _, values in self.knobs)

    def points(self) -> list[Point]:
        """Returns every combination; one without settings if there is no knob."""
        names = [name for name, _ in self.knobs]
        values = (values for _, values in self.knobs)
        return [
            tuple(zip(names, chosen, strict=True))
            for chosen in itertools.product(*values)
        ]

    def edges(self, point: Point) -> list[str]:
        """Returns what lies on the edge of its values, as `LEARNING_RATE (highest)`.

        Only values that are all numbers have an edge. 0 is none: what is 0 is off.
        """
        found = []
        for name, value in point:
            numbers = [_number(v) for v in dict(self.knobs)[name]]
            known = [n for n in numbers if n is not None]
            number = _number(value)
            if number is None or len(known) < len(numbers) or len(set(known)) < 2:
                continue
            if number == max(known):
                found.append(f"{name} (highest)")
            elif number == min(known) and number:
                found.append(f"{name} (lowest)")
        return found


def parse(text: str, flag: str) -> Grid:
    """Returns the grid of `KNOB=VALUE,VALUE;KNOB=VALUE,...`.

    Raises:
        UsageError: the text is none, or has a knob that is not to be tuned.
    """
    knobs: dict[str, tuple[str, ...]] = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        name, _, rest = (p.strip() for p in part.partition("="))
        values = tuple(dict.fromkeys(v.strip() for v in rest.split(",")))
        if not (_KNOB.fullmatch(name) and all(values)) or name in knobs:
            raise errors.UsageError(
                f"--{flag}={text!r}: expected KNOB=VALUE,VALUE,... of one knob or, "
                "between semicolons, of several different ones."
            )
        if name in _OURS:
            raise errors.UsageError(
                f"--{flag}={text!r}: {name} is compare's to set while it tunes. Leave "
                "it out."
            )
        knobs[name] = values
    return Grid(tuple(knobs.items()))


def parse_own(text: str, known: Mapping[str, arms_lib.Arm]) -> tuple[str, Grid]:
    """Returns an arm's name and its own grid, of `ARM:KNOB=VALUE,...`.

    Raises:
        UsageError: the text is none, or the arm has no run of its own.
    """
    name, colon, rest = (part.strip() for part in text.partition(":"))
    grid = parse(rest, "tune_arm")
    if not colon or name not in known or not grid.knobs:
        raise errors.UsageError(
            f"--tune_arm={text!r}: expected ARM:KNOB=VALUE,VALUE,... with one of "
            f"{', '.join(known)}."
        )
    if known[name].run != name:
        raise errors.UsageError(
            f"--tune_arm={text!r}: {name} scores the run of {known[name].run}; tune "
            "that one."
        )
    return name, grid


def check(arm: arms_lib.Arm, grid: Grid) -> None:
    """Refuses to tune what makes an arm the arm that it is.

    Raises:
        UsageError: it sets one of the knobs itself.
    """
    if own := dict(arm.bindings).keys() & dict(grid.knobs).keys():
        name = sorted(own)[0]
        raise errors.UsageError(
            f"{name} cannot be tuned for {arm.name}, which sets it itself "
            f"({dict(arm.bindings)[name]}). Tune it for other arms by --tune_arm, or "
            "leave the arm out."
        )


def drawn(points: Sequence[Point], budget: int, seed: int = 0) -> list[Point]:
    """Returns `budget` of the points, in their order; all if there are no more.

    Evenly: each in turn is one whose values were drawn least so far, and chance decides
    among equals.
    """
    left = list(points)
    random.Random(seed).shuffle(left)
    times: collections.Counter[tuple[str, str]] = collections.Counter()
    chosen: set[Point] = set()
    while left and len(chosen) < budget:
        point = min(left, key=lambda p: sum(times[setting] for setting in p))
        left.remove(point)
        chosen.add(point)
        times.update(point)
    return [point for point in points if point in chosen]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
