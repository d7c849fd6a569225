"""Clocks of machines differ by days, and nothing is decided by them."""

import os
import pathlib
import re
import time

import pytest

from lmcodistill import errors
from lmcodistill.exports import lookup
from lmcodistill.storage import publication
from lmcodistill.supervision import lease
from tests.support import snapshots

ROOT = pathlib.Path(__file__).resolve().parents[3]
DAY = 86_400
WALL = re.compile(
    r"\btime\.(time|time_ns|localtime|gmtime|ctime)\b|st_[amc]time|get[amc]time|datetime"
)
FOR_PEOPLE = {
    "training/journal.py",
    "training/metrics.py",
    "training/sinks.py",
}  # Says when something happened.


def test_no_decision_looks_at_the_clock_of_the_wall():
    package = ROOT / "lmcodistill"
    users = {
        path.relative_to(package).as_posix()
        for room in ("storage", "codistill", "training")
        for path in (package / room).rglob("*.py")
        if WALL.search(path.read_text())
    }

    assert users <= FOR_PEOPLE


def choices(folder: pathlib.Path) -> list:
    """Returns all that is decided by looking at a student's folder."""
    exports = folder / "exports"
    try:
        lease.Lease.acquire(folder / "leases")
        who = "nobody"
    except errors.GroupLostError as error:
        who = re.sub(r"for \d+ s", "", str(error))
    return [
        who,
        [s.version for s in publication.committed(exports, "export")],
        [s.version for s in lookup.newer_than(exports, (1, 100))],
        [s.version for s in lookup.of_step(exports, 100)],
        lookup.find(str(folder)).version,
    ]


@pytest.mark.parametrize("skew", [-DAY, DAY])
def test_choices_are_the_same_whatever_the_files_say_of_their_age(tmp_path, skew):
    for generation, step in ((1, 50), (1, 100), (2, 100), (2, 150)):
        snapshots.publish(tmp_path / "exports", step, generation=generation)
    lease.Lease.acquire(tmp_path / "leases")
    before = choices(tmp_path)
    now = time.time()
    everything = sorted(tmp_path.rglob("*"))

    # The first are the newest now, by two days.
    for index, path in enumerate(everything):
        moment = now + skew - 2 * DAY * index / len(everything)
        os.utime(path, (moment, moment))

    assert choices(tmp_path) == before
    assert before[0].startswith(str(tmp_path))
