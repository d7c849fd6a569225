"""A real run whose reports go to a tracking service too."""

import importlib.util
import os

import pytest

from lmcodistill import errors
from tests.support import tiny_run

pytestmark = pytest.mark.distributed
has_mlflow = importlib.util.find_spec("mlflow") is not None


@pytest.mark.skipif(
    not has_mlflow, reason="mlflow is not installed; it comes with lmcodistill[mlflow]"
)
def test_mlflow_has_the_numbers_of_metrics_jsonl(data_dir, tmp_path, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store = (tmp_path / "store").as_uri()
    arguments = tiny_run.train_arguments(
        data_dir, tmp_path / "RUN", METRICS_SINK="'mlflow'"
    )

    tiny_run.finish(
        *arguments,
        MLFLOW_TRACKING_URI=store,
        PYTHONPATH=f"{tiny_run.ROOT}:{os.environ.get('PYTHONPATH', '')}",
    )

    client = mlflow.MlflowClient(store)
    experiment = client.get_experiment_by_name("lmcodistill")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["RUN/0", "RUN/1"]
    for run in runs:
        student = int(run.info.run_name[-1])
        for kind in ("train", "validation"):
            reports = tiny_run.reports_of(tmp_path / "RUN", student, kind)
            name = f"{kind}/cross_entropy"
            history = client.get_metric_history(run.info.run_id, name)
            assert [(x.step, x.value) for x in history] == [
                (report["step"], report["cross_entropy"]) for report in reports
            ]


@pytest.mark.skipif(has_mlflow, reason="mlflow is installed here, so it is not missing")
def test_missing_library_is_refused_before_anything_starts(start, data_dir, tmp_path):
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path / "RUN", METRICS_SINK="'mlflow'")
    )
    _, err = process.communicate(timeout=60)

    assert process.returncode == errors.UsageError.exit_code
    assert "pip install 'lmcodistill[mlflow]'" in err
    assert not (tmp_path / "RUN" / "students").exists()
