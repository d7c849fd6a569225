"""Flags of `compare` that tune every arm before the arms are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags
from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import grids

if TYPE_CHECKING:
    from lmcodistill.experiments import tuning


def define(define: command_flags.Definer) -> None:
    """Defines what is tried of which arm, and how much."""
    define.heading("Tuning")
    define.string(
        "tune",
        "",
        "Settings to try of every arm, each with each: 'KNOB=VALUE,VALUE;KNOB=...'. "
        "Every arm then runs at its own best, on other seeds and other text.",
    )
    define.strings(
        "tune_arm",
        [],
        "More of them, for one arm: 'ARM:KNOB=VALUE,VALUE;KNOB=...'.",
    )
    define.integer(
        "trials",
        0,
        "Trials of every arm; where it has more combinations, as many are drawn. 0: as "
        "many as --tune has combinations.",
        0,
    )


def tasks(
    flag_values: flags.FlagValues,
    arms: Sequence[arms_lib.Arm],
    known: Mapping[str, arms_lib.Arm],
    steps: Mapping[str, int],
) -> tuple[list[tuning.TuningTask], int]:
    """Returns what to try of each arm, nothing if it is not asked for, and the budget.

    Args:
        flag_values: The flags.
        arms: Whose runs are trained.
        known: All arms by name.
        steps: Of a whole run of each arm, by name.

    Raises:
        UsageError: the flags cannot be used.
    """
    from lmcodistill.experiments import tuning

    common = grids.parse(flag_values.tune, "tune")
    own: dict[str, grids.Grid] = {}
    for text in flag_values.tune_arm:
        name, grid = grids.parse_own(text, known)
        own[name] = own.get(name, grids.Grid()) + grid
    if idle := own.keys() - {arm.name for arm in arms}:
        raise errors.UsageError(
            f"--tune_arm tunes {sorted(idle)[0]}, which is not compared. Add it to "
            "--arms, or leave it out."
        )
    if not common.knobs and not own:
        if flag_values.trials:
            raise errors.UsageError(
                f"--trials={flag_values.trials} tries nothing without --tune."
            )
        return [], 0
    sizes = [common.size] if common.knobs else [grid.size for grid in own.values()]
    budget = flag_values.trials or max(sizes)
    return tuning.tasks(arms, common, own, budget, steps), budget
