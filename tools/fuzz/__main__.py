"""Gives prep hostile and damaged files, a few hundred a second, and watches it.

Every input goes through the real extraction stage in a child process. Found is a
crash, an exception, a hang (10 s of CPU time, or two minutes), more than 512 MB of
memory, a count that does not add up, a page before the damage that is missing,
another outcome the second time, or a file outside the work folder. What was found
is saved with its number, which makes it again.

Examples:
  python -m tools.fuzz --trials 100000 --seed 1
  python -m tools.fuzz --fast --json
  python -m tools.fuzz --replay found/1-4711-a.warc.gz
"""

import argparse
import dataclasses
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from data_prep import progress
from tools.fuzz import child as child_lib

ROOT = pathlib.Path(__file__).resolve().parents[2]

FAST_TRIALS = 2_000
_BATCH = 200
_MAX_WALL_SECONDS = 120.0
_POLL_SECONDS = 0.5
_SAY_EVERY_SECONDS = 10.0


@dataclasses.dataclass
class Found:
    """What the run came to.

    Attributes:
        trials: Inputs tried.
        failures: What was found: number, what, and where the input is saved.
        peak_mb: Most resident memory of a child, in MB.
        page_reader_peak_mb: The same of the process that reads its HTML.
        slowest_s: Longest wall-clock time of one input, in seconds.
        slowest: Which one that was.
        kept: Documents that came out.
        damaged: Inputs in which damage was counted.
        checked_pages: Pages before the damage that had to come out, and did.
    """

    trials: int = 0
    failures: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    peak_mb: float = 0.0
    page_reader_peak_mb: float = 0.0
    slowest_s: float = 0.0
    slowest: str = ""
    kept: int = 0
    damaged: int = 0
    checked_pages: int = 0

    def add(self, batch: dict[str, Any]) -> None:
        """Adds what a child says of its batch."""
        for name in ("trials", "kept", "damaged", "checked_pages"):
            setattr(self, name, getattr(self, name) + batch[name])
        self.peak_mb = max(self.peak_mb, batch["peak_mb"])
        self.page_reader_peak_mb = max(
            self.page_reader_peak_mb, batch["page_reader_peak_mb"]
        )
        if batch["slowest_s"] > self.slowest_s:
            self.slowest_s, self.slowest = batch["slowest_s"], batch["slowest"]


