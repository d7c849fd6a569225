"""What a supervisor did: one line per event, in a file and for people."""

import contextlib
import datetime
import json
import pathlib
import sys
import time
from typing import Any

from lmcodistill.storage import files, layout

SCHEMA = 1
# What people want to know of while a run goes well otherwise.
_SAID = (
    *("waiting", "quiet", "heard", "save_asked", "export_asked"),
    *("lost", "replacing", "restarting", "gave_up"),
)
_ALWAYS = ("student", "attempt", "worker", "cause", "last_step")


class Journal:
    """Appends to one file.

    Each line has `schema`, `seconds` since this supervisor began, `time` (by this
    machine's clock, for people only), the `event`: `began`, `started`, `waiting`,
    `quiet`, `heard`, `save_asked`, `export_asked`, `lost`, `replacing`,
    `restarting`, `gave_up`, `ended` or `stopped`; the `student` whose group it
    concerns; the `attempt`: how often the group was started, this time included;
    the `worker` that began it, where one did; the `cause`: a signal's name, an exit
    code, `frozen`, `start deadline`; the `last_step`, the newest that the group
    ever reached; and what belongs to the event: `began`, of the whole run, the
    command that goes on with it; `started` the process ids; `waiting` the addresses
    where nobody answers any more, none when all do; `restarting` the delay in
    seconds. A worker that says nothing is `quiet` until it is `heard` or `lost`.
    One without which its group goes on is not `lost`: `replacing` says that it is
    started again.
    """

    def __init__(self, path: pathlib.Path):
        self._path, self._began = path, time.monotonic()

    def note(self, event: str, **details: object) -> None:
        """Notes an event, see above; of what each line has, None is not given."""
        details = dict.fromkeys(_ALWAYS) | details
        now = datetime.datetime.now(datetime.UTC)
        line = {
            "schema": SCHEMA,
            "seconds": round(time.monotonic() - self._began, 3),
            "time": now.isoformat(timespec="milliseconds"),
            "event": event,
            **details,
        }
        # Not worth the run where the disk is full.
        with contextlib.suppress(OSError), open(self._path, "ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
        if event in _SAID:
            pairs = [f"{k}={_plain(v)}" for k, v in details.items() if v is not None]
            moment = now.astimezone().strftime("%Y-%m-%d %H:%M:%S")
            with contextlib.suppress(OSError):
                print(f"{moment} event={event}", *pairs, file=sys.stderr, flush=True)


def _plain(value: object) -> str:
    """Returns a value as people read it."""
    if isinstance(value, list):
        return ",".join(map(str, value)) or "nobody"
    return str(value)


def of_student(run: layout.RunLayout, student: int) -> list[list[dict[str, Any]]]:
    """Returns what each supervisor of a student noted of it, in order.

    There is one on this machine; under TF_CONFIG there is one for each worker.
    """
    paths = [run.supervisor, *run.student(student).supervisors()]
    return [
        [x for x in files.read_json_lines(path) if x.get("student") == student]
        for path in paths
    ]


def command(run: layout.RunLayout) -> str | None:
    """Returns the command that goes on with a run, where it was noted."""
    journals = [run.supervisor]
    for student in run.students():
        journals += run.student(student).supervisors()
    began = [
        line["command"]
        for path in journals
        for line in files.read_json_lines(path)
        if line.get("event") == "began"
    ]
    return str(began[-1]) if began else None


def restarts(run: layout.RunLayout, student: int) -> int:
    """Returns how often a student's processes were started again in this run.

    Under TF_CONFIG each host counts for itself; the one that counted most is right.
    """
    return max(
        sum(line.get("event") == "restarting" for line in lines)
        for lines in of_student(run, student)
    )
