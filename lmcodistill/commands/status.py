"""Show how the students of a run are doing.

Reads the run's folder and nothing else, so it works from any machine that
reaches the shared storage, while the run goes on and after it has ended.

Examples:
  lmcodistill status RUN
  lmcodistill status RUN --watch
  lmcodistill status RUN --json
"""

import dataclasses
import json
import time

import rich.console
from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags
from lmcodistill.storage import places
from lmcodistill.supervision import display, status

ARGUMENTS = "RUN"
READS_GIN = False


def define_flags(define: command_flags.Definer) -> None:
    """Defines whether to go on looking."""
    define.place(
        "shared_dir",
        "Where the run's exports and checkpoints are, if not in RUN.",
    )
    define.bool("watch", False, "Show it again every two seconds, until Ctrl-C.")


def run(flag_values: flags.FlagValues, arguments: list[str]) -> None:
    """Shows the students; see the module's text."""
    if len(arguments) != 1:
        raise errors.UsageError(
            f"status takes one run's folder; {len(arguments)} were given. Example: "
            "lmcodistill status RUN"
        )
    run_dir = places.local(arguments[0], "Give an object store as --shared_dir.")
    shared = flag_values.shared_dir
    students = status.read(run_dir, shared)
    if not students:
        raise errors.UsageError(
            f"{run_dir} holds no students; a run's folder has one below students/. "
            "Give the --run_dir of `lmcodistill train`."
        )
    if flag_values.json:
        print(json.dumps({"students": list(map(dataclasses.asdict, students))}))
        return
    console = rich.console.Console()
    console.print(display.table(students))
    while flag_values.watch:
        time.sleep(2.0)
        students = status.read(run_dir, shared)
        console.clear()
        console.print(display.table(students))
