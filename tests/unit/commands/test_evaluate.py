"""`evaluate`: which students are scored, and that the figures are the interface's."""

import json

import pytest

import lmcodistill
from tests.support import untrained_run


def test_run_means_each_student_and_then_their_ensemble(command, run_dir, data_dir):
    code, out, _ = command(
        "evaluate", "--data_dir", data_dir, "--export", run_dir, "--json"
    )

    results = json.loads(out)["results"]
    assert code == 0
    assert [r["name"] for r in results] == [
        *("student 0, step 100", "student 1, step 100", "ensemble of 2"),
    ]
    paths = [[run_dir / "students/0"], [run_dir / "students/1"], [run_dir]]
    for result, given in zip(results, paths, strict=True):
        score = lmcodistill.load(*given).evaluate(data_dir)
        assert result["tokens"] == score.num_tokens
        assert result["cross_entropy"] == score.cross_entropy
        assert result["perplexity_per_token"] == score.perplexity
        assert result["perplexity_per_word"] == score.word_perplexity
        assert result["bits_per_byte"] == score.bits_per_byte


def test_one_student_has_no_ensemble(command, run_dir, data_dir):
    path = run_dir / "students" / "1"

    _, out, _ = command("evaluate", path, "--data_dir", data_dir)

    assert "student 1, step 100" in out
    assert "ensemble" not in out


def test_students_that_read_differently_are_refused_before_any_is_scored(
    command, run_dir, data_dir, tmp_path
):
    other = untrained_run.make(tmp_path / "other", 1, reset_at_documents=False)

    code, out, err = command(
        "evaluate", run_dir / "students/0", other, "--data_dir", data_dir
    )

    assert (code, out) == (2, "")
    assert "cannot read one text together" in err


@pytest.mark.parametrize("name", ["export", "generate"])
def test_one_model_is_wanted_by_export_and_any_number_by_generate(
    command, run_dir, tmp_path, name
):
    code, _, err = command(
        *(name, "--export", run_dir),
        *(("--output_dir", tmp_path / "1") if name == "export" else ("--tokens=1",)),
    )

    if name == "generate":
        assert (code, err) == (0, "")
    else:
        assert code == 4
        assert f"Give one student's folder: {run_dir / 'students/0'}" in err
