"""What a supervisor does with its groups; shells stand in for the workers.

They are real processes that speak the lifeline's language: `+` means joined.
"""

import os
import pathlib
import signal
import threading
import time

import pytest

from lmcodistill import errors
from lmcodistill.storage import layout
from lmcodistill.supervision import (
    journal,
    launcher,
    missing,
    process_group,
    supervisor,
)
from lmcodistill.supervision.on_demand import OnDemand

LIMITS = process_group.Limits(max_restarts=3)
JOIN = "echo + >&0;"
# Saves for a while when it is asked to stop; `wait` returns when it is.
OBEY = "trap 'sleep 0.5; exit 143' TERM; sleep 9 & wait;"


SIGNS = {OnDemand.CHECKPOINT: "!\n", OnDemand.EXPORT: "^\n"}


def files_of(folder):
    return {
        OnDemand.CHECKPOINT: folder.checkpoint_now,
        OnDemand.EXPORT: folder.export_now,
    }


@pytest.fixture
def a_group(tmp_path):
    """Makes a group of one shell per script, each with its number in $N."""

    def make(student: int, *scripts: str, limits=LIMITS) -> supervisor.SupervisedGroup:
        folder = layout.RunLayout(tmp_path).student(student)

        def start(number: int) -> process_group.ProcessGroup:
            workers = [
                launcher.start_worker(
                    ["sh", "-c", script], folder, index, {"N": str(number)}
                )
                for index, script in enumerate(scripts)
            ]
            return process_group.ProcessGroup(workers, ["127.0.0.1:1"] * len(workers))

        events = journal.Journal(layout.RunLayout(tmp_path).supervisor)
        return supervisor.SupervisedGroup(
            student, start, limits, events, files_of(folder)
        )

    return make


def log(tmp_path: pathlib.Path, student: int = 0, worker: int = 0) -> str:
    """Returns what a shell said."""
    return layout.RunLayout(tmp_path).student(student).log(worker).read_text()


def failure_of(*groups: supervisor.SupervisedGroup) -> errors.LmcodistillError:
    """Runs groups; returns the failure."""
    with pytest.raises(errors.LmcodistillError) as failure:
        supervisor.Supervisor(groups).run()
    return failure.value


def test_a_lost_group_is_started_until_it_succeeds(a_group, tmp_path):
    script = f"{JOIN} echo start $N; [ $N = 3 ] || exit 75"

    supervisor.Supervisor([a_group(0, script)]).run()

    assert log(tmp_path).split("\n") == ["start 1", "start 2", "start 3", ""]
    assert journal.restarts(layout.RunLayout(tmp_path), 0) == 2


@pytest.mark.parametrize("way", ["its file", "the run's file", "a signal"])
@pytest.mark.parametrize("request_", OnDemand, ids=lambda r: r.name)
def test_what_is_asked_for_is_passed_on_to_whom_it_concerns(
    a_group, tmp_path, way, request_
):
    run = layout.RunLayout(tmp_path)
    # What the supervisor says is written to the log.
    script = f"{JOIN} exec 3<&0; cat <&3 & sleep 2; kill $!"
    groups = [a_group(0, script, script), a_group(1, script)]

    def ask():
        if way == "a signal":
            os.kill(os.getpid(), request_.signal)
        else:
            folder = run.student(0) if way == "its file" else run
            files_of(folder)[request_].touch()

    timer = threading.Timer(1.0, ask)
    timer.start()
    supervisor.Supervisor(groups, files_of(run)).run()

    assert log(tmp_path) == SIGNS[request_]
    assert log(tmp_path, worker=1) == ""
    assert log(tmp_path, student=1) == ("" if way == "its file" else SIGNS[request_])
    assert not list(tmp_path.rglob("*_now"))


@pytest.mark.parametrize("code", [1, 4, 5])
def test_what_fails_for_one_student_leaves_the_others_alone(a_group, tmp_path, code):
    fails = a_group(0, f"{JOIN} echo no use; exit {code}")
    works = a_group(1, f"{JOIN} sleep 1; echo done")

    failure = failure_of(fails, works)

    assert failure.exit_code == code
    assert f"Student 0, worker 0 ended with exit code {code}" in str(failure)
    assert str(failure).endswith("no use")
    assert log(tmp_path, 1) == "done\n"


def test_a_student_that_others_wait_for_takes_them_along(a_group, tmp_path):
    fails = a_group(
        0, f"{JOIN} sleep 1; exit 5", limits=process_group.Limits(is_needed=True)
    )
    obeys = a_group(1, f"{JOIN} {OBEY}")

    failure = failure_of(fails, obeys)

    assert failure.exit_code == errors.DivergedError.exit_code
    assert obeys.was_stopped


