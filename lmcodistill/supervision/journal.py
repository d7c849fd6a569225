"""What a supervisor did: one line per event, in a file and for people."""

import contextlib
import datetime
import json
import pathlib
import sys
import time

from lmcodistill.storage import files, layout

SCHEMA = 1
# What people want to know of while a run goes well otherwise.
_SAID = ("lost", "restarting", "gave_up")
_ALWAYS = ("student", "attempt", "worker", "cause", "last_step")


class Journal:
    """Appends to one file.

    Each line has `schema`, `seconds` since this supervisor began, `time` (by this
    machine's clock, for people only), the `event`: `started`, `lost`, `restarting`,
    `gave_up`, `ended` or `stopped`; the `student` whose group it concerns; the
    `attempt`: how often the group was started, this time included; the `worker`
    that began it, where one did; the `cause`: a signal's name, an exit code,
    `frozen`, `start deadline`; the `last_step`, the newest that the group ever
    reached; and what belongs to the event: `started` the process ids, `restarting`
    the delay in seconds.
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
            pairs = [f"{k}={v}" for k, v in details.items() if v is not None]
            moment = now.astimezone().strftime("%Y-%m-%d %H:%M:%S")
            with contextlib.suppress(OSError):
                print(f"{moment} event={event}", *pairs, file=sys.stderr, flush=True)


def restarts(run: layout.RunLayout, student: int) -> int:
    """Returns how often a student's processes were started again in this run.

    Under TF_CONFIG each host counts for itself; the one that counted most is right.
    """
    journals = [run.supervisor, *run.student(student).supervisors()]
    return max(
        sum(
            line.get("event") == "restarting" and line.get("student") == student
            for line in files.read_json_lines(path)
        )
        for path in journals
    )
