"""A plan as tables for people, and as one JSON object for programs."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import rich.box
import rich.table

from lmcodistill.planning import exchange_time, prediction, step_time
from lmcodistill.report import terminal, units

NOT_PREDICTED = (
    "Not predicted: how many steps a model needs, with teachers or without, and what a "
    "longer reload period costs in learning. Not counted: start-up, checkpoints, "
    "evaluation, slow workers."
)
_NAMES = {
    "products": "matrix products",
    "recurrence": "recurrence",
    "elements": "logits and layers",
    "optimizer": "optimizer",
    "all_reduce": "all-reduce",
    "teachers": "teachers",
    "exchange": "exchange",
    "overhead": "overhead",
}


def tables(plan: prediction.Plan) -> list[rich.table.Table | str]:
    """Returns what is shown, in order."""
    exchange = plan.run.exchange
    wall, devices = plan.break_even
    parts: list[rich.table.Table | str] = [
        _steps(plan.predictions),
        _runs(plan.predictions),
        _exchanges(plan),
        f"{plan.run.students} codistilling groups are even with one group where they "
        f"need {wall:.0%} of its steps (wall time), or {devices:.0%} (device time).",
    ]
    chosen = plan.exchanges[exchange.topology].periods
    for name, period, shortest in (
        ("RELOAD", exchange.reload_every_steps, chosen.shortest_reload_steps),
        ("PUBLISH", exchange.publish_every_steps, chosen.shortest_publish_steps),
    ):
        if period < shortest:
            parts.append(
                f"{name}_EVERY_STEPS = {period} is shorter than the {shortest} steps "
                "that storage takes; those in between are left out."
            )
    if len(plan.predictions) < 4:
        parts.append(
            f"Not shown: GLOBAL_BATCH_SIZE = {plan.run.batches.global_batch_size} "
            f"cannot be shared by {plan.run.students * plan.run.workers} workers."
        )
    return [*parts, NOT_PREDICTED]


def to_json(plan: prediction.Plan) -> dict[str, Any]:
    """Returns the same, with every figure in seconds, bytes and steps."""
    run, site = plan.run, plan.site
    return {
        "model": run.model.to_json(),
        "students": run.students,
        "workers_per_student": run.workers,
        "machines": {
            str(streams): dataclasses.asdict(machine)
            for streams, machine in site.machines.items()
        },
        "network": dataclasses.asdict(site.network),
        "storage": dataclasses.asdict(site.storage),
        "predictions": [_prediction_to_json(p) for p in plan.predictions],
        "break_even": plan.break_even._asdict(),
        "exchanges": {
            topology: {**one.traffic._asdict(), **one.periods._asdict()}
            for topology, one in plan.exchanges.items()
        },
        "not_predicted": NOT_PREDICTED,
    }


def _prediction_to_json(predicted: prediction.Prediction) -> dict[str, Any]:
    # The key is older than the word.
    names = {"streams": "lanes"}
    fields = {names.get(n, n): x for n, x in predicted._asdict().items()}
    for name in ("burn_in_step", "step"):
        parts = fields[name]
        totals = {"total": parts.total, "bound_by": parts.bound_by}
        fields[name] = parts._asdict() | totals
    return {
        **fields,
        "devices": predicted.devices,
        "tokens_per_second": predicted.tokens_per_second,
    }


def _table(title: str, corner: str, headings: Iterable[str]) -> rich.table.Table:
    """Returns an empty table of what is compared; it fits into 60 columns."""
    table = rich.table.Table(
        corner,
        title=title,
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 0, 0, 1),  # More would cost the narrowest its words.
    )
    for heading in headings:
        # Left to itself, rich cuts the longest words before it breaks other lines.
        table.add_column(terminal.narrow(heading), justify="right", no_wrap=True)
    return table


def _steps(predictions: list[prediction.Prediction]) -> rich.table.Table:
    """One column for each way: their parts are what is compared."""
    table = _table("A step", "ms", (p.name for p in predictions))
    for part in step_time.Parts._fields:
        values = [getattr(p.step, part) for p in predictions]
        if any(values):
            table.add_row(_NAMES[part], *(f"{1e3 * v:,.1f}" for v in values))
    table.add_section()
    table.add_row("step", *(f"{1e3 * p.step.total:,.1f}" for p in predictions))
    table.add_row(
        "bound by", *(terminal.narrow(_NAMES[p.step.bound_by]) for p in predictions)
    )
    table.add_row("streams of a worker", *(f"{p.streams:,}" for p in predictions))
    return table


def _runs(predictions: list[prediction.Prediction]) -> rich.table.Table:
    first = predictions[0].wall_seconds
    rows: dict[str, Callable[[prediction.Prediction], str]] = {
        "devices": lambda p: f"{p.devices:,}",
        "batch": lambda p: f"{p.global_batch_size:,}",
        "steps": lambda p: f"{p.steps:,}",
        "million tokens each": lambda p: f"{p.tokens / 1e6:,.1f}",
        "tokens/s": lambda p: f"{p.tokens_per_second:,.0f}",
        "wall time": lambda p: _duration(p.wall_seconds),
        "device hours": lambda p: f"{p.device_seconds / 3_600:,.2f}",
        "wall time, relative": lambda p: f"{p.wall_seconds / first:.2f}",
    }
    table = _table("The run", "", (p.name for p in predictions))
    for name, show in rows.items():
        table.add_row(name, *map(show, predictions))
    return table


def _exchanges(plan: prediction.Plan) -> rich.table.Table:
    """One column for each topology."""
    students = plan.run.students
    of_traffic: dict[str, Callable[[exchange_time.Traffic], str]] = {
        "teachers at a time": lambda t: str(t.teachers),
        "an export": lambda t: units.size(t.published_bytes),
        "a reload reads": lambda t: units.size(t.read_bytes),
        f"all {students} students publish and read once": lambda t: units.size(
            students * (t.published_bytes + t.read_bytes)
        ),
        "seconds to write": lambda t: f"{t.write_seconds:.2f}",
        "seconds to read": lambda t: f"{t.read_seconds:.2f}",
        "training stalls at a reload, ms": lambda t: f"{1e3 * t.stall_seconds[1]:.1f}",
    }
    of_periods = {
        "shortest RELOAD_EVERY_STEPS that hides the read": "shortest_reload_steps",
        "shortest PUBLISH_EVERY_STEPS": "shortest_publish_steps",
        "shortest DELAY_STEPS, if scheduled": "shortest_delay_steps",
        "oldest a teacher gets, steps": "oldest_teacher_steps",
    }
    traffics, periods = zip(*plan.exchanges.values(), strict=True)
    table = _table("The exchange, by topology", "", plan.exchanges)
    for name, show in of_traffic.items():
        table.add_row(name, *(show(t) for t in traffics))
    for name, field in of_periods.items():
        table.add_row(name, *(f"{getattr(p, field):,}" for p in periods))
    moved = (f"{units.size(p.storage_bytes_per_second)}/s" for p in periods)
    table.add_row("storage moves on average", *moved)
    return table


def _duration(seconds: float) -> str:
    if seconds < 120.0:
        return f"{seconds:.1f} s"
    if seconds < 7_200.0:
        return f"{seconds / 60.0:.1f} min"
    return f"{seconds / 3_600.0:,.1f} h"