def test_a_mistake_for_all_lets_the_others_save_and_stop(a_group, tmp_path):
    fails = a_group(0, f"sleep 0.5; {JOIN} exit 3")
    works = a_group(1, f"{JOIN} {OBEY}")

    failure = failure_of(fails, works)

    assert failure.exit_code == errors.DataError.exit_code
    assert works.was_stopped


def test_the_cause_is_told_from_what_followed(a_group):
    group = a_group(
        0,
        f"{JOIN} sleep 0.5; kill -ABRT $$",
        f"{JOIN} exit 5",
        f"{JOIN} sleep 0.5; exit 75",
    )

    assert "worker 1 ended with exit code 5" in str(failure_of(group))


def test_a_group_that_leaves_is_given_time_to_save(a_group, tmp_path):
    saves = f"{JOIN} [ $N = 2 ] && exit 0; sleep 1; echo saved; exit 143"
    leaves = f"{JOIN} [ $N = 2 ] && exit 0; exit 143"

    supervisor.Supervisor([a_group(0, saves, leaves)]).run()

    assert log(tmp_path) == "saved\n"


def test_what_is_left_of_a_lost_group_is_killed_even_if_it_is_stopped(a_group):
    limits = process_group.Limits(max_restarts=0)
    group = a_group(0, f"{JOIN} kill -STOP $$", f"{JOIN} exit 75", limits=limits)

    began = time.monotonic()
    failure = failure_of(group)

    assert failure.exit_code == errors.GroupLostError.exit_code
    assert time.monotonic() - began < 3.0


def test_a_worker_that_says_nothing_is_frozen(a_group):
    limits = process_group.Limits(max_restarts=0, frozen_seconds=1.0)

    failure = failure_of(a_group(0, f"{JOIN} sleep 9", limits=limits))

    assert "worker 0 gave no sign of life for 1 s" in str(failure)


def test_a_worker_whose_work_is_done_may_leave_as_it_likes(a_group, tmp_path):
    limits = process_group.Limits(max_restarts=0, frozen_seconds=0.5)
    scripts = [f"{JOIN} echo . >&0; sleep 1.5; kill -ABRT $$"] * 2

    supervisor.Supervisor([a_group(0, *scripts, limits=limits)]).run()

    lines = (tmp_path / "supervisor.jsonl").read_text().splitlines()
    assert '"event": "ended"' in lines[-1]


def test_a_worker_that_does_not_join_is_not_frozen_but_late(a_group):
    limits = process_group.Limits(
        max_restarts=0, frozen_seconds=0.5, start_deadline_seconds=2.0
    )

    failure = failure_of(a_group(0, "sleep 9", limits=limits))

    assert "had not joined its group after 2 s" in str(failure)
    assert "no answer from 127.0.0.1:1 (Connection refused)" in str(failure)


def test_a_stopped_worker_is_frozen_also_while_it_joins(a_group):
    limits = process_group.Limits(max_restarts=0, frozen_seconds=1.0)

    failure = failure_of(a_group(0, "kill -STOP $$", limits=limits))

    assert "gave no sign of life" in str(failure)


def test_a_request_to_stop_is_passed_on_once_and_waited_for(a_group, tmp_path):
    group = a_group(0, f"{JOIN} {OBEY}")
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()

    failure = failure_of(group)

    assert isinstance(failure, errors.StoppedError)
    assert "after saving" in str(failure)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_stop_before_there_was_anything_to_save_says_so(a_group, number, code):
    # Neither has joined its group.
    groups = [a_group(student, "sleep 9") for student in (0, 1)]
    threading.Timer(0.5, os.kill, (os.getpid(), number)).start()

    failure = failure_of(*groups)

    assert failure.exit_code == code
    assert "anything new to save of student 0 and student 1" in str(failure)


def test_a_stop_that_only_one_student_could_save_names_the_other(a_group):
    saves, starts = a_group(0, f"{JOIN} {OBEY}"), a_group(1, "sleep 9")
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()

    failure = failure_of(saves, starts)

    assert failure.exit_code == errors.StoppedError.exit_code
    assert "anything new to save of student 1;" in str(failure)


