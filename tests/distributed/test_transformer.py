"""Transformers as real processes: taught, killed, gone on with, beside an LSTM."""

import json
import os
import pathlib
import shutil
import signal

import pytest

from tests.support import tiny_run

pytestmark = pytest.mark.distributed
STEPS = 24
SIZES = {
    "Transformer.width": 16,
    "Transformer.num_layers": 2,
    "Transformer.num_heads": 2,
    "Transformer.num_key_value_heads": 1,
    "Transformer.feed_forward_width": 24,
    "Transformer.memory": 12,
}
# Slow enough to be hit on the way.
SLOW = {"LMCODISTILL_FAULT": "update@1+:sleep=0.05"}


def bindings(memory: int = 12, **changes: object) -> list[str]:
    sizes = {**SIZES, "Transformer.memory": memory}
    return tiny_run.bindings_of("transformer", sizes, **changes)


def two_by_two(data_dir, folder) -> list[object]:
    """Returns the command line of two students of two workers each."""
    return [
        *("train", "--data_dir", data_dir, "--run_dir", folder),
        *("--students", 2, "--workers_per_student", 2),
        *bindings(NUM_TRAIN_STEPS=STEPS, DROPOUT=0.1, DELAY_STEPS=4),
    ]


@pytest.fixture(scope="module")
def undisturbed(finish, data_dir, tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(*two_by_two(data_dir, folder))
    return folder


@pytest.mark.parametrize("student", [0, 1])
def test_students_teach_each_other_and_learn(undisturbed, student):
    last = tiny_run.reports_of(undisturbed, student, "train")[-1]
    scores = [
        report["cross_entropy"]
        for report in tiny_run.reports_of(undisturbed, student, "validation")
    ]

    assert [teacher["peer"] for teacher in last["teachers"]] == [1 - student]
    assert last["distillation_loss"] > 0.0
    assert last["refused_exports"] == {}
    # From step 4 to the last: it knows more than how frequent tokens are.
    assert scores[-1] < scores[0] - 0.5


def test_a_killed_worker_costs_a_restart_and_no_bit(
    start, data_dir, undisturbed, tmp_path
):
    process = start(*two_by_two(data_dir, tmp_path), **SLOW)
    assert tiny_run.wait_until(lambda: tiny_run.step_of(tmp_path, 1) >= 6)
    journal = tmp_path / "supervisor.jsonl"
    [group] = [
        line["pids"]
        for line in tiny_run.journal_of(journal, "started")
        if line["student"] == 1
    ]

    os.kill(group[1], signal.SIGKILL)
    _, err = process.communicate(timeout=180)

    assert process.returncode == 0, err
    (lost,) = tiny_run.journal_of(journal, "lost")
    assert (lost["student"], lost["cause"]) == (1, "SIGKILL")
    assert "event=restored" in tiny_run.log_of(tmp_path, 1)
    for student in (0, 1):
        weights = {tiny_run.weights_of(tmp_path, student, worker) for worker in (0, 1)}
        assert weights == {tiny_run.weights_of(undisturbed, student)}


def test_what_is_carried_without_a_memory_is_nothing_and_is_restored(
    finish, data_dir, tmp_path
):
    def train():
        finish(
            *("train", "--data_dir", data_dir, "--run_dir", tmp_path),
            *("--students", 1, "--workers_per_student", 2),
            *bindings(memory=0, TARGETS="none"),
        )

    train()
    whole = tiny_run.weights_of(tmp_path, 0)
    # As if it had died before it saved the last.
    for snapshot in tmp_path.glob("students/0/*/*-000000008-i1"):
        shutil.rmtree(snapshot)
    train()

    assert "step=4 event=restored" in tiny_run.log_of(tmp_path, 0)
    assert tiny_run.weights_of(tmp_path, 0) == whole


def test_transformer_and_lstm_teach_each_other(data_dir, tmp_path):
    steps = {"NUM_TRAIN_STEPS": STEPS}
    students = [bindings(**steps), tiny_run.bindings(**steps)]

    tiny_run.train_apart(data_dir, tmp_path, students)

    for student, family in enumerate(("transformer", None)):
        last = tiny_run.reports_of(tmp_path, student, "train")[-1]
        assert [teacher["peer"] for teacher in last["teachers"]] == [1 - student]
        assert last["distillation_loss"] > 0.0
        assert last["refused_exports"] == {}
        first, *_, end = tiny_run.reports_of(tmp_path, student, "validation")
        assert end["cross_entropy"] < first["cross_entropy"]
        exports = tmp_path.glob(f"students/{student}/exports/export-*/manifest.json")
        for path in exports:
            assert json.loads(path.read_text()).get("model_family") == family


def test_score_does_not_depend_on_the_windows_that_are_read(
    finish, undisturbed, data_dir
):
    scores = []
    for window in (5, 64):  # Shorter and longer than the memory.
        out = finish(
            *("evaluate", "--data_dir", data_dir, "--json"),
            *("--export", undisturbed / "students/0"),
            *("--lanes", 2, "--window", window, "--tokens", 400),
        )
        (result,) = json.loads(out)["results"]
        scores.append(result["cross_entropy"])

    assert scores[0] == pytest.approx(scores[1], rel=1e-5)


def test_text_is_generated(finish, undisturbed):
    student = undisturbed / "students/0"

    text = finish("generate", "--export", student, "--prompt", "A class", "--tokens", 5)

    assert text.startswith("A class")


def test_dry_run_counts_weights_caches_and_activations(finish, data_dir, tmp_path):
    out = finish(
        *("train", "--data_dir", data_dir, "--run_dir", tmp_path / "run", "--json"),
        *("--students", 2, "--workers_per_student", 2, "--dry_run"),
        *("--gin_file", "models/transformer_124m", "--gin.NUM_TRAIN_STEPS=200"),
        *("--gin.GLOBAL_BATCH_SIZE=8", "--gin.WINDOW=1024", "--gin.OPTIMIZER=sgd"),
        "--gin.MICRO_BATCHES=2",
    )

    summary = json.loads(out)["students"][0]
    assert summary["weights"] == 768 * (400 + 12 * (4 * 768 + 3 * 2048 + 2) + 1)
    # Per stream 12 layers x 2 x 1,024 tokens x 768 numbers; a student and a teacher.
    assert summary["carried_mb_per_process"] == 4 * 2 * 72
    # Of a pass over 2 streams: per layer and token 8 x 768, 12 x 2,048 and 5 x 2,048
    # numbers, and keys and values of 2,048 tokens.
    per_layer = 2 * (1024 * (8 * 768 + 12 * 2048 + 5 * 2048) + 2 * 2048 * 768)
    assert summary["activation_mb_per_process"] == round(12 * 4 * per_layer / 2**20)
