"""`lmcodistill check` as people run it: every shard, and the real first updates."""

import json
import math
import shutil

import numpy as np
import pytest

from tests.support import small_data, tiny_run


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Partitions of 3,000 and of 2,900 tokens of 12 pieces."""
    ids = np.random.default_rng(0).integers(3, small_data.VOCAB_SIZE, 3_000)
    ids[99::100] = small_data.END
    folder = tmp_path_factory.mktemp("check") / "DATA"
    return small_data.write(folder, [[ids], [ids[100:]]], [ids[:900]])


@pytest.fixture
def check(lmcodistill, data_dir, tmp_path):
    """Checks a tiny run with changes."""

    def run(*arguments, data_dir=data_dir, environment=(), **changes):
        command = tiny_run.train_arguments(data_dir, tmp_path / "RUN", **changes)
        command = ["check", *map(str, command[1:]), *arguments]
        return lmcodistill(*command, **dict(environment))

    return run


def test_sound_run_is_tried_and_nothing_is_left_of_it(check, tmp_path):
    done = check("--json")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # New weights are small: every one of 12 pieces is about as likely.
    assert found["trial"]["cross_entropy"] == pytest.approx(math.log(12), rel=0.1)
    assert found["trial"]["streams"] == 4
    assert found["trial"]["step_seconds"] > 0.0
    assert found["trial"]["taught_step_seconds"] > 0.0
    # Of 8 updates, 6 are after burn-in; the looks at 2, 4 and 6 find exports of the
    # same steps, because a scheduled exchange waits for them.
    assert found["forecast"]["taught_steps"] == 6
    assert found["forecast"]["teacher_updates"] == 3
    assert found["shard_bytes"] == 2 * (3_000 + 2_900 + 900)
    assert not (tmp_path / "RUN").exists()


def test_words_say_what_the_figures_rest_on(check):
    done = check("--workers_per_student=2")

    assert done.returncode == 0, done.stderr
    assert "2 streams of one worker" in done.stdout
    assert "3 of each student, if all keep one pace" in done.stdout
    assert done.stdout.endswith("before a run is in order.\n")


def test_fault_in_the_middle_of_a_shard_is_found(check, data_dir, tmp_path):
    folder = shutil.copytree(data_dir, tmp_path / "DATA")
    [shard] = (folder / "validation").glob("*.tokens")
    content = bytearray(shard.read_bytes())
    content[900] ^= 1
    shard.write_bytes(content)

    done = check(data_dir=folder)

    assert done.returncode == 3
    assert "validation/shard-00000.tokens: SHA-256" in done.stderr


def test_first_update_that_is_not_finite_is_refused(check):
    done = check(LanguageModel__init_scale=1e38)

    assert done.returncode == 5
    assert "The very first update is not finite" in done.stderr
    assert "Traceback" not in done.stderr


def test_worker_is_checked_without_the_others_of_its_cluster(check):
    cluster = {"worker": ["127.0.0.1:0"]}
    tf_config = {"cluster": cluster, "task": {"type": "worker", "index": 0}}
    environment = {"TF_CONFIG": json.dumps(tf_config)}

    done = check("--student=1", environment=environment)

    assert done.returncode == 0, done.stderr
    assert "4 streams of one worker" in done.stdout
