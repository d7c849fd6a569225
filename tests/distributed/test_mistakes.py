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


def offline(data_dir, run_dir, export) -> list[object]:
    """Returns the command line of a run that an export teaches, from step 6 on."""
    return tiny_run.train_arguments(
        data_dir,
        run_dir,
        students=1,
        TARGETS="offline",
        OFFLINE_EXPORTS=f"('{export}',)",
        BURN_IN_STEPS=6,
    )


@pytest.fixture
def teacher(finished, tmp_path):
    """The newest export of a copy of the finished run."""
    shutil.copytree(finished / "students/0/exports", tmp_path / "exports")
    return max((tmp_path / "exports").glob("export-*"))


def of_another_vocabulary(teacher, data_dir, other_data_dir):
    return other_data_dir, "Their token ids mean different pieces"


def damaged(teacher, data_dir, other_data_dir):
    (data,) = teacher.glob("saved_model/variables/*.data*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    return data_dir, "has SHA-256"


def that_knows_nothing(teacher, data_dir, other_data_dir):
    return data_dir, "nats per token on the probe batch"


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("spoil", [of_another_vocabulary, damaged, that_knows_nothing])
def test_an_offline_teacher_that_cannot_teach_is_refused_before_the_first_step(
    start, data_dir, other_data_dir, teacher, tmp_path, spoil, dry_run
):
    data, says = spoil(teacher, data_dir, other_data_dir)
    bound = ["--gin.Exchange.max_teacher_cross_entropy=0.1"]
    process = start(
        *offline(data, tmp_path / "run", teacher),
        *(bound if spoil is that_knows_nothing else []),
        *(["--dry_run"] if dry_run else []),
    )

    code, err = refusal(process)

    assert code == 4
    assert says in err
    assert tiny_run.reports_of(tmp_path / "run", 0, "train") == []


def test_a_dry_run_tries_a_good_offline_teacher(start, data_dir, teacher, tmp_path):
    process = start(*offline(data_dir, tmp_path / "run", teacher), "--dry_run")

    out, err = process.communicate(timeout=120)

    assert process.returncode == 0, err
    assert "Everything that can be checked without training is in order." in out


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
