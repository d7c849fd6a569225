"""What becomes of each flag of `train` in the commands of the workers."""

import dataclasses
import pathlib
import sys

import pytest

from lmcodistill.codistill import policies
from lmcodistill.commands import catalogue, supervision, train
from lmcodistill.storage import layout
from lmcodistill.supervision import journal

# A new flag of `train` belongs on one of these: the workers get it as it was given,
# or it is only for the supervisor, or `_worker_command` says what becomes of it.
LISTS = (
    supervision.FORWARDED_FLAGS,
    (
        "allow_public_addresses",
        "dry_run",
        "frozen_seconds",
        "json",
        "log",
        "max_restarts",
        "parameter_servers",
        "start_deadline_seconds",
        "workers_per_student",
    ),
    ("data_dir", "gin_bindings", "gin_file", "run_dir", "student", "take_over"),
)
CONFIG = pathlib.Path("config.gin")


@dataclasses.dataclass(frozen=True)
class Student:
    """What the command of a worker, and its supervisor, need of a job."""

    data_dir: pathlib.Path
    run_dir: pathlib.Path
    student: int
    policy = policies.Policy
    asynchronous_workers = 0

    @property
    def layout(self) -> layout.StudentLayout:
        return layout.RunLayout(self.run_dir).student(self.student)


def flags_of(arguments: list[str]):
    """Returns the flags of `train` as they are read from a command line."""
    flag_values = catalogue.flags_of(train)
    flag_values(["train", *arguments])
    return flag_values


def workers_command(number: int, *arguments: str) -> list[str]:
    student = Student(pathlib.Path("/data"), pathlib.Path("/run"), 1)
    flag_values = flags_of(list(arguments))
    return supervision._worker_command(flag_values, student, CONFIG, number)


def test_every_flag_of_train_is_on_exactly_one_list():
    listed = [name for names in LISTS for name in names]

    assert sorted(listed) == sorted(catalogue.flags_of(train))


@pytest.mark.parametrize("name", supervision.FORWARDED_FLAGS)
def test_forwarded_flag_reaches_the_worker_as_it_was_given(name):
    flag = flags_of([])[name]
    value = {"strategy": "parameter_server"}.get(name, "true" if flag.boolean else "7")

    given = flags_of([f"--{name}={value}"])
    command = workers_command(1, f"--{name}={value}")
    received = flags_of(command[4:])

    assert command[:4] == [sys.executable, "-m", "lmcodistill", "train"]
    assert received[name].value == given[name].value != flag.default


def test_worker_knows_its_student_its_folders_and_the_configuration_of_the_start():
    received = flags_of(workers_command(2, "--run_dir=~/run", "--gin_file=my.gin")[4:])

    assert received.gin_file == [str(CONFIG)]
    assert (received.student, received.data_dir, received.run_dir) == (
        1,
        pathlib.Path("/data"),
        pathlib.Path("/run"),
    )


def test_only_the_first_start_takes_over():
    assert "--take_over" in workers_command(1, "--take_over")
    assert "--take_over" not in workers_command(2, "--take_over")
    assert "--take_over" not in workers_command(1)


@pytest.mark.parametrize("has_chief", [True, False])
def test_export_is_asked_for_where_the_chief_is(tmp_path, has_chief):
    student = Student(tmp_path, tmp_path, 1)
    student.layout.root.mkdir(parents=True)
    student.layout.checkpoint_now.touch()
    student.layout.export_now.touch()
    group = supervision._group(
        *(flags_of([]), student, CONFIG, journal.Journal(tmp_path / "journal")),
        start=lambda _: pytest.fail("nothing is to be started"),
        has_chief=has_chief,
    )

    group.ask(set())

    # What was taken is passed on at the next start; what is not theirs stays.
    assert not student.layout.checkpoint_now.exists()
    assert student.layout.export_now.exists() is not has_chief