def test_a_quiet_worker_is_noted_before_it_counts_as_frozen(a_group, tmp_path):
    limits = process_group.Limits(max_restarts=0, frozen_seconds=3.0)
    hums = f"{JOIN} sleep 1.8; echo + >&0; sleep 0.6"

    supervisor.Supervisor([a_group(0, hums, limits=limits)]).run()
    failure_of(a_group(1, f"{JOIN} sleep 9", limits=limits))

    run = layout.RunLayout(tmp_path)
    events = [[e["event"] for e in journal.of_student(run, s)[0]] for s in (0, 1)]
    assert events == [
        ["started", "quiet", "heard", "ended"],
        ["started", "quiet", "lost", "gave_up"],
    ]


def test_whoever_does_not_answer_is_named_while_the_group_waits(
    a_group, tmp_path, monkeypatch
):
    monkeypatch.setattr(missing, "PATIENCE_SECONDS", 0.0)
    folder = layout.RunLayout(tmp_path).student(0)

    def start(number: int) -> process_group.ProcessGroup:
        worker = launcher.start_worker(["sleep", "2"], folder, 0, {})
        return process_group.ProcessGroup([worker], ["127.0.0.1:2", "127.0.0.1:1"])

    group = a_group(0)
    group._start = start
    supervisor.Supervisor([group]).run()

    [events] = [x for x in journal.of_student(layout.RunLayout(tmp_path), 0) if x]
    waits = [e["missing"] for e in events if e["event"] == "waiting"]
    assert waits[0] == ["127.0.0.1:1"]


def test_a_command_that_cannot_be_started_is_tried_again_and_given_up(a_group):
    def start(number: int) -> process_group.ProcessGroup:
        raise OSError(12, "Cannot allocate memory")

    group = a_group(0, limits=process_group.Limits(max_restarts=1))
    group._start = start

    failure = failure_of(group)

    assert "failed 2 times in a row" in str(failure)
    assert "Cannot allocate memory" in str(failure)


@pytest.fixture
def a_served_group(tmp_path):
    """Makes a group of a chief and a worker that it can lose; shells, as `a_group`."""

    def make(chief: str, worker: str) -> supervisor.SupervisedGroup:
        run = layout.RunLayout(tmp_path)

        def start(number: int) -> process_group.ProcessGroup:
            workers = [
                launcher.start_worker(
                    ["sh", "-c", script], run.student(0), index, {}, is_replaced
                )
                for index, script, is_replaced in ((0, chief, False), (1, worker, True))
            ]
            workers[1].serves = True
            return process_group.ProcessGroup(workers, ["127.0.0.1:1"] * 2)

        events = journal.Journal(run.supervisor)
        return supervisor.SupervisedGroup(0, start, LIMITS, events, {})

    return make


def events_of(tmp_path: pathlib.Path) -> list[str]:
    """Returns what happened to student 0."""
    [events] = [x for x in journal.of_student(layout.RunLayout(tmp_path), 0) if x]
    return [event["event"] for event in events]


def test_a_worker_that_the_group_can_lose_is_started_again_by_itself(
    a_served_group, tmp_path
):
    again = tmp_path / "again"
    chief = f"{JOIN} until [ -e {again} ]; do sleep 0.1; done; echo done"
    worker = (
        f"{JOIN} [ -e {tmp_path}/was ] && touch {again} && exec sleep 60;"
        f"touch {tmp_path}/was; kill -9 $$"
    )

    supervisor.Supervisor([a_served_group(chief, worker)]).run()

    assert log(tmp_path) == "done\n"
    assert events_of(tmp_path) == ["started", "replacing", "ended"]


def test_a_worker_that_is_lost_for_good_leaves_the_chief_alone(
    a_served_group, tmp_path
):
    chief = f"{JOIN} sleep 2; echo done"

    supervisor.Supervisor([a_served_group(chief, f"{JOIN} exit 75")]).run()

    assert log(tmp_path) == "done\n"
    told = events_of(tmp_path)
    assert told.count("replacing") >= 2
    assert (told[0], told[-1], "lost" in told) == ("started", "ended", False)


def test_a_chief_that_is_lost_takes_its_workers_along(a_served_group, tmp_path):
    pids = tmp_path / "pids"
    chief = f"{JOIN} [ -e {tmp_path}/was ] && exit; touch {tmp_path}/was; exit 75"
    worker = f"{JOIN} echo $$ >> {pids}; exec sleep 60"

    supervisor.Supervisor([a_served_group(chief, worker)]).run()

    assert events_of(tmp_path).count("started") == 2
    for pid in map(int, pids.read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_group_whose_worker_refuses_its_settings_fails(a_served_group):
    group = a_served_group(f"{JOIN} sleep 60", "echo no such flag; exit 2")

    failure = failure_of(group)

    assert failure.exit_code == errors.UsageError.exit_code
    assert str(failure).endswith("no such flag")
