"""Reports sent on to tracking services, by their real libraries where those are."""

import importlib.util
import logging

import pytest

from lmcodistill import errors
from lmcodistill.settings import training
from lmcodistill.storage import layout
from lmcodistill.training import sinks
from tests.support import tiny_run

NUMBERS = {"train/cross_entropy": 2.5, "train/tokens": 1024}
needs = {
    name: pytest.mark.skipif(
        importlib.util.find_spec(name) is None,
        reason=f"{name} is not installed; it comes with lmcodistill[{name}]",
    )
    for name in sinks.SERVICES
}


@pytest.fixture
def student(tmp_path):
    student = layout.RunLayout(tmp_path / "RUN").student(1)
    student.root.mkdir(parents=True)
    return student


def send(name, student, step):
    sink = sinks.Sink(name, student, "Training.seed = 3\n")
    sink.send(step, NUMBERS)
    sink.close()


def test_every_service_that_settings_allow_is_there_and_no_other():
    assert {*sinks.SERVICES, "none"} == set(training.METRICS_SINKS)


def test_service_without_its_library_is_refused_with_what_to_install():
    sinks.check("none")

    with pytest.raises(errors.UsageError, match=r"pip install 'lmcodistill\[absent\]'"):
        sinks.check("absent")


@needs["mlflow"]
def test_mlflow_has_the_numbers_of_both_starts_in_one_run(
    student, tmp_path, monkeypatch
):
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())

    for step in (10, 20):
        send("mlflow", student, step)

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("lmcodistill")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == student.tracked("mlflow").read_text()
    assert (run.info.run_name, run.info.status) == ("RUN/1", "FINISHED")
    for name, value in NUMBERS.items():
        history = client.get_metric_history(run.info.run_id, name)
        assert [(x.step, x.value) for x in history] == [(10, value), (20, value)]
    assert "config.gin" in [x.path for x in client.list_artifacts(run.info.run_id)]


@needs["wandb"]
def test_wandb_writes_the_numbers_offline_under_the_id_that_is_kept(
    student, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", "offline")

    send("wandb", student, 10)

    id_ = student.tracked("wandb").read_text()
    [path] = (student.root / "wandb").glob(f"offline-run-*/run-{id_}.wandb")
    # Another process writes it.
    assert tiny_run.wait_until(lambda: b"train/cross_entropy" in path.read_bytes())


def test_service_that_fails_costs_a_line_of_the_log(student, monkeypatch, caplog):
    # Nobody answers there; without the library, it fails sooner.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(logging.getLogger("lmcodistill"), "propagate", True)

    send("mlflow", student, 10)

    assert "event=sink_failed sink=mlflow" in caplog.text
    assert not student.tracked("mlflow").exists()
