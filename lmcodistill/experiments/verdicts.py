"""What a comparison says: one word, one sentence and two lines of a table per arm.

Follows from the numbers either way. Four words there are: better, worse, no difference
that matters, and not shown.
"""

import enum

from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import intervals, results

# Nats per token; smaller differences matter to no one.
NEGLIGIBLE = 0.005

QUALITY = (
    *("arm", "nats/token", "difference", "95 % interval", "p (Holm)", "verdict"),
    "of the ensemble's gain",
)
COST = (
    *("arm", "seeds", "steps", "times fewer", "tokens", "device s"),
    *("times fewer device s", "CPU s in all"),
)
# What a terminal has room for.
BRIEF = (
    *("arm", "nats per token", "difference (95 %)", "verdict"),
    *("gain kept", "times fewer steps"),
)
_NOTHING = "-"


class Finding(enum.Enum):
    """What the seeds show of an arm against the reference."""

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "no difference that matters"
    NOT_SHOWN = "not shown"


def finding(result: results.ArmResult) -> Finding:
    """Returns what the seeds show.

    No difference that matters is one whose whole interval is nearer to zero than
    `NEGLIGIBLE` (equivalence, as two one-sided tests at half the usual level); a
    difference is one that stays when all arms of the report are counted (Holm).
    """
    if result.difference.is_within(NEGLIGIBLE):
        return Finding.EQUIVALENT
    if result.p_holm > intervals.LEVEL:
        return Finding.NOT_SHOWN
    return Finding.BETTER if result.difference.mean < 0 else Finding.WORSE


def conclusion(result: results.ArmResult) -> str:
    """Returns one sentence on an arm against the reference."""
    difference, reference = result.difference, _called(result.reference)
    name = result.arm.description[:1].upper() + result.arm.description[1:]
    if difference.num_values == 1:
        return (
            f"{name}: {difference.mean:+.4f} nats per token from {reference} with one "
            "seed, which says nothing of chance; give more --seeds."
        )
    spread = (
        f"{difference.mean:+.4f} nats per token, 95 % interval {difference.low:+.4f} "
        f"to {difference.high:+.4f} over {difference.num_values} seeds"
    )
    found = finding(result)
    if found is Finding.EQUIVALENT:
        return (
            f"{name}: no difference from {reference} that matters ({spread}; less than "
            f"{NEGLIGIBLE} counts as none)."
        )
    if found is Finding.NOT_SHOWN:
        note = ""
        if difference.excludes_zero:
            note = (
                f"; that excludes zero, but one of {result.num_compared} arms may do "
                f"so by chance: p = {result.p_holm:.3f} corrected"
            )
        return (
            f"{name}: no difference from {reference} that these seeds can show, either "
            f"way ({spread}{note})."
        )
    return f"{name}: {found.value} than {reference} ({spread}){_remarks(result)}."


def _remarks(result: results.ArmResult) -> str:
    if result.arm.is_ensemble:
        return "; it needs every one of the models to answer"
    return _speed(result) + _kept(result.share_kept)


def _speed(result: results.ArmResult) -> str:
    """Returns how soon an arm was as good as the reference's best."""
    reached, count = result.to_target, len(result.trials)
    if reached is None:
        return ""
    if reached.steps is None:
        return (
            f"; {reached.num_reached or 'none'} of {count} seeds came down to "
            f"{_called(result.reference)}'s best"
        )
    return (
        f"; as good as {_called(result.reference)}'s best after "
        f"{reached.steps.mean:,.0f} steps, {_times(reached.fewer_steps)}, for "
        f"{1.0 / reached.fewer_device_seconds.mean:.2f} times the device seconds"
    )


def _times(fewer: intervals.Interval) -> str:
    """Returns how many times fewer, or more, in words."""
    mean, ends, word = fewer.mean, (fewer.low, fewer.high), "fewer"
    if mean < 1.0:
        mean, word = 1.0 / mean, "more"
        ends = (1.0 / fewer.high, 1.0 / fewer.low if fewer.low else float("inf"))
    return f"{mean:.2f} times {word} ({ends[0]:.2f} to {ends[1]:.2f})"


def _kept(share: intervals.Interval | None) -> str:
    if share is None:
        return ""
    if not share.is_bounded:
        return "; what the ensemble gains is itself too uncertain to be shared out"
    return (
        f"; it keeps {share.mean:.2f} of what the ensemble gains ({share.low:.2f} to "
        f"{share.high:.2f})"
    )


def _called(reference: str) -> str:
    return "the baseline" if reference == arms_lib.BASELINE else reference


def quality_row(result: results.ArmResult) -> tuple[str, ...]:
    """Returns the arm's line under `QUALITY`."""
    difference, share = result.difference, result.share_kept
    first = result.arm.name, f"{result.cross_entropy:.4f}"
    if result.is_reference:
        return (*first, *[_NOTHING] * 3, "the reference", _NOTHING)
    has_spread = difference.num_values > 1
    return (
        *first,
        f"{difference.mean:+.4f}",
        _span(difference, "+.4f"),
        f"{result.p_holm:.4f}" if has_spread else _NOTHING,
        finding(result).value if has_spread else "one seed",
        _NOTHING if share is None else _with_span(share, ".2f"),
    )


def cost_row(result: results.ArmResult) -> tuple[str, ...]:
    """Returns the arm's line under `COST`."""
    reached, cpu = result.to_target, f"{result.cpu_seconds:,.0f}"
    if reached is None:
        return (result.arm.name, *[_NOTHING] * 6, cpu)
    return (
        result.arm.name,
        f"{reached.num_reached} of {len(result.trials)}",
        _with_span(reached.steps, ",.0f"),
        _NOTHING if result.is_reference else _with_span(reached.fewer_steps, ".2f"),
        _NOTHING if reached.tokens is None else f"{reached.tokens.mean:,.0f}",
        _with_span(reached.device_seconds, ",.0f"),
        _NOTHING
        if result.is_reference
        else _with_span(reached.fewer_device_seconds, ".2f"),
        cpu,
    )


def brief_row(result: results.ArmResult) -> tuple[str, ...]:
    """Returns the arm's line under `BRIEF`."""
    name, cross_entropy, _, _, _, verdict, _ = quality_row(result)
    share, reached = result.share_kept, result.to_target
    if result.is_reference:
        return name, cross_entropy, *[_NOTHING] * 4
    return (
        *(name, cross_entropy, _with_span(result.difference, "+.3f"), verdict),
        _NOTHING if share is None else f"{share.mean:.2f}",
        _NOTHING if reached is None else f"{reached.fewer_steps.mean:.2f}",
    )


def _with_span(interval: intervals.Interval | None, form: str) -> str:
    """Returns a mean with its interval, if it has one."""
    if interval is None:
        return _NOTHING
    if not interval.is_bounded:
        return f"{interval.mean:{form}}"
    return f"{interval.mean:{form}} ({_span(interval, form)})"


def _span(interval: intervals.Interval, form: str) -> str:
    if not interval.is_bounded:
        return _NOTHING
    # Spaces that no line is broken at.
    return f"{interval.low:{form}}\u00a0to\u00a0{interval.high:{form}}"
