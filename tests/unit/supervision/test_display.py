"""What `train` shows where there is no terminal."""

import io

import pytest
import rich.console

from lmcodistill.storage import layout, progress_file
from lmcodistill.supervision import display, journal


@pytest.fixture
def run(tmp_path):
    run = layout.RunLayout(tmp_path)
    run.student(0).root.mkdir(parents=True)
    return run


def test_student_is_told_again_only_when_there_is_news(run, capsys):
    events = journal.Journal(run.supervisor)
    lines = display._Lines(run.root, run.root)
    lines.show(False)
    assert capsys.readouterr().err == ""  # It has not started.

    heartbeat = progress_file.Heartbeat(run.student(0).progress, 4, 1)
    heartbeat.restored(0)
    events.note("started", student=0, attempt=1, pids=[heartbeat._content["pid"]])
    heartbeat.enter(progress_file.Phase.TRACING)
    for _ in range(3):
        lines.show(False)
    heartbeat.beat(1)
    heartbeat.beat(4, force=True)
    lines.show(False)  # Its end will tell.
    events.note("ended", student=0, attempt=1)
    lines.show(False)
    lines.show(True)

    told = capsys.readouterr().err.splitlines()
    assert told == [
        "student 0: starting: tracing, step 0/4",
        "student 0: done, step 4/4",
    ]


def test_lines_of_workers_have_their_name_and_are_shown_as_they_are(run):
    run.student(0).log(0).write_text("from before\n")
    output = io.StringIO()
    console = rich.console.Console(file=output, width=20)
    logs = display._Logs(run.root, console)

    with open(run.student(0).log(0), "a") as file:
        file.write("[bold]a line of more than twenty letters[/bold]\nhalf")
    run.student(0).log(1).write_text("first\n")
    logs.show_more(False)
    with open(run.student(0).log(0), "a") as file:
        file.write(" and half\n")
    logs.show_more(False)

    assert output.getvalue().splitlines() == [
        "student 0 worker 0 | [bold]a line of more than twenty letters[/bold]",
        "student 0 worker 1 | first",
        "student 0 worker 0 | half and half",
    ]
