"""Which run of a comparison starts next."""

import pathlib

import pytest

from lmcodistill.experiments import arms, runs, schedule

KNOWN = arms.standard(arms.Base(global_batch_size=32, num_train_steps=600))


@pytest.fixture
def plan(tmp_path):
    return runs.ComparisonSettings(
        tmp_path, pathlib.Path("data"), ("tiny",), (), 1, 8, 32
    )


def test_a_run_starts_when_there_is_room_for_all_its_processes(plan):
    codistilled = runs.ArmRun(plan, KNOWN["codistilled"], 0)
    baseline = runs.ArmRun(plan, KNOWN["baseline"], 0)

    assert schedule.startable([codistilled, baseline], [], 2) is codistilled
    assert schedule.startable([codistilled, baseline], [], 1) is baseline
    assert schedule.startable([codistilled], [baseline], 1) is None
    assert schedule.startable([], [baseline], 1) is None


def test_a_student_waits_for_its_own_teachers_only(plan):
    teachers = [runs.ArmRun(plan, KNOWN["independent"], seed) for seed in (0, 1)]
    students = [runs.ArmRun(plan, KNOWN["two_phase"], seed) for seed in (0, 1)]

    assert schedule.startable(students, teachers, 8) is None
    assert schedule.startable(students, teachers[:1], 8) is students[1]
    assert schedule.startable([students[0], teachers[0]], [], 8) is teachers[0]


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_every_process_has_as_many_cores_and_shares_them_with_none_if_it_can(
    monkeypatch, count
):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {2, 3, 5, 7, 8, 9, 12, 13})

    sets = schedule.core_sets(count)

    assert len(sets) == count
    assert {len(cores) for cores in sets} == {max(1, 8 // count)}
    if count <= 8:
        assert sum(map(len, sets)) == len(set.union(*sets))
