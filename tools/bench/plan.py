r"""Compares what `lmcodistill plan` predicts with what training takes here.

Real runs of `lmcodistill train` on this machine: one student of one worker, of two,
two codistilling students of one worker, of two, four of one. Each run's figures are
measured just before it, by as many processes at once as will train, each with the
threads that the launcher will give it: processes share the cores, and the figures
must know.
What a step costs whatever its size comes from a run of a model of a few weights.
Nothing of the run that is predicted enters its prediction.

All is done twice: in seconds, and in seconds of a core's work, which other programs
on the machine disturb less.

Examples:
  python -m tools.bench plan --data_dir DATA
  python -m tools.bench plan --data_dir DATA --rounds 5 --json > plan.json
  python -m tools.bench plan --data_dir DATA --shapes 1x1 1x2 --hidden_size 256
"""

import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any

import rich.console
import rich.table

from lmcodistill import tf_environment
from lmcodistill.data import shards
from lmcodistill.planning import prediction, step_time
from lmcodistill.settings import (
    codistillation,
    model,
    planning,
    schedules,
    training,
)
from lmcodistill.storage import layout
from lmcodistill.supervision import launcher
from tests.support import tiny_run
from tools.soak import harness

CLOCKS = ("wall", "cpu")
SHAPES = ("1x1", "1x2", "2x1", "2x2", "4x1")
_PERIOD, _REPORT = 10, 5
_START_SECONDS = 300.0
# A model whose step costs what a step costs whatever its size.
_SMALL = 8
_SMALL_WINDOW, _SMALL_STEPS = 1, 1_000


