"""What `compare` makes of its flags."""

import pathlib

import pytest

from lmcodistill.commands import comparison
from lmcodistill.experiments import arms, curves, page, results
from lmcodistill.training import job


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], 32 * 32),
        (["WINDOW=16"], 32 * 16),
        (["Batches.window=8"], 32 * 8),
        (["GLOBAL_BATCH_SIZE=64", "WINDOW=16"], 64 * 16),
        (["Batches.global_batch_size=8"], 8 * 32),
    ],
)
def test_tokens_of_a_step_follow_what_a_variant_sets(settings, expected):
    config = job.load(["runs/experiment_ptb"], settings)

    assert comparison._tokens_of_step(config) == expected


def test_terminal_of_80_columns_folds_neither_names_nor_intervals(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    known = arms.standard(arms.Base(global_batch_size=32, num_train_steps=600))
    trials = {
        known[name]: [
            results.Trial(loss + d, [curves.Point(600, 1, 1.0, 1.0, loss)], 1.0, 1.0)
            for d in (-0.01, 0.01)
        ]
        for name, loss in (("pooled", 3.0), ("codistilled_same_text", 2.9))
    }
    compared = results.compare(trials, "pooled")
    report = page.ComparisonReport(compared, [], {}, [], [], [], "")

    comparison._print(report, pathlib.Path("report.html"))

    lines = capsys.readouterr().out.replace("\u00a0", " ").splitlines()
    (line,) = (line for line in lines if "codistilled_same_text" in line)
    assert "2.9000" in line and "-0.100 (-0.100 to -0.100)" in line
    assert max(map(len, lines)) <= 80