class Child:
    """A process that tries batches of inputs, as seen from outside."""

    def __init__(self, flags: argparse.Namespace, folder: pathlib.Path):
        program = [sys.executable, "-m", "tools.fuzz.child"]
        folder.mkdir(exist_ok=True)
        self._current = folder / "current"
        self._errors = open(folder / "errors", "a+b")  # noqa: SIM115
        self._process = subprocess.Popen(
            [*program, str(flags.seed), str(folder), flags.real, flags.failures],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._left: list[str] = []
        self._since = ("", time.monotonic())

    @property
    def output(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def give(self, trials: list[str]) -> None:
        """Asks for a batch."""
        assert self._process.stdin is not None
        self._left = trials
        self._process.stdin.write(json.dumps(trials).encode() + b"\n")
        self._process.stdin.flush()

    def take(self) -> dict[str, Any] | None:
        """Returns what became of the batch; None if the child has died."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line.endswith(b"\n") else None

    def hangs(self) -> bool:
        """Returns whether it has been at one input for too long."""
        current = self.current()
        if current != self._since[0]:
            self._since = (current, time.monotonic())
        return time.monotonic() - self._since[1] > _MAX_WALL_SECONDS

    def current(self) -> str:
        """Returns the input that it is at."""
        return self._current.read_text().strip() if self._current.exists() else ""

    def end(self) -> tuple[str, list[str]]:
        """Ends it; returns how it died and the inputs it did not come to."""
        self._process.kill()
        status = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read()[-1_000:].decode("utf-8", "replace")
        name = signal.Signals(-status).name if status < 0 else f"status {status}"
        current = self.current()
        done = self._left.index(current) + 1 if current in self._left else 0
        return f"{name} {words}".strip(), self._left[done:]


def run(flags: argparse.Namespace, folder: pathlib.Path) -> Found:
    """Tries every input and returns what was found."""
    findings, said = Found(), (time.monotonic(), 0)
    waiting = child_lib.trials(flags.trials, giants=not flags.fast)
    total = len(waiting)
    children: dict[int, tuple[Child, pathlib.Path]] = {}
    for number in range(flags.workers):
        _start(flags, folder / f"child-{number}", waiting, children)
    while children:
        ready, _, _ = select.select(list(children), [], [], _POLL_SECONDS)
        for output in ready or list(children):
            child, place = children[output]
            batch = child.take() if output in ready else None
            if batch is not None:
                findings.add(batch)
                findings.failures += batch["failures"]
                if waiting:
                    child.give(_next(waiting))
                    continue
            elif output not in ready and not child.hangs():
                continue
            else:
                current = child.current()
                how, left = child.end()
                kind = "hang" if "SIGPROF" in how or output not in ready else "crash"
                saved = child_lib.save(flags.seed, current, flags)
                failure = {"trial": current, "what": f"{kind}: {how}", "saved": saved}
                findings.failures.append(failure)
                waiting[:0] = left
            del children[output]
            if batch is not None:
                child.end()
            if waiting:
                _start(flags, place, waiting, children)
        if time.monotonic() - said[0] > _SAY_EVERY_SECONDS:
            # The rate of late: the large inputs come first, and are slow.
            _say(
                findings,
                total,
                (findings.trials - said[1]) / (time.monotonic() - said[0]),
            )
            said = (time.monotonic(), findings.trials)
    return findings


def _start(
    flags: argparse.Namespace,
    place: pathlib.Path,
    waiting: list[str],
    children: dict[int, tuple[Child, pathlib.Path]],
) -> None:
    if waiting:
        child = Child(flags, place)
        child.give(_next(waiting))
        children[child.output] = (child, place)


def _next(waiting: list[str]) -> list[str]:
    size = _BATCH if waiting[0].isdigit() else 1
    batch, waiting[:size] = waiting[:size], []
    return batch


def _say(findings: Found, total: int, rate: float) -> None:
    left = progress.duration((total - findings.trials) / rate) if rate else "?"
    print(
        f"stage=fuzz done={findings.trials / total:.0%} rate={rate:.0f} inputs/s "
        f"left={left} failures={len(findings.failures)} peak={findings.peak_mb:.0f} MB",
        file=sys.stderr,
        flush=True,
    )


def main() -> int:
    """Reads the flags, runs, tells; 1 if anything was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--fast", action="store_true", help="few inputs, none large")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--failures", default="fuzz-failures", help="folder to save to")
    parser.add_argument(
        "--real",
        default=str(ROOT.parent / "shared" / "data" / "warc-*" / "*.warc*"),
        help="pattern of real archives to damage too",
    )
    parser.add_argument("--replay", type=pathlib.Path, help="try one saved file")
    flags = parser.parse_args()
    if flags.fast:
        flags.trials = min(flags.trials, FAST_TRIALS)
    shm = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if shm.is_dir() else None) as folder:
        if flags.replay:
            outcome = child_lib.replay(flags.replay, pathlib.Path(folder))
            print(json.dumps(outcome, indent=2))
            return 0
        start = time.monotonic()
        findings = run(flags, pathlib.Path(folder))
    seconds = time.monotonic() - start
    summary = {**dataclasses.asdict(findings), "seconds": round(seconds, 1)}
    if flags.json:
        print(json.dumps(summary))
    else:
        for name, value in summary.items():
            print(f"{name:>20} {value}")
    return 1 if findings.failures else 0


if __name__ == "__main__":
    sys.exit(main())
