"""Asynchronous SGD: a coordinator, workers and parameter servers, real processes."""

import json
import math
import os
import pathlib
import signal

import numpy as np
import pytest

from lmcodistill.training import checkpoints
from tests.distributed.test_supervisor import free_addresses, started
from tests.support import tiny_run

pytestmark = pytest.mark.distributed

ASYNCHRONOUS = ("--strategy", "parameter_server")
ALONE = {"students": 1, "TARGETS": "none", "EXCHANGE_MODE": "freshest"}
# So long that something can happen on the way.
LONG = {
    "NUM_TRAIN_STEPS": 120,
    "CHECKPOINT_EVERY_STEPS": 20,
    "EVALUATE_EVERY_STEPS": 20,
    "PUBLISH_EVERY_STEPS": 20,
}
SLOW = {"LMCODISTILL_FAULT": "update@1+:sleep=0.1"}
# Processes by place, of two workers and a parameter server.
WORKER, SERVER = 2, 3


def windows_read(run_dir: pathlib.Path) -> list[int]:
    """Returns how many windows the newest checkpoint's streams have read, by worker."""
    snapshot = checkpoints.newest(tiny_run.student_of(run_dir, 0).checkpoints)
    assert snapshot is not None
    return snapshot.manifest()["windows_read"]


def train_reports(run_dir: pathlib.Path) -> tiny_run.Reports:
    return tiny_run.reports_of(run_dir, 0, "train")


def test_one_worker_makes_the_updates_of_a_synchronous_run(finish, data_dir, tmp_path):
    for name, flags in {
        "synchronous": (),
        "asynchronous": (*ASYNCHRONOUS, "--parameter_servers", 2),
    }.items():
        arguments = tiny_run.train_arguments(data_dir, tmp_path / name, **ALONE)
        finish(*arguments, *flags)

    synchronous, asynchronous = (
        train_reports(tmp_path / name) for name in ("synchronous", "asynchronous")
    )
    losses = [[r["cross_entropy"] for r in x] for x in (synchronous, asynchronous)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)
    assert {r["gradient_staleness_max"] for r in asynchronous} == {0.0}
    assert tiny_run.result_of(tmp_path / "asynchronous", 0)["traces"] == 1


def test_training_goes_on_without_a_killed_worker(start, data_dir, tmp_path):
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path, **ALONE, **LONG),
        *(*ASYNCHRONOUS, "--workers_per_student", 2),
        **SLOW,
    )
    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 0) >= 20)

    journal = tmp_path / "supervisor.jsonl"
    os.kill(started(journal, 0)[0][WORKER], signal.SIGKILL)
    _, err = process.communicate(timeout=180)

    assert process.returncode == 0, err
    (replaced,) = tiny_run.journal_of(journal, "replacing")
    assert (replaced["worker"], replaced["cause"]) == (WORKER, "SIGKILL")
    assert (len(started(journal, 0)), tiny_run.journal_of(journal, "lost")) == (1, [])
    reports = train_reports(tmp_path)
    steps = LONG["NUM_TRAIN_STEPS"]
    assert [r["step"] for r in reports] == list(range(2, steps + 1, 2))
    # Both made updates between each other's reading and writing.
    assert max(r["gradient_staleness_max"] for r in reports) >= 1.0
    assert sum(windows_read(tmp_path)) == steps
    assert min(windows_read(tmp_path)) > 0
    first, *_, last = tiny_run.reports_of(tmp_path, 0, "validation")
    assert last["cross_entropy"] < first["cross_entropy"]
    assert math.isfinite(last["cross_entropy"])


def test_stopped_and_without_its_server_it_goes_on_from_the_checkpoint(
    start, data_dir, tmp_path
):
    arguments = (
        *tiny_run.train_arguments(data_dir, tmp_path, **ALONE, **LONG),
        *ASYNCHRONOUS,
    )
    command = (*arguments, "--workers_per_student", 2)
    process = start(*command, **SLOW)
    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 0) >= 6)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    stopped_at = sum(windows_read(tmp_path))
    assert 6 <= stopped_at < LONG["NUM_TRAIN_STEPS"]

    process = start(*arguments, "--workers_per_student", 1)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "is of 2 asynchronous workers, and here are 1" in err

    process = start(*command, **SLOW)
    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 0) >= 42)
    journal = tmp_path / "supervisor.jsonl"
    os.kill(started(journal, 0)[2][SERVER], signal.SIGKILL)
    _, err = process.communicate(timeout=180)

    assert process.returncode == 0, err
    assert len(started(journal, 0)) == 4
    log = tiny_run.log_of(tmp_path, 0)
    assert f"step={stopped_at} event=restored" in log
    assert log.count("event=restored") == 2
    steps = LONG["NUM_TRAIN_STEPS"]
    assert sum(windows_read(tmp_path)) == steps
    tiny_run.finish(*command, f"--gin.NUM_TRAIN_STEPS={steps + 4}")
    assert sum(windows_read(tmp_path)) == steps + 4


def test_each_process_takes_its_place_in_tf_config(start, data_dir, tmp_path):
    chief, worker, server = free_addresses(3)
    cluster = {"chief": [chief], "worker": [worker], "ps": [server]}
    processes = [
        start(
            *tiny_run.train_arguments(data_dir, tmp_path, **ALONE),
            *(*ASYNCHRONOUS, "--student", 0),
            TF_CONFIG=json.dumps(
                {"cluster": cluster, "task": {"type": job, "index": 0}}
            ),
        )
        for job in cluster
    ]

    outputs = [process.communicate(timeout=120)[1] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert tiny_run.result_of(tmp_path, 0)["outcome"] == "done"
    assert train_reports(tmp_path)[-1]["step"] == tiny_run.TINY["NUM_TRAIN_STEPS"]
