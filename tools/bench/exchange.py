r"""Measures what the exchange costs: publishing, staging and swapping teachers.

A student trains and, every --period steps, publishes, looks for its peer's export
and swaps it in: the trainer's own actions on a real folder. The peer is the same
weights under another student's number, published while no clock runs.

Quiet: publishing, staging and a swap while nothing trains. In training: how long
each held up the training's thread; how much longer a period took than its steps
without an exchange, background included; what share that is of --every steps. Steps
with and without an exchange alternate in one process, so that all of them see the
same machine.

Examples:
  python -m tools.bench exchange
  python -m tools.bench exchange --size tiny --swaps 1000 --period 20 --json
  python -m tools.bench exchange --dtype bfloat16 --gin.Exchange.export_dtype=int8
"""

import argparse
import collections
import dataclasses
import json
import math
import pathlib
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

from lmcodistill import errors
from lmcodistill.storage import publication
from lmcodistill.training import job as job_lib
from tools.bench import measuring, workload

# The trainer looks at an update's totals two steps later, and so does this.
_LAG = 2
_WINDOWS = 32
_QUIET, _WARMUP = 3, 2
_BACKGROUND = {"publishing", "staging"}


@dataclasses.dataclass
class Clock:
    """Time and CPU time since it was made, of the whole process."""

    wall: float = dataclasses.field(default_factory=time.perf_counter)
    cpu: float = dataclasses.field(default_factory=time.process_time)

    def passed(self) -> tuple[float, float]:
        """Returns both."""
        return time.perf_counter() - self.wall, time.process_time() - self.cpu


@dataclasses.dataclass
class Step:
    """One step in training.

    Attributes:
        stalls: How long each action held it up, seconds.
        wall: All of it, seconds.
        cpu: CPU seconds of the process meanwhile.
        is_plain: Whether no exchange was under way.
    """

    stalls: dict[str, float] = dataclasses.field(default_factory=dict)
    wall: float = 0.0
    cpu: float = 0.0
    is_plain: bool = True


