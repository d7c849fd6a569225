"""Whether the report of a data folder accounts for every document that was read.

Of each input file, what was read is what was kept and what was dropped for a reason;
of an archive, each record that may hold a page was read.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from lmcodistill import errors
from lmcodistill.data import fault_list, shards
from lmcodistill.storage import files

MAX_REPORT_BYTES = 1 << 28
# Kinds of WARC records that hold text, or stand for some; a name that the format
# does not know counts as `other`.
PAGE_RECORDS = (
    "response",
    "resource",
    "conversion",
    "revisit",
    "continuation",
    "other",
)


def check(
    path: pathlib.Path,
    inputs: Sequence[shards.InputFile],
    faults: fault_list.FaultList,
) -> None:
    """Compares the report with itself and with the manifest.

    Args:
        path: The report.
        inputs: Input files, as the manifest has them.
        faults: Where faults are noted.
    """
    try:
        report = files.read_json(path, MAX_REPORT_BYTES)
        lines, total = report["files"], report["total"]
        faults.compare(path.name, "input files", len(lines), len(inputs))
        for line, source in zip(lines, inputs, strict=False):
            _check_line(line, source, faults)
        for count in ("read", "kept"):
            summed = sum(line[count] for line in lines)
            faults.compare(path.name, f"{count} in all", total[count], summed)
        dropped = sum(total["dropped"].values())
        faults.compare(path.name, "read in all", total["read"], total["kept"] + dropped)
    except errors.DataError as error:
        faults.add(path.name, "content", error, "the report that prep wrote")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        faults.add(path.name, "content", repr(error), "the report that prep wrote")


def _check_line(
    line: dict[str, Any], source: shards.InputFile, faults: fault_list.FaultList
) -> None:
    name, read, records = source.name, line["read"], line["records"]
    faults.compare(name, "name in the report", line["name"], name)
    accounted = line["kept"] + sum(line["dropped"].values())
    faults.compare(name, "documents kept or dropped", accounted, read)
    faults.compare(name, "documents kept", line["kept"], source.documents)
    if records:
        held = sum(records.get(kind, 0) for kind in PAGE_RECORDS)
        faults.compare(name, "records that may hold a page", held, read)