@dataclasses.dataclass(frozen=True)
class Case:
    """One shape on this machine.

    Attributes:
        students: N.
        workers: W, processes of each student.
        model: Its vocabulary's size is known.
        streams: Of a student, all its workers together.
        window: T.
        steps: Of each student.
    """

    students: int
    workers: int
    model: model.LanguageModel
    streams: int
    window: int
    steps: int

    @property
    def name(self) -> str:
        """How it is called: students x workers."""
        return f"{self.students}x{self.workers}"

    @property
    def threads(self) -> int:
        """What the launcher gives each process."""
        cores = len(os.sched_getaffinity(0))
        return max(1, cores // (self.students * self.workers))

    @property
    def exchange(self) -> codistillation.Exchange:
        """Often enough to happen in a short run."""
        return codistillation.Exchange(
            publish_every_steps=_PERIOD, reload_every_steps=_PERIOD
        )

    def small(self) -> "Case":
        """Returns the same shape with next to nothing to do."""
        return dataclasses.replace(
            self,
            model=dataclasses.replace(
                self.model, num_layers=1, hidden_size=_SMALL, embedding_size=_SMALL
            ),
            streams=self.workers,
            window=_SMALL_WINDOW,
            steps=_SMALL_STEPS,
        )


def main() -> None:
    """Reads the flags, runs the rounds, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data_dir", type=pathlib.Path, required=True)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--lanes", type=int, default=32)
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--num_layers", type=int, default=1)
    parser.add_argument("--hidden_size", type=int, default=512)
    parser.add_argument("--embedding_size", type=int, default=256)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    tf_environment.prepare()  # For the processes that measure, as for training.
    data_dir = flags.data_dir.resolve()
    config = model.LanguageModel(
        vocab_size=shards.ShardSet(data_dir).manifest.vocab_size,
        num_layers=flags.num_layers,
        hidden_size=flags.hidden_size,
        embedding_size=flags.embedding_size,
    )
    cases = []
    for shape in flags.shapes:
        students, workers = (int(part) for part in shape.split("x"))
        sizes = (config, flags.lanes, flags.window, flags.steps)
        cases.append(Case(students, workers, *sizes))
    rows = []
    for number in range(flags.rounds):
        for case in cases:
            rows.append({"round": number, **_compared(case, data_dir)})
            print(
                f"round {number + 1} {case.name}: measured over predicted "
                + ", ".join(f"{c} {rows[-1][c]['ratio']:.2f}" for c in CLOCKS),
                file=sys.stderr,
            )
    summary = [_summary([r for r in rows if r["shape"] == c.name]) for c in cases]
    if flags.json:
        print(json.dumps({"cores": os.cpu_count(), "summary": summary, "rows": rows}))
    else:
        rich.console.Console().print(_table(summary))


def _compared(case: Case, data_dir: pathlib.Path) -> dict[str, Any]:
    """Measures the figures, predicts, trains, and returns all of it."""
    with tempfile.TemporaryDirectory(prefix="validate-plan-") as name:
        folder = pathlib.Path(name)
        figures = _figures(case, folder / "figures")
        small = _trained(case.small(), data_dir, folder / "small")
        measured = _trained(case, data_dir, folder / "run")
    return {
        "shape": case.name,
        "processes": case.students * case.workers,
        "threads": case.threads,
        **{
            clock: _compared_by(case, *figures[clock], small[clock], measured[clock])
            for clock in CLOCKS
        },
    }


def _compared_by(
    case: Case,
    machine: planning.Machine,
    network: planning.Network,
    small: float,
    measured: float,
) -> dict[str, Any]:
    """Returns prediction and measurement by one clock."""
    overhead = max(0.0, small - _step(case.small(), machine, network).total)
    machine = dataclasses.replace(machine, step_overhead_seconds=overhead)
    parts = _step(case, machine, network)
    return {
        "machine": dataclasses.asdict(machine),
        "network": dataclasses.asdict(network),
        "parts": parts._asdict(),
        "bound_by": parts.bound_by,
        "predicted_seconds": parts.total,
        "measured_seconds": measured,
        "ratio": measured / parts.total,
    }


def _figures(
    case: Case, folder: pathlib.Path
) -> dict[str, tuple[planning.Machine, planning.Network]]:
    """Measures in as many processes at once as will train; the means, by clock."""
    folder.mkdir(parents=True)
    settings = folder / "settings.json"
    asked = {
        "model": case.model.to_json(),
        "vocab_size": case.model.vocab_size,
        "streams": case.streams // case.workers,
        "window": case.window,
    }
    settings.write_text(json.dumps(asked))
    attempts = []
    try:
        for student in range(case.students):
            command = [
                *(sys.executable, "-m", "tools.bench.plan_worker"),
                *("--settings", str(settings)),
                *("--output", str(folder), "--name", str(student)),
            ]
            where = layout.RunLayout(folder).student(student)
            attempts.append(
                launcher.start_group(command, where, case.workers, case.threads)
            )
        workers = [worker for attempt in attempts for worker in attempt.workers]
        if not tiny_run.wait_until(
            lambda: len(list(folder.glob("ready-*"))) == len(workers), _START_SECONDS
        ):
            raise RuntimeError("\n".join(worker.tail() for worker in workers))
        (folder / "go").touch()
        for worker in workers:
            if worker.process.wait(_START_SECONDS):
                raise RuntimeError(worker.tail())
    finally:
        for attempt in attempts:
            for worker in attempt.workers:
                worker.kill()
                worker.process.wait()
    measured = [json.loads(path.read_text()) for path in folder.glob("[0-9]*.json")]
    return {
        clock: (
            planning.Machine(**_means([f[clock]["machine"] for f in measured])),
            _network([f[clock] for f in measured], case.workers),
        )
        for clock in CLOCKS
    }


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.mean(row[name] for row in rows) for name in rows[0]}


def _network(measured: list[dict[str, Any]], workers: int) -> planning.Network:
    """Returns the two figures that a short and a long all-reduce come to."""
    if workers == 1:
        return planning.Network(bandwidth=1.0)  # Nothing passes over it.
    few = statistics.mean(f["few_seconds"] for f in measured)
    many = statistics.mean(f["many_seconds"] for f in measured)
    sent = 2.0 * (workers - 1) / workers * measured[0]["bytes"]
    return planning.Network(
        bandwidth=sent / max(many - few, 1e-6),
        latency_seconds=few / (2 * (workers - 1)),
    )


def _step(
    case: Case, machine: planning.Machine, network: planning.Network
) -> step_time.Parts:
    """Returns what the plan says of a step of this case."""
    run = prediction.Run(
        model=case.model,
        batches=training.Batches(case.streams, case.window),
        optimizer=training.Optimizer(),
        exchange=case.exchange,
        weight=schedules.DistillationWeight(),
        students=max(2, case.students),
        workers=case.workers,
        steps=case.steps,
    )
    machines = dict.fromkeys(prediction.streams_of(run), machine)
    # Storage decides only how old a teacher is.
    site = prediction.Site(machines, network, planning.Storage(1e8, 0.0))
    predictions = prediction.plan(run, site).predictions
    return predictions[0 if case.students == 1 else -1].step


def _trained(
    case: Case, data_dir: pathlib.Path, run_dir: pathlib.Path
) -> dict[str, float]:
    """Trains; returns the median seconds of a step, by clock, all going its way."""
    knobs = {
        "GLOBAL_BATCH_SIZE": case.streams,
        "WINDOW": case.window,
        "TARGETS": "peers" if case.students > 1 else "none",
        "EXCHANGE_MODE": "freshest",
        "DELAY_STEPS": 0,
        "BURN_IN_STEPS": 0,
        "PUBLISH_EVERY_STEPS": case.exchange.publish_every_steps,
        "RELOAD_EVERY_STEPS": case.exchange.reload_every_steps,
        "REPORT_EVERY_STEPS": _REPORT,
        "CHECKPOINT_EVERY_STEPS": 100_000,
        "LEARNING_RATE": 0.001,
        # A model that has hardly begun may teach; what it says is not the point.
        "Exchange__max_teacher_cross_entropy": 100.0,
        "LanguageModel__num_layers": case.model.num_layers,
        "LanguageModel__hidden_size": case.model.hidden_size,
        "LanguageModel__embedding_size": case.model.embedding_size,
    }
    run = harness.TinyRun(
        data_dir, run_dir, students=case.students, workers=case.workers, **knobs
    )
    process = run.start(case.steps)
    # Per student: reports seen, and its processes' work by then.
    work: list[list[float]] = [[] for _ in range(case.students)]
    while process.poll() is None:
        for student, seen in enumerate(work):
            if len(run.reports(student)) > len(seen):
                seconds = [_cpu_seconds(pid) for pid in run.processes(student)]
                seen.append(sum(seconds) / max(1, len(seconds)))
        time.sleep(0.02)
    if process.returncode:
        raise RuntimeError((run_dir / "launcher.txt").read_text()[-4_000:])
    wall, cpu = [], []
    for student, seen in enumerate(work):
        reports = run.reports(student)
        is_taught = [len(r["teachers"]) == case.students - 1 for r in reports]
        if not any(is_taught[:-2]):
            raise RuntimeError(
                f"{case.name}: student {student} did not hear all of its peers in "
                f"{case.steps} steps. Give more --steps."
            )
        first = 1 + is_taught.index(True)  # The one after: tracing is over.
        wall += [r["seconds"] / _REPORT for r in reports[first:]]
        cpu += [(b - a) / _REPORT for a, b in itertools.pairwise(seen[first - 1 : -1])]
    return {"wall": statistics.median(wall), "cpu": statistics.median(cpu)}


def _cpu_seconds(pid: int) -> float:
    """Returns what a process has worked so far; 0.0 where it is gone."""
    try:
        words = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the medians over the rounds, and the spread of the ratio."""
    summary = {name: rows[0][name] for name in ("shape", "processes", "threads")}
    for clock in CLOCKS:
        of_clock = [r[clock] for r in rows]
        median = {
            name: statistics.median(r[name] for r in of_clock)
            for name in ("predicted_seconds", "measured_seconds", "ratio")
        }
        ratios = [r["ratio"] for r in of_clock]
        summary[clock] = {
            **median,
            "ratio_range": [min(ratios), max(ratios)],
            "mean_parts": _means([r["parts"] for r in of_clock]),
        }
    return summary


def _table(summary: list[dict[str, Any]]) -> rich.table.Table:
    table = rich.table.Table(
        title="Steps per second: the plan against training",
        caption="ratio: measured over predicted seconds, median and range; work: the "
        "same in seconds of a core's work",
    )
    for heading in (
        *("students x workers", "processes x threads", "predicted", "measured"),
        *("ratio", "ratio of work"),
    ):
        table.add_column(heading, justify="right")
    for row in summary:
        table.add_row(
            row["shape"],
            f"{row['processes']} x {row['threads']}",
            f"{1 / row['wall']['predicted_seconds']:.2f}",
            f"{1 / row['wall']['measured_seconds']:.2f}",
            *(
                f"{row[c]['ratio']:.2f} ({row[c]['ratio_range'][0]:.2f} to "
                f"{row[c]['ratio_range'][1]:.2f})"
                for c in CLOCKS
            ),
        )
    return table
