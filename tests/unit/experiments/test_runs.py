"""The processes of a comparison: each on the cores that it was given."""

import os
import pathlib
import threading

import pytest

from lmcodistill.experiments import arms, processes, runs
from lmcodistill.settings import training
from lmcodistill.training import job

SHOW_CORES = "import os; print(*sorted(os.sched_getaffinity(0)), os.getpid())"


KNOWN = arms.standard(arms.Base(global_batch_size=32, num_train_steps=600))


def seeds_of(arm, seed):
    """Returns the two seeds of a run where the user gave 7 and 30."""
    settings = runs.ComparisonSettings(
        *(pathlib.Path("out"), pathlib.Path("data"), (), ("SEED=7",), 1, 8, 32),
        seed=7,
        order_seed=30,
    )
    bindings = runs.ArmRun(settings, KNOWN[arm], seed).bindings
    found = dict(b.split("=", 1) for b in bindings)
    return int(found["Training.seed"]), int(found["Batches.order_seed"])


@pytest.mark.parametrize("arm", ["baseline", "codistilled", "two_phase"])
def test_repetitions_have_other_weights_and_another_order_from_the_users_seeds_on(arm):
    assert [seeds_of(arm, seed) for seed in (0, 2)] == [(7, 30), (2_007, 2_030)]


def test_teachers_share_first_weights_with_no_pupil_and_have_its_order():
    teachers, pupil = seeds_of("independent", 1), seeds_of("two_phase", 1)

    assert teachers[0] == pupil[0] + 100
    assert teachers[1] == pupil[1]


@pytest.mark.parametrize("name", KNOWN)
def test_run_of_every_arm_can_be_configured(name, tmp_path):
    settings = runs.ComparisonSettings(
        tmp_path, pathlib.Path("data"), (), ("NUM_TRAIN_STEPS=600",), 1, 8, 32
    )

    run = runs.ArmRun(settings, KNOWN[KNOWN[name].run], 1)

    assert job.load([], run.bindings).get(training.Batches).order_seed == 1_000


def test_only_the_asynchronous_arm_trains_by_another_strategy(tmp_path):
    settings = runs.ComparisonSettings(
        tmp_path, pathlib.Path("data"), (), ("NUM_TRAIN_STEPS=600",), 2, 8, 32
    )

    by_another = [
        name
        for name, arm in KNOWN.items()
        if "--strategy" in runs.ArmRun(settings, KNOWN[arm.run], 0)._train_command
    ]

    assert by_another == ["asynchronous"]


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "show_cores.py").write_text(SHOW_CORES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "show_cores"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_runs_side_by_side_keep_to_their_cores_and_leave_ours_alone(tmp_path, module):
    ours = os.sched_getaffinity(0)
    cores = [{core} for core in sorted(ours)[:2]]
    printed = {}

    def start(number):
        log = tmp_path / f"{number}.log"
        code, seconds, output = processes.call([module], log, cores[number % 2])
        assert (code, log.read_text()) == (0, "")
        assert seconds > 0.0
        printed[number] = output.split()[0]

    threads = [threading.Thread(target=start, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert printed == {n: str(*cores[n % 2]) for n in range(6)}
    assert os.sched_getaffinity(0) == ours
