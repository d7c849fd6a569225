"""The arms of a comparison as `arms.csv`: a number in each cell, or nothing."""

import math

from lmcodistill.experiments import intervals, results, verdicts

Cell = str | int | float | None


def row(result: results.ArmResult) -> dict[str, Cell]:
    """Returns an arm's values by column; every arm has all columns, in one order."""
    reached = result.to_target
    is_compared = not result.is_reference
    return {
        "arm": result.arm.name,
        "is_reference": int(result.is_reference),
        "seeds": len(result.trials),
        "cross_entropy": result.cross_entropy,
        **_spread("difference", result.difference if is_compared else None),
        "p": result.p if is_compared else None,
        "p_holm": result.p_holm if is_compared else None,
        "verdict": verdicts.finding(result).value if is_compared else None,
        **_spread("share_kept", result.share_kept),
        "seeds_that_reached": reached and reached.num_reached,
        **_spread("steps", reached and reached.steps),
        **_spread("tokens", reached and reached.tokens),
        **_spread("device_seconds", reached and reached.device_seconds),
        **_spread("times_fewer_steps", reached and reached.fewer_steps),
        **_spread(
            "times_fewer_device_seconds", reached and reached.fewer_device_seconds
        ),
        "cpu_seconds": result.cpu_seconds,
    }


def _spread(name: str, interval: intervals.Interval | None) -> dict[str, Cell]:
    """Returns a mean and the ends of its interval; None where there is no number."""
    ends = (None,) * 3 if interval is None else interval[:3]
    finite = [x if x is not None and math.isfinite(x) else None for x in ends]
    return dict(zip((name, f"{name}_low", f"{name}_high"), finite, strict=True))
