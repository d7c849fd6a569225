"""Every soft target, loss, topology and optimizer, with real exports of peers."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.distributed import variants_worker
from tests.support import tiny_run

pytestmark = pytest.mark.distributed
WORKER = pathlib.Path(variants_worker.__file__)


@pytest.fixture(scope="module")
def results(finish, data_dir, tmp_path_factory):
    """What `variants_worker.py` prints, beside the exports of three students."""
    run_dir = tmp_path_factory.mktemp("three")
    finish(
        *tiny_run.train_arguments(
            data_dir, run_dir, students=3, SAME_DATA=True, TOPOLOGY="rotate"
        )
    )
    common = tiny_run.bindings(SAME_DATA=True, Exchange__deadline_seconds=5.0)
    config = {
        "cluster": {"worker": ["127.0.0.1:0"]},
        "task": {"type": "worker", "index": 0},
    }
    done = subprocess.run(
        [
            *(sys.executable, str(WORKER), str(data_dir), str(run_dir)),
            *(binding.removeprefix("--gin.") for binding in common),
        ],
        env=tiny_run.environment(TF_CONFIG=json.dumps(config)),
        capture_output=True,
        text=True,
        timeout=400,
        cwd=os.path.dirname(data_dir),
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", variants_worker.VARIANTS)
def test_variant_trains(results, name):
    losses = [step["label_loss"] for step in results[name]["steps"]]

    # From new weights: near ln(400) = 5.99, and lower after two updates.
    assert losses[0] == pytest.approx(5.99, abs=0.2)
    if name != "dropout":  # Whose masks differ from step to step.
        assert losses[-1] < losses[0]


def test_dropout_changes_what_a_step_sees(results):
    dropped = results["dropout"]["steps"][0]["label_loss"]

    assert dropped != results["cross_entropy"]["steps"][0]["label_loss"]


def test_without_targets_nothing_is_distilled(results):
    assert all(step["soft_loss"] == 0.0 for step in results["none"]["steps"])


@pytest.mark.parametrize("name", ["uniform", "unigram", "offline", "kl", "logit_mse"])
def test_with_targets_something_is_distilled(results, name):
    assert all(step["soft_loss"] > 0.0 for step in results[name]["steps"])


def test_automatic_weight_is_measured_and_stays_within_its_limit(results):
    weights = [step["weight"] for step in results["auto"]["steps"]]

    # Teachers that have learnt for a few steps are right against a new student.
    assert all(0.1 < weight <= 1.0 for weight in weights)
    assert results["cross_entropy"]["steps"][0]["weight"] == 1.0


def test_cross_entropy_exceeds_kl_by_the_targets_entropy(results):
    cross_entropy = results["cross_entropy"]["steps"][0]["soft_loss"]
    kl = results["kl"]["steps"][0]["soft_loss"]

    # Teachers a few steps old are still nearly uniform over 400 pieces.
    assert 0.0 < kl < 1.0
    assert 4.0 < cross_entropy - kl < 6.0


def test_kl_and_cross_entropy_make_the_same_updates(results):
    one = [step["label_loss"] for step in results["cross_entropy"]["steps"]]
    other = [step["label_loss"] for step in results["kl"]["steps"]]

    assert one == pytest.approx(other, rel=1e-6)


def test_xla_makes_the_same_updates(results):
    one = [step["label_loss"] for step in results["cross_entropy"]["steps"]]
    other = [step["label_loss"] for step in results["xla"]["steps"]]

    assert one == pytest.approx(other, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "peers"), [("cross_entropy", [1, 2]), ("ring", [1]), ("offline", [0, 1])]
)
def test_topology_decides_who_teaches(results, name, peers):
    assert [peer for peer, _ in results[name]["teachers"]] == peers


def test_rotation_takes_the_other_peer_at_the_next_reload(results):
    # Reloads at steps 6 and 8, one every 2: (6 / 2) % 2 = 1, then 0.
    assert [peer for peer, _ in results["rotate"]["teachers"]] == [1]
    assert results["rotate"]["traces"] == 1


@pytest.mark.parametrize("name", ["cross_entropy", "ring", "reset", "xla"])
def test_swapping_teachers_does_not_trace_again(results, name):
    assert results[name]["traces"] == 1
