"""The mistakes that people make with runs: each its message and its exit code."""

import json
import shutil

import pytest

from tests.support import tiny_run

pytestmark = pytest.mark.distributed


@pytest.fixture(scope="module")
def finished(finish, data_dir, tmp_path_factory):
    """A finished run of one student."""
    folder = tmp_path_factory.mktemp("finished")
    finish(*tiny_run.train_arguments(data_dir, folder, students=1, TARGETS="none"))
    return folder


@pytest.fixture(scope="module")
def other_data_dir(finish, data_dir, tmp_path_factory):
    """The same text with another vocabulary."""
    folder = tmp_path_factory.mktemp("other") / "shards"
    finish(
        *("prep", "--gin_file", "prep/quickstart", "--output_dir", folder),
        *("--input", data_dir.parent / "topics.jsonl", "--gin.VOCAB_SIZE=350"),
        *("--gin.VALIDATION_FRACTION=0.1", "--num_workers", "1"),
    )
    return folder


def refusal(process) -> tuple[int, str]:
    """Returns the exit code and what was said; never a traceback."""
    _, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    return process.returncode, err


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"VOCAB_SIZE": 999}, 2, "VOCAB_SIZE = 999, but the vocabulary of"),
        ({"GLOBAL_BATCH_SIZE": 100_000}, 3, "a batch of 100000 streams"),
        ({"TARGETS": "peers"}, 2, "needs at least two students and --students=1"),
        ({"GLOBAL_BATCH_SIZE": 5}, 2, "cannot be shared by --workers_per_student=2"),
        ({"NUM_TRAIN_STEP": 5}, 2, "did you mean NUM_TRAIN_STEPS?"),
        ({"LEARNING_RATE": "fast"}, 2, "--gin.LEARNING_RATE"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(
    start, data_dir, tmp_path, changes, code, says
):
    changes = {"TARGETS": "none", **changes}
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path / "run", students=1, **changes),
        *("--workers_per_student", 2 if changes.get("GLOBAL_BATCH_SIZE") == 5 else 1),
        "--dry_run",
    )

    exit_code, err = refusal(process)

    assert exit_code == code
    assert says in err
    assert not (tmp_path / "run").exists()


def test_a_folder_without_data_is_refused(start, tmp_path):
    code, err = refusal(
        start(*tiny_run.train_arguments(tmp_path / "nothing", tmp_path / "run"))
    )

    assert code == 3
    assert "has no manifest.json" in err
    assert "lmcodistill prep --input" in err


def test_a_student_without_a_partition_is_refused(start, data_dir, tmp_path):
    code, err = refusal(
        start(*tiny_run.train_arguments(data_dir, tmp_path / "run", students=3))
    )

    assert code == 3
    assert "has 2 training partition(s), and number 2, counted from 0" in err


def test_going_on_with_another_vocabulary_is_refused(start, other_data_dir, finished):
    code, err = refusal(
        start(
            *tiny_run.train_arguments(
                other_data_dir, finished, students=1, TARGETS="none"
            )
        )
    )

    assert code == 3
    assert "the token ids mean other pieces" in err


def test_evaluating_on_another_vocabulary_is_refused(start, other_data_dir, finished):
    code, err = refusal(
        start(
            *("evaluate", "--data_dir", other_data_dir),
            *("--export", finished / "students/0"),
        )
    )

    assert code == 4
    assert "Their token ids mean different pieces" in err


def test_a_folder_without_an_export_is_refused(start, data_dir, tmp_path):
    code, err = refusal(start("evaluate", "--data_dir", data_dir, "--export", tmp_path))

    assert code == 4
    assert "holds no committed export" in err


def test_a_truncated_shard_is_named(start, data_dir, tmp_path):
    damaged = tmp_path / "data"
    shutil.copytree(data_dir, damaged)
    shard = next(damaged.glob("train-00000*/*.tokens"))
    shard.write_bytes(shard.read_bytes()[:-2])

    code, err = refusal(
        start(
            *tiny_run.train_arguments(
                damaged, tmp_path / "run", students=1, TARGETS="none"
            )
        )
    )

    assert code == 3
    assert str(shard) in err
    assert "truncated" in err


@pytest.mark.parametrize(
    ("tf_config", "says"),
    [
        ("{}", "has no object 'cluster'"),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
            "'ps'",
        ),
    ],
)
def test_an_odd_cluster_is_explained(start, data_dir, tmp_path, tf_config, says):
    code, err = refusal(
        start(
            *tiny_run.train_arguments(data_dir, tmp_path / "run"),
            *("--student", 0),
            TF_CONFIG=tf_config,
        )
    )

    assert code == 2
    assert says in err


def test_a_worker_must_know_its_student(start, data_dir, tmp_path):
    cluster = {"worker": ["127.0.0.1:1"]}
    code, err = refusal(
        start(
            *tiny_run.train_arguments(data_dir, tmp_path / "run"),
            TF_CONFIG=json.dumps(
                {"cluster": cluster, "task": {"type": "worker", "index": 0}}
            ),
        )
    )

    assert code == 2
    assert "Give --student=0 to --student=1" in err


def test_a_dry_run_under_tf_config_trains_nothing(start, data_dir, tmp_path):
    cluster = {"worker": ["127.0.0.1:0"]}
    process = start(
        *tiny_run.train_arguments(data_dir, tmp_path / "run"),
        *("--student", 0, "--dry_run"),
        TF_CONFIG=json.dumps(
            {"cluster": cluster, "task": {"type": "worker", "index": 0}}
        ),
    )

    out, err = process.communicate(timeout=120)

    assert process.returncode == 0, err
    assert "Everything that can be checked without training is in order." in out
    assert not (tmp_path / "run").exists()
