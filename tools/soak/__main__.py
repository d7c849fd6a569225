r"""Breaks a small run in every way on the list, and says what became of it.

Real processes, real kill -9, full disks, damaged and forged exports, peers that
die. One line per row of the list in docs/reliability.md: how often the fault was
made, how often all that is demanded held, the most steps lost beyond the last
checkpoint, the longest time from a fault to the next new step.

Examples:
  python -m tools.soak --fast
  python -m tools.soak --rows R1 R2 --work_dir /var/tmp/soak
  python -m tools.soak --seed 7 --json > soak.json
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterable

from tools.soak import harness
from tools.soak.scenarios import (
    checkpoints,
    config,
    divergence,
    exports,
    kills,
    peers,
    storage,
)

Row = harness.Row
Rows = list[Row]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of the list.

    Attributes:
        rows: Which rows it fills.
        what: The fault, in a few words.
        run: From seed, trials, data and work folder to the rows.
        fast: Trials with --fast; 0: left out, another test has it.
        full: Trials without.
    """

    rows: str
    what: str
    run: Callable[[int, int, pathlib.Path, pathlib.Path], Row | Rows]
    fast: int
    full: int


def _tally(name: str, function: Callable) -> Callable:
    """Wraps a function of seed, trials and folder that returns a tally."""

    def run(seed: int, trials: int, _: pathlib.Path, work: pathlib.Path) -> Row:
        folder = work / name
        folder.mkdir()
        found = function(seed, trials, folder)
        return Row(name, found.trials, found.held, notes={"kinds": len(found.counts)})

    return run


def _plain(name: str, function: Callable[[int, int], dict]) -> Callable:
    """Wraps a function of seed and trials that returns a dictionary."""
    names = {field.name for field in dataclasses.fields(Row)} - {"row", "notes"}

    def run(seed: int, trials: int, *_: pathlib.Path) -> Row:
        found = function(seed, trials)
        row = Row(name, **{n: v for n, v in found.items() if n in names})
        row.notes |= found.get("notes") or {}
        more = {n: v for n, v in found.items() if n not in names}
        row.notes |= {n: v for n, v in more.items() if n not in ("row", "notes")}
        return row

    return run


ENTRIES = [
    Entry("R1", "kill -9 of a worker at a random instant", kills.r1, 2, 100),
    Entry("R2 R3", "kill -9 in a save or an export", kills.r2_r3, 0, 200),
    Entry(
        "R2R3",
        "the same in a process that only publishes",
        _plain("R2R3", storage.r2_r3_light),
        40,
        1_000,
    ),
    Entry("R4", "kill -9 of everything at once", kills.r4, 0, 20),
    Entry("R5", "SIGTERM of one worker", kills.r5, 0, 50),
    Entry("R6", "Ctrl-C, once or twice", kills.r6, 0, 20),
    Entry("R8", "SIGSTOP of one worker", kills.r8, 0, 10),
    Entry("R9", "a peer is dead", peers.r9, 200, 10_000),
    Entry("R10", "a peer comes back", peers.r10, 0, 20),
    Entry("R11", "damaged exports", _tally("R11", exports.r11), 200, 1_000),
    Entry("R12", "exports of something else", _tally("R12", exports.r12), 92, 460),
    Entry(
        "R13",
        "exports that are removed while they are read (seconds)",
        _plain("R13", storage.r13),
        5,
        3_600,
    ),
    Entry("R14", "exports that know nothing", _tally("R14", exports.r14), 10, 100),
    Entry("R15", "a full disk", peers.r15, 2, 50),
    Entry("R16", "a read-only disk", _plain("R16", storage.r16), 2, 50),
    Entry("R17", "5 s for every file that is read", peers.r17, 0, 3),
    Entry("R19", "listings that lag behind", _plain("R19", storage.r19), 50, 1_000),
    Entry("R20", "races for a student", _plain("R20", storage.r20), 5, 100),
    Entry("R22", "updates that are not finite", divergence.r22, 0, 100),
    Entry("R23", "a damaged checkpoint", checkpoints.r23, 50, 500),
    Entry("R24", "a changed configuration", config.r24, 20, 200),
    Entry("R25", "another number of workers", checkpoints.r25, 0, 6),
    Entry("R26", "a swap at every step", peers.r26, 0, 1_000),
    Entry("S2", "hostile gin files", _plain("S2", config.run), 137, 1_370),
]


def main() -> int:
    """Reads the flags, runs the rows, prints; 1 where a demand was not met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these")
    parser.add_argument("--fast", action="store_true", help="at most five minutes")
    parser.add_argument("--trials", type=int, help="of every row, instead of its own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work_dir", type=pathlib.Path, help="kept; else a new one")
    parser.add_argument("--json", action="store_true", help="one object per row")
    flags = parser.parse_args()
    unknown = set(flags.rows or ()) - {r for e in ENTRIES for r in e.rows.split()}
    if unknown:
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="lmcodistill-soak-") as folder:
        work = flags.work_dir or pathlib.Path(folder)
        data = harness.make_data(work / "data")
        held = [_show(rows, flags.json) for rows in _run(flags, data, work)]
    return 0 if all(held) else 1


def _run(flags: argparse.Namespace, data, work) -> Iterable[tuple[Entry, Rows, float]]:
    for entry in ENTRIES:
        trials = flags.trials or (entry.fast if flags.fast else entry.full)
        if not trials or (flags.rows and not set(entry.rows.split()) & set(flags.rows)):
            continue
        began = time.monotonic()
        print(f"{entry.rows}: {entry.what}, {trials} times", file=sys.stderr)
        found = entry.run(flags.seed, trials, data, work)
        rows = found if isinstance(found, list) else [found]
        yield entry, rows, time.monotonic() - began


def _show(done: tuple[Entry, Rows, float], as_json: bool) -> bool:
    entry, rows, seconds = done
    for row in rows:
        if as_json:
            print(json.dumps(dataclasses.asdict(row)), flush=True)
            continue
        print(
            f"{row.row:4}  {entry.what}: {row.survived} of {row.trials} held, "
            f"{row.lost_steps} steps lost, longest recovery "
            f"{row.longest_recovery_s:.1f} s  {row.notes or ''}",
            flush=True,
        )
    print(f"      {seconds:.0f} s", file=sys.stderr)
    return all(row.survived == row.trials for row in rows)


if __name__ == "__main__":
    sys.exit(main())
