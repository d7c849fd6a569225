"""Tunes every arm by itself, at the same cost, before the arms are compared.

On a seed of its own and a part of the validation text that no arm is scored on. All
trials are kept: the same command, or one with a wider grid, makes none of them twice.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from lmcodistill import errors
from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import grids, halving, runs, schedule, text_parts, tried
from lmcodistill.experiments import trials as trials_lib
from lmcodistill.storage import layout


@dataclasses.dataclass(frozen=True)
class TuningTask:
    """What to try of an arm.

    Attributes:
        arm: The arm.
        grid: Its values.
        points: Of the grid, those to try.
        rungs: Steps at which they are compared.
    """

    arm: arms_lib.Arm
    grid: grids.Grid
    points: tuple[grids.Point, ...]
    rungs: tuple[int, ...]


def tasks(
    arms: Sequence[arms_lib.Arm],
    common: grids.Grid,
    own: Mapping[str, grids.Grid],
    budget: int,
    steps: Mapping[str, int],
) -> list[TuningTask]:
    """Returns what to try of each arm.

    Args:
        arms: Whose runs are trained, teachers before their students.
        common: What is tried of every arm.
        own: What else is tried of some, by name.
        budget: Trials of an arm.
        steps: Of a whole run of each arm, by name.

    Raises:
        UsageError: an arm sets a knob of its grid itself, or has too few steps.
    """
    found = []
    for arm in arms:
        grid = common + own.get(arm.name, grids.Grid())
        grids.check(arm, grid)
        points = tuple(grids.drawn(grid.points(), budget))
        found.append(
            TuningTask(arm, grid, points, tuple(halving.rungs(steps[arm.name])))
        )
    return found


class Tuner:
    """Makes the trials of a comparison."""

    def __init__(
        self, settings: runs.ComparisonSettings, part: text_parts.TextPart, at_once: int
    ) -> None:
        """Scores trials on `part`; of `at_once`, see `schedule.make_all`."""
        self._settings, self._part, self._at_once = settings, part, at_once
        # The trial that was best, by the arm's name: a run that went to its end.
        self._best: dict[str, trials_lib.TrialRun] = {}

    def trial(
        self, task: TuningTask, point: grids.Point, rung: int = 0
    ) -> trials_lib.TrialRun:
        """Returns the trial of a point up to a rung, by the rung's number.

        Before an arm's teachers are tuned it is good for a look at its settings only.
        """
        name, teachers = task.arm.taught_by, None
        if name:
            teachers = layout.RunLayout(self._settings.root / "tuning" / name / "best")
        if name in self._best:
            teachers = self._best[name].run
        before, step = (0, *task.rungs)[rung : rung + 2]
        return trials_lib.TrialRun(
            *(self._settings, task.arm, point, (before, step)),
            part=self._part,
            teachers=teachers,
        )

    def tune(self, todo: Sequence[TuningTask], later: float) -> list[tried.Tuned]:
        """Returns what was tried of each arm and what was best, in their order.

        Arms are tuned together, but one that others teach after they are: its teachers
        are their best trial.

        Args:
            todo: What to try; teachers of an arm are among them.
            later: The work that comes after the tuning.

        Raises:
            DivergedError: every trial of an arm did.
            LmcodistillError: a trial failed in another way.
        """
        tuned: dict[str, tried.Tuned] = {}
        later += sum(
            halving.work(len(task.points), task.rungs)
            * self.trial(task, task.points[0]).processes
            for task in todo
        )
        while left := [task for task in todo if task.arm.name not in tuned]:
            ready = [task for task in left if task.arm.taught_by in ("", *tuned)]
            made: dict[TuningTask, _Made] = {task: {} for task in ready}
            for rung in range(len(ready[0].rungs)):
                trials = {
                    self.trial(task, point, rung): task
                    for task in ready
                    for point in _alive(made[task], task)
                }
                later = max(0.0, later - sum(trial.work for trial in trials))
                what = f"tuning of {', '.join(t.arm.name for t in ready)}, {rung + 1}/3"
                outcomes = schedule.make_all(list(trials), self._at_once, what, later)
                for trial, task in trials.items():
                    history = made[task].setdefault(trial.point, [])
                    history.append((trial, outcomes[trial]))
            tuned |= {task.arm.name: self._tuned(task, made[task]) for task in ready}
        return [tuned[task.arm.name] for task in todo]

    def _tuned(self, task: TuningTask, made: "_Made") -> tried.Tuned:
        """Returns what was tried of an arm; notes its best trial."""
        finished = {
            point: _scores(history)[-1]
            for point, history in made.items()
            if len(history) == len(task.rungs)
        }
        best = min(finished, key=lambda point: finished[point], default=None)
        if best is None or math.isinf(finished[best]):
            raise _diverged(task)
        self._best[task.arm.name] = made[best][-1][0]
        return tried.Tuned(
            *(task.arm, task.grid, task.rungs),
            tuple(
                tried.Tried(
                    point,
                    _scores(history),
                    history[-1][1].cpu_seconds,
                    tuple(c for _, outcome in history for c in outcome.commands),
                )
                for point, history in made.items()
            ),
            best,
            self._best[task.arm.name].folder.name,
        )


_History = list[tuple[trials_lib.TrialRun, trials_lib.TrialOutcome]]
_Made = dict[grids.Point, _History]


def _alive(made: _Made, task: TuningTask) -> list[grids.Point]:
    """Returns the points that go on to the next rung; at first all.

    Raises:
        DivergedError: none can.
    """
    if not made:
        return list(task.points)
    furthest = max(map(len, made.values()))
    last = {p: _scores(h)[-1] for p, h in made.items() if len(h) == furthest}
    alive = halving.survivors(last)
    if not alive:
        raise _diverged(task)
    return alive


def _scores(history: _History) -> tuple[float, ...]:
    return tuple(math.inf if o.score is None else o.score for _, o in history)


def _diverged(task: TuningTask) -> errors.DivergedError:
    return errors.DivergedError(
        f"Every trial of {task.arm.name} diverged, so nothing is known to compare it "
        "with. Give --tune lower learning rates, or leave the arm out; what was tried "
        "is not made again."
    )
