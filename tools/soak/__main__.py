r"""Breaks a small run in every way on the list, and reports what became of it.

Real processes, real kill -9, full disks, damaged and forged exports, peers that
die. One line per scenario of docs/reports/reliability.md: how often the fault was made,
how often all that is demanded held, the most steps lost beyond the last checkpoint,
the longest time from a fault to the next new step.

Examples:
  python -m tools.soak --fast
  python -m tools.soak --scenarios kill_worker freeze_worker --work_dir /var/tmp/soak
  python -m tools.soak --seed 7 --json > soak.json
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

from tests.support import tiny_run
from tools.soak.harness import Setup, Survival
from tools.soak.scenarios import (
    checkpoints,
    config,
    divergence,
    exports,
    kills,
    peers,
    storage,
)


class Scenario(NamedTuple):
    """One fault of the list; its name is the function's.

    Attributes:
        run: Makes the fault.
        fast: Trials with --fast; 0: left out, another test has it.
        full: Trials without.
    """

    run: Callable[[Setup], Survival]
    fast: int
    full: int


_LIST = (
    Scenario(kills.kill_worker, 0, 100),
    Scenario(kills.kill_in_save_or_export, 0, 200),
    Scenario(storage.kill_publisher, 40, 1_000),
    Scenario(kills.kill_everything, 0, 20),
    Scenario(kills.terminate_worker, 0, 50),
    Scenario(kills.interrupt_launcher, 0, 20),
    Scenario(kills.freeze_worker, 0, 10),
    Scenario(peers.dead_peer, 200, 10_000),
    Scenario(peers.returning_peer, 0, 20),
    Scenario(exports.damaged_exports, 200, 1_000),
    Scenario(exports.unfitting_exports, 92, 460),
    Scenario(exports.unfitting_int8_exports, 18, 180),
    Scenario(storage.removal_while_read, 5, 3_600),
    Scenario(exports.untrained_exports, 10, 100),
    Scenario(peers.full_disk, 2, 50),
    Scenario(storage.full_disk_publishing, 2, 50),
    Scenario(storage.read_only_disk, 2, 50),
    Scenario(peers.slow_storage, 0, 3),
    Scenario(storage.late_listings, 50, 1_000),
    Scenario(storage.race_for_student, 5, 100),
    Scenario(divergence.not_finite_updates, 0, 100),
    Scenario(checkpoints.damaged_checkpoint, 50, 500),
    Scenario(config.changed_configuration, 20, 200),
    Scenario(checkpoints.changed_worker_count, 0, 6),
    Scenario(peers.swap_every_step, 0, 1_000),
    Scenario(config.hostile_gin_files, 20, 1_370),
)
SCENARIOS = {scenario.run.__name__: scenario for scenario in _LIST}


def main() -> int:
    """Reads the flags, runs the scenarios, prints; 1 where a demand was not met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--scenarios",
        nargs="+",
        choices=SCENARIOS,
        metavar="NAME",
        help=f"only these of {', '.join(SCENARIOS)}",
    )
    parser.add_argument("--fast", action="store_true", help="about a minute")
    parser.add_argument("--trials", type=int, help="of each, instead of its own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work_dir", type=pathlib.Path, help="kept; else a new one")
    parser.add_argument("--json", action="store_true", help="one object per scenario")
    flags = parser.parse_args()
    all_held = True
    with tempfile.TemporaryDirectory(prefix="lmcodistill-soak-") as folder:
        work = flags.work_dir or pathlib.Path(folder)
        data = tiny_run.make_data(work / "data")
        for name in flags.scenarios or SCENARIOS:
            scenario = SCENARIOS[name]
            trials = flags.trials or (scenario.fast if flags.fast else scenario.full)
            if trials:
                (work / name).mkdir()
                survival = _run(name, Setup(flags.seed, trials, data, work / name))
                _show(name, survival, flags.json)
                all_held &= survival.survived == survival.trials
    return 0 if all_held else 1


def _run(name: str, setup: Setup) -> Survival:
    function = SCENARIOS[name].run
    title = (function.__doc__ or "").splitlines()[0]
    print(f"{name}: {title} {setup.trials} times", file=sys.stderr)
    began = time.monotonic()
    survival = function(setup)
    print(f"      {time.monotonic() - began:.0f} s", file=sys.stderr)
    return survival


def _show(name: str, survival: Survival, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"row": name, **dataclasses.asdict(survival)}), flush=True)
        return
    print(
        f"{name}: {survival.survived} of {survival.trials} held, "
        f"{survival.lost_steps} steps lost, longest recovery "
        f"{survival.longest_recovery_s:.1f} s  {survival.notes or ''}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
