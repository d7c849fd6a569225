"""Groups come back when a worker dies, freezes or leaves; others notice nothing."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest

from lmcodistill import errors
from tests.support import tiny_run

pytestmark = pytest.mark.distributed

LOST = errors.GroupLostError.exit_code
STOPPED = errors.StoppedError.exit_code
INTERRUPTED = 130
# Slow enough to be hit on the way.
SLOW = {"LMCODISTILL_FAULT": "update@1+:sleep=0.05"}
ALONE = {
    "students": 1,
    "TARGETS": "none",
    "EVALUATE_EVERY_STEPS": 0,
    "PUBLISH_EVERY_STEPS": 20,
}
PAIR = {
    "NUM_TRAIN_STEPS": 40,
    "PUBLISH_EVERY_STEPS": 4,
    "RELOAD_EVERY_STEPS": 4,
    "DELAY_STEPS": 4,
}


def free_addresses(count: int) -> list[str]:
    """Returns addresses of this machine that nobody listened at just now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def tf_config(addresses: list[str], index: int) -> str:
    """Returns TF_CONFIG for one worker."""
    return json.dumps(
        {
            "cluster": {"worker": addresses},
            "task": {"type": "worker", "index": index},
        }
    )


def started(journal: pathlib.Path, student: int) -> list[list[int]]:
    """Returns the process ids of each start of a student's group."""
    lines = tiny_run.journal_of(journal, "started")
    return [line["pids"] for line in lines if line["student"] == student]


def state_of(start, run_dir: pathlib.Path) -> tuple[str, int]:
    """Returns the state of student 0 as `status` tells it, and its exit code."""
    process = start("status", run_dir, "--json")
    output, _ = process.communicate(timeout=60)
    return json.loads(output)["students"][0]["state"], process.returncode


def kill_at_each_start(
    journal: pathlib.Path, student: int, signals: list[signal.Signals]
) -> None:
    """Ends the first worker of a group as soon as it is started, several times."""
    for number, sent in enumerate(signals):
        assert tiny_run.wait_until(lambda n=number: len(started(journal, student)) > n)
        os.kill(started(journal, student)[number][0], sent)


@pytest.fixture(scope="module")
def undisturbed(finish, data_dir, tmp_path_factory):
    """Two students of two workers, forty steps."""
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(
        *tiny_run.train_arguments(data_dir, folder, **PAIR),
        *("--workers_per_student", 2),
    )
    return folder


def test_a_killed_worker_costs_its_group_a_restart_and_the_run_nothing(
    start, data_dir, undisturbed, tmp_path
):
    journal = tmp_path / "supervisor.jsonl"
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path, **PAIR),
        *("--workers_per_student", 2),
        **SLOW,
    )
    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 1) >= 6)

    os.kill(started(journal, 1)[0][1], signal.SIGKILL)
    _, err = process.communicate(timeout=180)

    assert process.returncode == 0, err
    (lost,) = tiny_run.journal_of(journal, "lost")
    assert (lost["student"], lost["worker"], lost["cause"]) == (1, 1, "SIGKILL")
    assert (len(started(journal, 0)), len(started(journal, 1))) == (1, 2)
    for student in (0, 1):
        for worker in (0, 1):
            assert tiny_run.weights_of(
                tmp_path, student, worker
            ) == tiny_run.weights_of(undisturbed, student, worker)


def test_a_worker_that_somebody_stops_takes_its_group_out_and_back(
    start, data_dir, tmp_path
):
    journal = tmp_path / "supervisor.jsonl"
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path, NUM_TRAIN_STEPS=80, **ALONE),
        *("--workers_per_student", 2),
        **SLOW,
    )
    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 0) >= 6)

    os.kill(started(journal, 0)[0][1], signal.SIGTERM)
    _, err = process.communicate(timeout=180)

    assert process.returncode == 0, err
    (lost,) = tiny_run.journal_of(journal, "lost")
    assert lost["cause"] == f"exit code {STOPPED}"
    steps = [r["step"] for r in tiny_run.reports_of(tmp_path, 0, "train")]
    assert steps == list(range(2, 81, 2))


def test_a_frozen_worker_is_killed_and_comes_back(start, data_dir, tmp_path):
    journal = tmp_path / "supervisor.jsonl"
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path, NUM_TRAIN_STEPS=80, **ALONE),
        "--frozen_seconds=8",
        **SLOW,
    )
    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 0) >= 6)
    (frozen,) = started(journal, 0)[0]

    os.kill(frozen, signal.SIGSTOP)
    assert tiny_run.wait_until(lambda: state_of(start, tmp_path) == ("frozen", LOST))
    _, err = process.communicate(timeout=180)

    assert process.returncode == 0, err
    (lost,) = tiny_run.journal_of(journal, "lost")
    assert lost["cause"] == "frozen"
    assert state_of(start, tmp_path) == ("done", 0)
    assert tiny_run.processes_of(tmp_path) == []
    assert tiny_run.step_of(tmp_path, 0) == 80


