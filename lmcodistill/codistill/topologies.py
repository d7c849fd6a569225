"""Who teaches whom, when, and from which export: arithmetic on the step.

No files and no clocks; `codistill/lookup.py` looks at what there really is.
"""

from lmcodistill.settings import codistillation as settings


def is_due(step: int, period: int) -> bool:
    """Returns whether something of that period happens at `step` (never at 0)."""
    return period > 0 and step > 0 and step % period == 0


def is_reload_due(step: int, burn_in_steps: int, exchange: settings.Exchange) -> bool:
    """Returns whether a student looks for exports before the update at `step`.

    The first look is at the end of burn-in, whatever the period.
    """
    if step < burn_in_steps:
        return False
    return step == burn_in_steps or is_due(step, exchange.reload_every_steps)


def peers_at(
    step: int, student: int, num_students: int, exchange: settings.Exchange
) -> list[int]:
    """Returns which students teach `student` from the reload at `step` on.

    Args:
        step: A reload step.
        student: The pupil.
        num_students: Students in the run, N.
        exchange: Its `topology`.

    Returns:
        Indices of students, ascending from the pupil's right-hand neighbour.
    """
    others = [(student + k) % num_students for k in range(1, num_students)]
    if exchange.topology == "ring":
        return others[:1]
    if exchange.topology == "rotate" and others:
        return [others[(step // exchange.reload_every_steps) % len(others)]]
    return others


def exports_to_keep(exchange: settings.Exchange, checkpoint_every_steps: int) -> int:
    """Returns how many of its newest exports a student must not delete.

    A `scheduled` peer is never further behind than the step whose export it made
    us wait for, and a restart throws it back by one more checkpoint period.
    """
    if exchange.mode == "freshest":
        return exchange.keep_exports
    behind = 2 * (exchange.delay_steps + exchange.reload_every_steps)
    behind += 2 * checkpoint_every_steps
    return max(exchange.keep_exports, behind // exchange.publish_every_steps + 2)


def scheduled_export(step: int, exchange: settings.Exchange) -> int | None:
    """Returns which export a `scheduled` reload at `step` uses.

    Returns:
        The newest step published at or before `step - delay_steps`; None where
        nothing had been published then.
    """
    newest = step - exchange.delay_steps
    published = newest - newest % exchange.publish_every_steps
    return published if published > 0 else None