def main() -> None:
    """Reads the flags, measures, prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = workload.Size.parse
    sizes = f"{', '.join(workload.SIZES)}, or VxDxHxLAYERS"
    parser.add_argument("--size", type=size, default=size("paper"), help=sizes)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch", type=int, default=32, help="streams")
    parser.add_argument("--window", type=int, default=32, help="tokens per stream")
    parser.add_argument("--swaps", type=int, default=5, help="teachers to swap in")
    parser.add_argument("--period", type=int, default=10, help="steps between two")
    parser.add_argument("--every", type=int, default=50, help="steps, for the share")
    parser.add_argument("--work_dir", type=pathlib.Path, help="storage to measure")
    parser.add_argument("--json", action="store_true", help="one object")
    flags, unknown = parser.parse_known_args()
    bindings = workload.split_gin(unknown, parser)
    with tempfile.TemporaryDirectory(
        prefix="lmcodistill-bench-", dir=flags.work_dir
    ) as folder:
        result = _measure(flags, bindings, pathlib.Path(folder))
    if flags.json:
        print(json.dumps(result))
    else:
        _show(result)


def _measure(flags, bindings: list[str], folder: pathlib.Path) -> dict[str, Any]:
    num_tokens = flags.batch * (flags.window * _WINDOWS + 1)
    data_dir = workload.make_data(folder / "data", flags.size.vocab_size, num_tokens)
    job = workload.make_job(
        data_dir,
        folder / "run",
        [
            *flags.size.bindings("lstm"),
            f"COMPUTE_DTYPE='{flags.dtype}'",
            f"GLOBAL_BATCH_SIZE={flags.batch}",
            f"WINDOW={flags.window}",
            f"PUBLISH_EVERY_STEPS={flags.period}",
            f"RELOAD_EVERY_STEPS={flags.period}",
            *bindings,
        ],
        num_students=2,
    )
    workload.start()
    trial = Trial(job)
    quiet = [trial.exchange_quietly() for _ in range(_QUIET)]
    for _ in range(_WARMUP):
        trial.update()
    traces = trial.student.num_traces
    steps, resident = _train(trial, flags.swaps, flags.period)
    return {
        "size": str(flags.size),
        "dtype": flags.dtype,
        "batch_size": flags.batch,
        "window": flags.window,
        "period": flags.period,
        "every": flags.every,
        "gin": bindings,
        "swaps": len(resident),
        "steps": len(steps),
        "quiet": {n: measuring.spread(q[n] for q in quiet) for n in quiet[0]},
        "training": in_training(steps, flags.period, flags.every),
        "num_traces": traces,
        "new_traces": trial.student.num_traces - traces,
        "resident_mb": _resident(resident),
        "peak_rss_mb": max(_peak_kb() // 1024, max(resident) >> 20),
    }


class Trial:
    """A student, its peer, and the actions of the trainer between its steps."""

    def __init__(self, job: job_lib.Job):
        """Builds all of them."""
        from lmcodistill.training import cluster
        from lmcodistill.training import student as student_lib
        from lmcodistill.training.hooks import publish, reload

        inputs, group = job_lib.open_inputs(job), cluster.Group()
        self._period = job.exchange.publish_every_steps
        self.student = student_lib.Student(job, inputs, group)
        owner = publication.Owner(1, lambda: None)
        self._publish = publish.Publish(job, inputs, self.student, owner)
        peer = dataclasses.replace(job, student=1)
        self._publish_peer = publish.Publish(peer, inputs, self.student, owner)
        loader = reload.Loader(job, inputs)
        self._reload = reload.Reload(
            job.policy, group, self.student, loader, asked_to_stop=lambda: False
        )
        self._pending: collections.deque = collections.deque()
        self._at_step = self._period

    def exchange_quietly(self) -> dict[str, float]:
        """Publishes, stages and swaps while nothing trains; returns the seconds."""
        seconds = {}
        clock = Clock()
        self._publish_peer(self._at_step)
        seconds["publish_stall_seconds"], _ = clock.passed()
        self._publish_peer.close()
        seconds["publish_seconds"], seconds["publish_cpu_seconds"] = clock.passed()
        clock = Clock()
        self._reload(self._at_step)
        while self._reload.is_reading:
            time.sleep(0.001)
        seconds["stage_seconds"], seconds["stage_cpu_seconds"] = clock.passed()
        self._refuse_refusals()
        self._reload.announce()
        clock = Clock()
        self._reload.swap_staged(self._at_step)
        seconds["swap_seconds"], seconds["swap_cpu_seconds"] = clock.passed()
        self._at_step += self._period
        return seconds

    def update(self) -> None:
        """Makes an update with nothing around it; counts as no step."""
        self.student.update(self._at_step)

    def step(self) -> Step:
        """Makes one step as the trainer does."""
        from lmcodistill.training import step as step_lib

        if self._at_step % self._period == 0:
            self._publish_peer(self._at_step)
            self._publish_peer.close()
            self._refuse_refusals()
        step, clock = Step(), Clock()
        self._stall(step, "publish", self._publish, self._at_step)
        self._stall(step, "look", self._reload, self._at_step)
        step.is_plain = self._at_step % self._period > 0 and not _background()
        control = step_lib.Control(teachers_ready=self._reload.announce())
        self._pending.append(self.student.update(self._at_step, control)[1])
        while len(self._pending) > _LAG:
            if float(self._pending.popleft().teachers_ready):
                self._stall(step, "swap", self._reload.swap_staged, self._at_step + 1)
                step.is_plain = False
        step.is_plain &= not _background()
        step.wall, step.cpu = clock.passed()
        self._at_step += 1
        return step

    def close(self) -> None:
        """Waits for what is under way."""
        self._publish.close()

    def _stall(self, step: Step, name: str, action, step_number: int) -> None:
        began = time.perf_counter()
        action(step_number)
        step.stalls[name] = time.perf_counter() - began

    def _refuse_refusals(self) -> None:
        if self._reload.refusals:
            raise errors.SnapshotError(
                f"The peer's exports were refused: {self._reload.refusals}. The log "
                "above says why."
            )


def _background() -> bool:
    """Returns whether an export is being written or read."""
    return any(thread.name in _BACKGROUND for thread in threading.enumerate())


def _train(trial: Trial, swaps: int, period: int) -> tuple[list[Step], list[int]]:
    """Trains for so many swaps, and to the end of a period.

    Returns:
        The steps, and resident bytes at each swap.
    """
    progress = measuring.Progress(swaps)
    steps: list[Step] = []
    resident: list[int] = []
    while len(resident) < swaps or len(steps) % period:
        steps.append(trial.step())
        if "swap" in steps[-1].stalls:
            resident.append(_resident_bytes())
            progress.done(f"step {len(steps)}, {steps[-1].wall:.3g} s")
    trial.close()
    return steps, resident


def in_training(steps: list[Step], period: int, every: int) -> dict[str, Any]:
    """Returns what the exchange cost steps in training, beside those without.

    Args:
        steps: From one that began an exchange on.
        period: Steps from one exchange to the next.
        every: What an exchange's cost is a share of: so many steps without.
    """
    stalls = {
        name: [s.stalls[name] for s in steps[::period]] for name in ("publish", "look")
    }
    stalls["swap"] = [s.stalls["swap"] for s in steps if "swap" in s.stalls]
    costs: dict[str, Any] = {
        "stall_seconds": {n: measuring.spread(v) for n, v in stalls.items()}
    }
    for unit, name in (("wall", "seconds"), ("cpu", "cpu_seconds")):
        plain = [getattr(s, unit) for s in steps if s.is_plain]
        extra = list(_extra(steps, period, unit))
        step = every * statistics.median(plain) if plain else math.inf
        costs |= {
            f"plain_step_{name}": measuring.spread(plain) if plain else None,
            f"extra_{name}": measuring.spread(extra) if extra else None,
            f"share_of_{name}": (
                measuring.spread(x / step for x in extra) if extra else None
            ),
        }
        if unit == "wall":
            stall = sum(statistics.median(v) for v in stalls.values())
            costs["share_of_stalls"] = stall / step
    return costs


def _extra(steps: list[Step], period: int, unit: str) -> Iterator[float]:
    """Yields what each whole period took beyond its steps without an exchange."""
    for begin in range(0, len(steps) - period + 1, period):
        all_of_it = [getattr(s, unit) for s in steps[begin : begin + period]]
        plain = [getattr(s, unit) for s in steps[begin : begin + period] if s.is_plain]
        if plain:  # Else the exchange took all of the period.
            yield sum(all_of_it) - period * statistics.median(plain)


def _peak_kb() -> int:
    """Returns the peak of resident memory, of which the system counts in bundles."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _resident_bytes() -> int:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def _resident(sizes: list[int]) -> dict[str, float]:
    """Returns resident memory after a tenth of the swaps, and at the end."""
    first, last = sizes[len(sizes) // 10], sizes[-1]
    return {
        "after_a_tenth": first / 2**20,
        "at_the_end": last / 2**20,
        "growth": last / first - 1.0,
    }


def _show(result: dict[str, Any]) -> None:
    training, resident = result["training"], result["resident_mb"]
    rows = [(f"quiet: {n.replace('_', ' ')}", x) for n, x in result["quiet"].items()]
    for name, seconds in training["stall_seconds"].items():
        rows.append((f"stall: {name}, seconds", seconds))
    for name in ("seconds", "cpu_seconds"):
        shown = name.replace("_", " ")
        rows.append((f"a plain step, {shown}", training[f"plain_step_{name}"]))
        rows.append((f"extra in a period, {shown}", training[f"extra_{name}"]))
        share = f"share of {result['every']} steps, {shown}"
        rows.append((share, training[f"share_of_{name}"]))
    rows += [
        (f"share of {result['every']} steps, stalls", training["share_of_stalls"]),
        ("new traces", result["new_traces"]),
        ("resident MB after a tenth of the swaps", resident["after_a_tenth"]),
        ("resident MB at the end", resident["at_the_end"]),
        ("peak MB", result["peak_rss_mb"]),
    ]
    measuring.show(
        f"{result['size']}, {result['dtype']}, {result['batch_size']} x "
        f"{result['window']} tokens: {result['swaps']} swaps in "
        f"{result['steps']} steps",
        ("", "median (lowest..highest)"),
        [(name, measuring.text(value)) for name, value in rows],
    )