def test_a_step_that_hangs_says_where_and_ends_the_worker(start, data_dir, tmp_path):
    process = start(
        *tiny_run.train_arguments(
            data_dir, tmp_path, EXCHANGE_MODE="freshest", **ALONE
        ),
        *("--hang_seconds=6", "--max_restarts=0"),
        LMCODISTILL_FAULT="update@4:sleep=600",
    )

    _, err = process.communicate(timeout=120)

    assert process.returncode == LOST
    assert "After step 3 nothing went on for 6 s" in err
    assert "faults.py" in tiny_run.log_of(tmp_path, 0)


def test_a_run_gives_a_student_up_with_its_first_failure_and_finishes_the_others(
    start, data_dir, tmp_path
):
    journal = tmp_path / "supervisor.jsonl"
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path, EXCHANGE_MODE="freshest"),
        "--max_restarts=2",
    )

    kill_at_each_start(journal, 1, [signal.SIGKILL, signal.SIGTERM, signal.SIGTERM])
    _, err = process.communicate(timeout=180)

    assert process.returncode == LOST
    assert "Student 1 failed 3 times in a row" in err
    assert "The first time: Student 1, worker 0 was ended by SIGKILL" in err
    assert tiny_run.step_of(tmp_path, 0) == tiny_run.TINY["NUM_TRAIN_STEPS"]
    ends = [(e["student"], e["event"]) for e in tiny_run.journal_of(journal)]
    assert ends[-1] == (0, "ended")
    assert (1, "gave_up") in ends


def test_ctrl_c_during_a_pause_ends_the_run_at_once(start, data_dir, tmp_path):
    journal = tmp_path / "supervisor.jsonl"
    process = start(*tiny_run.train_arguments(data_dir, tmp_path, **ALONE))
    kill_at_each_start(journal, 0, [signal.SIGKILL] * 5)
    assert tiny_run.wait_until(
        lambda: len(tiny_run.journal_of(journal, "restarting")) == 5
    )

    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    # Killed at each start, it had nothing to save.
    assert process.returncode == INTERRUPTED, err
    assert time.monotonic() - began < 7.0  # The pause is 8 seconds long.
    assert tiny_run.processes_of(tmp_path) == []
    assert tiny_run.journal_of(journal)[-1]["event"] == "stopped"


def test_ctrl_c_twice_stops_without_saving(start, data_dir, tmp_path):
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path, NUM_TRAIN_STEPS=100_000, **ALONE),
        LMCODISTILL_FAULT="update@9:sleep=600",
    )
    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 0) >= 8)

    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    _, err = process.communicate(timeout=60)

    assert process.returncode == STOPPED, err
    assert "Stopped at once, without saving" in err
    assert tiny_run.processes_of(tmp_path) == []


@pytest.mark.parametrize("present", [0, 1])
def test_a_missing_worker_is_named_at_the_start_deadline(
    start, data_dir, tmp_path, present
):
    addresses = free_addresses(2)
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path, **ALONE),
        *("--student", 0, "--start_deadline_seconds=10", "--max_restarts=0"),
        TF_CONFIG=tf_config(addresses, present),
    )

    _, err = process.communicate(timeout=60)

    assert process.returncode == LOST
    assert f"{addresses[1 - present]} (Connection refused)" in err
    journal = tmp_path / f"students/0/supervisor-worker-{present}.jsonl"
    begin, lost = tiny_run.journal_of(journal, "started", "lost")
    assert lost["seconds"] - begin["seconds"] < 10.0 + 5.0
    assert tiny_run.processes_of(tmp_path) == []


def while_it_joins(start, data_dir, run_dir) -> subprocess.Popen:
    """Starts one worker of two, and waits until TensorFlow waits for the other."""
    addresses = free_addresses(2)
    process = start(
        *tiny_run.train_arguments(data_dir, run_dir, **ALONE),
        *("--student", 0),
        TF_CONFIG=tf_config(addresses, 0),
    )
    host, _, port = addresses[0].rpartition(":")

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    assert tiny_run.wait_until(listens)
    return process


