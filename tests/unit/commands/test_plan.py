"""`lmcodistill plan` as people and programs use it, without TensorFlow."""

import json
import sys

import pytest

from lmcodistill import cli

FIGURES = (
    *("--gin.Machine.matrix_rate=8e12", "--gin.Machine.memory_bandwidth=5e11"),
    *("--gin.Network.bandwidth=1e9", "--gin.Storage.bandwidth=1e8"),
)
SMALL_RUN = (
    *("plan", "--gin_file=runs/quickstart", "--gin.VOCAB_SIZE=1000"),
    "--gin_file=machines/gpu_2017",
)
RUN = ("plan", "--gin_file=runs/paper_codistill", "--gin.VOCAB_SIZE=24006")


@pytest.fixture
def plan(capsys):
    """Runs the command; returns code, out and err."""

    def run(*arguments):
        code = cli.main(arguments)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def wide(monkeypatch):
    """A terminal that is wide enough for any table."""
    monkeypatch.setenv("COLUMNS", "200")


def test_tables_show_all_ways_and_what_is_not_predicted(plan, wide):
    code, out, _ = plan(*RUN, *FIGURES, "--workers_per_student=128")

    assert code == 0
    for words in (
        "one group",
        "codistilling",
        "bound by",
        "all-reduce",
        "rotate",
        "177.6 MB",
        "Not predicted",
    ):
        assert words in out


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize(
    ("run", "devices", "tokens"),
    [
        ((*RUN, *FIGURES), 128, ["5,242.9", "5,242.9", "10,485.8", "5,242.9"]),
        # What bounds its step has a long name.
        (SMALL_RUN, 1, ["1.6", "1.6", "3.3", "1.6"]),
    ],
)
def test_tables_lose_no_word_where_the_terminal_is_narrow(
    plan, monkeypatch, columns, run, devices, tokens
):
    monkeypatch.setenv("COLUMNS", str(columns))

    _, out, _ = plan(*run, f"--workers_per_student={devices}")

    assert max(map(len, out.splitlines())) <= columns
    assert "…" not in out
    # One way in each column, and every figure whole.
    [line] = [line for line in out.splitlines() if line.startswith("devices")]
    assert line.split() == ["devices", *map(str, (devices, *3 * [2 * devices]))]
    assert [line for line in out.splitlines() if line.split()[-4:] == tokens]


def test_json_has_the_papers_bytes_and_shapes(plan):
    code, out, _ = plan(*RUN, *FIGURES, "--workers_per_student=128", "--json")

    found = json.loads(out)
    assert code == 0
    assert [p["devices"] for p in found["predictions"]] == [128, 256, 256, 256]
    assert [p["lanes"] for p in found["predictions"]] == [128, 64, 128, 128]
    assert found["exchanges"]["all"]["published_bytes"] == 177_598_232
    step = found["predictions"][-1]["step"]
    parts = [v for n, v in step.items() if n not in ("total", "bound_by")]
    assert sum(parts) == pytest.approx(step["total"])


def test_shipped_figures_are_enough(plan):
    code, out, _ = plan(*RUN, "--gin_file=machines/gpu_2017", "--json")

    assert code == 0
    assert json.loads(out)["network"]["bandwidth"] == 1.25e9


def test_tokens_take_the_place_of_the_steps(plan):
    arguments = ("plan", "--gin_file=models/paper", "--gin.VOCAB_SIZE=24006", *FIGURES)

    code, out, _ = plan(*arguments, "--tokens=1_000_000", "--json")

    # 128 streams of 32 tokens are 4,096 a step.
    assert code == 0
    assert [p["steps"] for p in json.loads(out)["predictions"]] == [245, 245, 123, 245]


def test_a_period_too_short_for_storage_is_named(plan, wide):
    workers, slow = "--workers_per_student=128", "--gin.Storage.bandwidth=1e6"

    _, out, _ = plan(*RUN, *FIGURES, workers, slow)

    assert "RELOAD_EVERY_STEPS = 50 is shorter than the" in out
    assert "PUBLISH_EVERY_STEPS = 50 is shorter than the" in out


def test_planning_needs_no_tensorflow(plan):
    before = "tensorflow" in sys.modules

    plan(*RUN, *FIGURES)

    assert ("tensorflow" in sys.modules) == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            RUN,
            "Network.bandwidth is not known. Give --gin.Network.bandwidth=NUMBER, or a "
            "file of figures such as --gin_file=machines/gpu_2017.",
        ),
        (
            (*RUN, *FIGURES[1:]),
            "Machine.matrix_rate is not known. Give --gin.Machine.matrix_rate=NUMBER "
            "or --measure, or a file of figures such as "
            "--gin_file=machines/gpu_2017.",
        ),
        (
            (*RUN[:2], *FIGURES),
            "the vocabulary's size is not known. Give --data_dir, whose vocabulary "
            "counts, or --gin.VOCAB_SIZE=24006.",
        ),
        (
            (*RUN, *FIGURES, "--workers_per_student=5"),
            "GLOBAL_BATCH_SIZE = 16384 cannot be shared by --workers_per_student=5. "
            "Choose a multiple of 5.",
        ),
        (
            (*RUN, *FIGURES, "--gin.Network.bandwidth=-1"),
            "--gin.Network.bandwidth=-1: Network.bandwidth = -1.0 cannot work: "
            "expected 0 or more.",
        ),
    ],
)
def test_missing_or_wrong_input_is_one_line(plan, arguments, message):
    assert plan(*arguments) == (2, "", f"lmcodistill plan: {message}\n")


def test_plan_refuses_a_single_student(plan):
    code, _, err = plan(*RUN, *FIGURES, "--students=1")

    assert code == 2
    assert "--students" in err


def test_train_refuses_figures_that_it_does_not_read(plan):
    code, _, err = plan("train", *RUN[1:], *FIGURES, "--data_dir=D", "--run_dir=R")

    assert code == 2
    assert "this command does not read Machine" in err
