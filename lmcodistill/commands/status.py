"""Show how the students of a run are doing.

Reads the run's folder and nothing else, so it works from any machine that
reaches the shared storage, while the run goes on and after it has ended. Each
student has a state: not started, starting, waiting, running, frozen,
restarting, stopped, diverged, failed, lost or done.

The exit code is 0 where all goes on or is done; 5: a student diverged; 75: one
is frozen or lost; 143: stopped, the same command goes on; else that of what
failed.

Examples:
  lmcodistill status RUN
  lmcodistill status RUN --watch
  lmcodistill status RUN --json
"""

import dataclasses
import json
import time

from absl import flags

from lmcodistill.commands import command_flags, operands
from lmcodistill.supervision import status

ARGUMENTS = "RUN"
READS_GIN = False


def define_flags(define: command_flags.Definer) -> None:
    """Defines whether to go on looking."""
    define.place(
        "shared_dir",
        "Where the run's exports and checkpoints are, if not in RUN.",
    )
    define.bool("watch", False, "Show it again every two seconds, until the run ends.")


def run(flag_values: flags.FlagValues, arguments: list[str]) -> int:
    """Shows the students; see the module's text."""
    run_dir = operands.run_folder(arguments, "status RUN")
    import rich.console

    from lmcodistill.supervision import status_view

    shared = flag_values.shared_dir
    students = status.read_begun(run_dir, shared)
    console = rich.console.Console(quiet=flag_values.json)
    console.print(status_view.view(students, console.width))
    while flag_values.watch and not status.is_over(students):
        time.sleep(2.0)
        students = status.read(run_dir, shared)
        console.clear()
        console.print(status_view.view(students, console.width))
    if flag_values.json:
        print(json.dumps({"students": list(map(dataclasses.asdict, students))}))
    return status.exit_code(students)