def test_sigterm_ends_a_worker_that_waits_for_its_group(start, data_dir, tmp_path):
    process = while_it_joins(start, data_dir, tmp_path)

    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)

    assert process.returncode == STOPPED, err
    assert time.monotonic() - began < 5.0
    assert tiny_run.processes_of(tmp_path) == []


def test_a_killed_supervisor_leaves_no_worker_that_waits_for_its_group(
    start, data_dir, tmp_path
):
    process = while_it_joins(start, data_dir, tmp_path)

    process.kill()
    process.communicate()

    assert tiny_run.wait_until(
        lambda: tiny_run.processes_of(tmp_path) == [], seconds=5.0
    )


@pytest.mark.parametrize("victim", [0, 1])
def test_hosts_start_their_own_workers_again_and_the_cluster_comes_together(
    start, data_dir, tmp_path, victim
):
    addresses = free_addresses(2)
    journals = [
        tmp_path / f"students/0/supervisor-worker-{index}.jsonl" for index in (0, 1)
    ]
    hosts = [
        start(
            *tiny_run.train_arguments(data_dir, tmp_path, NUM_TRAIN_STEPS=80, **ALONE),
            *("--student", 0),
            TF_CONFIG=tf_config(addresses, index),
            **SLOW,
        )
        for index in (0, 1)
    ]
    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 0) >= 6)

    os.kill(started(journals[victim], 0)[0][0], signal.SIGKILL)
    errs = [host.communicate(timeout=180)[1] for host in hosts]

    assert [host.returncode for host in hosts] == [0, 0], errs
    (lost, *_) = tiny_run.journal_of(journals[victim], "lost")
    assert lost["cause"] == "SIGKILL"
    assert all(len(started(journal, 0)) >= 2 for journal in journals)
    assert tiny_run.weights_of(tmp_path, 0, 0) == tiny_run.weights_of(tmp_path, 0, 1)


def test_a_chief_beside_the_workers_is_worker_0(start, data_dir, tmp_path):
    chief, worker = free_addresses(2)
    cluster = {"chief": [chief], "worker": [worker]}
    tasks = [{"type": "chief", "index": 0}, {"type": "worker", "index": 0}]
    hosts = [
        start(
            *tiny_run.train_arguments(data_dir, tmp_path, **ALONE),
            *("--student", 0),
            TF_CONFIG=json.dumps({"cluster": cluster, "task": task}),
        )
        for task in tasks
    ]

    errs = [host.communicate(timeout=180)[1] for host in hosts]

    assert [host.returncode for host in hosts] == [0, 0], errs
    assert tiny_run.weights_of(tmp_path, 0, 0) == tiny_run.weights_of(tmp_path, 0, 1)


@pytest.mark.parametrize(
    ("cluster", "says"),
    [
        ({"worker": ["127.0.0.1:31001", "127.0.0.1:31001"]}, "twice"),
        ({"worker": ["127.0.0.1:70000"]}, "port is no number up to 65,535"),
        (
            {"ps": ["127.0.0.1:1"], "worker": ["127.0.0.1:2"]},
            "not both a chief and workers",
        ),
        ({"worker": [f"10.0.0.{k}:1" for k in range(3)]}, "TF_CONFIG's workers: 3"),
    ],
)
def test_a_cluster_that_cannot_come_together_is_refused_at_once(
    start, data_dir, tmp_path, cluster, says
):
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path / "run", **ALONE),
        *("--student", 0),
        TF_CONFIG=json.dumps(
            {"cluster": cluster, "task": {"type": "worker", "index": 0}}
        ),
    )

    _, err = process.communicate(timeout=60)

    assert process.returncode == errors.UsageError.exit_code
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_public_address_is_refused(start, data_dir, tmp_path):
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path / "run", **ALONE),
        *("--student", 0),
        TF_CONFIG=tf_config(["8.8.8.8:2222"], 0),
    )

    _, err = process.communicate(timeout=60)

    assert process.returncode == errors.UsageError.exit_code
    assert "8.8.8.8:2222" in err
    assert "--allow_public_addresses" in err
    assert not (tmp_path / "run").exists()


def test_a_second_launch_is_refused_while_the_first_runs(start, data_dir, tmp_path):
    first = start(
        *tiny_run.train_arguments(data_dir, tmp_path, NUM_TRAIN_STEPS=100_000, **ALONE)
    )
    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 0) > 0)

    second = start(
        *tiny_run.train_arguments(data_dir, tmp_path, NUM_TRAIN_STEPS=100_000, **ALONE)
    )
    _, err = second.communicate(timeout=60)

    assert second.returncode == LOST
    assert "is held by process" in err
    assert len(started(tmp_path / "supervisor.jsonl", 0)) == 1  # It never began.
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=120)
