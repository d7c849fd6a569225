"""What a run reported, read back from the metrics files of its students."""

import os
import pathlib
from typing import Any

from lmcodistill import errors
from lmcodistill.storage import files, layout


def read_metrics(run: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns the reports of all students of a run, student by student, in order.

    Each is a row for a table: `student`, `kind` (`train`: means over the steps since
    the last report; `validation`; `gradients`), `step`, and the values; see "Where
    things are" in docs/guide/running.md. The run may still be going on.

    Args:
        run: The run's folder, `--run_dir` of `lmcodistill train`.

    Raises:
        UsageError: it holds no students.
    """
    run_layout = layout.RunLayout(pathlib.Path(run).expanduser())
    students = run_layout.students()
    if not students:
        raise errors.UsageError(
            f"{run_layout.root} holds no students; a run's folder has one below "
            "students/. Give the --run_dir of `lmcodistill train`."
        )
    return [
        {"student": student, **report}
        for student in students
        for report in files.read_json_lines(run_layout.student(student).metrics)
    ]
