"""Every arm against the reference, computed by hand."""

import dataclasses
import json

import numpy as np
import pytest

from lmcodistill.experiments import results, runs
from lmcodistill.storage import files


def test_steps_to_the_references_best_are_read_between_reports(compared, trial):
    found = compared(
        baseline=[trial(5.0, 4.0, 3.5, 3.6)], codistilled=[trial(4.0, 3.0)]
    )["codistilled"].to_target

    assert found.steps.mean == pytest.approx(15.0)  # From 4.0 to 3.0: 3.5 is half way.
    assert found.tokens.mean == pytest.approx(1_500.0)
    assert found.fewer_steps.mean == pytest.approx(30 / 15)


def test_what_teachers_took_before_counts(compared, trial):
    spent = results.Spent(steps=40, tokens=4_000, device_seconds=16.0)

    found = compared(
        baseline=[trial(5.0, 4.0, 3.5, 3.6)],
        two_phase=[trial(4.0, 3.5, prior=spent)],
    )["two_phase"].to_target

    assert found.steps.mean == 20 + 40
    assert found.tokens.mean == 2_000 + 4_000
    assert found.device_seconds.mean == 4.0 + 16.0
    assert found.fewer_steps.mean == pytest.approx(30 / 60)
    assert found.fewer_device_seconds.mean == pytest.approx(6.0 / 20.0)


def test_an_arm_that_stays_above_is_compared_at_its_own_best(compared, trial):
    found = compared(
        baseline=[trial(5.0, 4.0), trial(5.0, 4.0)],
        codistilled=[trial(5.0, 3.0), trial(6.0, 5.0)],
    )["codistilled"].to_target

    assert found.num_reached == 1
    assert found[1:4] == (None, None, None)
    # 20 to 15 steps to 4.0, and 10 to 20 steps to 5.0.
    assert found.fewer_steps.mean == pytest.approx((20 / 15 * 10 / 20) ** 0.5)


def test_device_seconds_count_every_group(compared, trial):
    found = compared(
        baseline=[trial(5.0, 4.0)], codistilled=[trial(4.0, 3.0, processes=2)]
    )["codistilled"].to_target

    assert found.fewer_steps.mean == 2.0
    assert found.fewer_device_seconds.mean == 1.0


def test_every_seed_has_its_own_target_and_the_interval_is_over_seeds(compared, trial):
    found = compared(
        baseline=[trial(5.0, 4.0), trial(6.0, 5.0)],
        codistilled=[trial(4.0, 3.0), trial(6.0, 5.0)],
    )["codistilled"].to_target

    assert found.num_reached == 2
    assert found.steps[:1] == (15.0,)
    assert found.steps.low < 10.0
    assert found.steps.high > 20.0
    assert found.fewer_steps.mean == pytest.approx(2.0**0.5)


def test_an_ensemble_has_no_steps(compared, trial):
    no_curve = dataclasses.replace(trial(3.0), points=[])

    found = compared(baseline=[trial(4.0)], ensemble=[no_curve])["ensemble"]

    assert found.to_target is None


def test_noise_does_not_make_an_equal_arm_faster(compared, trial):
    # Two arms with one curve, which falls and rises again, and noise of their own.
    rng = np.random.default_rng(0)
    steps = np.arange(60)
    true = 3.0 + np.exp(-steps / 8.0) + 0.003 * steps
    logs = []
    for _ in range(1_000):
        own, plain = true + rng.normal(0.0, 0.01, size=(2, 60))
        reached = compared(
            baseline=[trial(*map(float, plain))], codistilled=[trial(*map(float, own))]
        )["codistilled"].to_target
        logs.append(np.log(reached.fewer_steps.mean))

    # Of the seeds that come down alone, the mean would be 0.09.
    assert abs(np.mean(logs)) < 3.0 * np.std(logs) / len(logs) ** 0.5
    assert np.std(logs) < 0.15  # Of single reports, 0.19.


def test_any_arm_can_be_the_reference_and_comes_first(compared, around, known):
    trials = {
        known["baseline"]: around(4.0),
        known["codistilled"]: around(3.9),
        known["codistilled_same_data"]: around(3.95),
    }

    first, second, third = results.compare(trials, "codistilled_same_data")

    assert first.arm.name == "codistilled_same_data"
    assert second.difference.mean == pytest.approx(0.05)
    assert third.difference.mean == pytest.approx(-0.05)
    assert [r.is_reference for r in (first, second, third)] == [True, False, False]


def test_pairs_are_taken_by_seed(compared, trial):
    seeds = (3.0, 4.0, 5.0)

    found = compared(
        baseline=[trial(v) for v in seeds],
        codistilled=[trial(v - 0.1) for v in seeds],
    )["codistilled"]

    assert found.difference.high == pytest.approx(-0.1)
    assert found.p == pytest.approx(0.0, abs=1e-9)


def test_p_of_two_arms_are_corrected_for_both(compared, around):
    found = compared(
        baseline=around(4.0),
        codistilled=around(3.9, 0.03),
        two_phase=around(3.98, 0.03),
    )

    assert found["codistilled"].p_holm == pytest.approx(2 * found["codistilled"].p)
    assert found["two_phase"].p_holm == found["two_phase"].p


def test_share_kept_is_a_ratio_of_mean_gains(compared, trial):
    found = compared(
        baseline=[trial(v) for v in (4.0, 4.1, 4.2)],
        ensemble=[trial(v) for v in (3.8, 3.9, 4.0)],
        codistilled=[trial(v) for v in (3.9, 4.02, 4.12)],
    )

    kept = found["codistilled"].share_kept
    assert kept.mean == pytest.approx((0.1 + 0.08 + 0.08) / 0.6)
    assert kept.low < kept.mean < kept.high
    assert found["ensemble"].share_kept is None
    assert found["baseline"].share_kept is None


def test_an_ensemble_that_gains_nothing_has_nothing_to_share(compared, around):
    found = compared(
        baseline=around(4.0), ensemble=around(4.1), codistilled=around(3.9)
    )

    assert found["codistilled"].share_kept is None


def test_json_has_what_the_tables_have(compared, around):
    found = compared(baseline=around(4.0), codistilled=around(3.9, first=4.5))

    values = found["codistilled"].to_json()
    assert values["difference"]["mean"] == pytest.approx(-0.1)
    assert values["to_target"]["steps"]["mean"] == pytest.approx(10 + 10 * 0.5 / 0.6)
    assert values["share_kept"] is None
    assert len(values["trials"][0]["curve"]) == 2
    files.to_json(values)


@pytest.fixture
def chain(tmp_path, known):
    """Returns outcomes of a run, of one it taught, and of one that this one taught."""
    plan = runs.ComparisonSettings(tmp_path, tmp_path, (), (), 1, 4, 8)
    teacher = known["independent"]
    pupil = known["two_phase"]
    grandchild = dataclasses.replace(pupil, name="again", taught_by="two_phase")
    made = {}
    for arm, steps in ((teacher, 10), (pupil, 20), (grandchild, 40)):
        run = runs.ArmRun(plan, arm, 0)
        reports = [
            {"kind": "train", "step": steps, "seconds": float(steps)},
            {"kind": "validation", "step": steps, "cross_entropy": 4.0},
        ]
        run.student(0).metrics.parent.mkdir(parents=True)
        run.student(0).metrics.write_text("\n".join(map(json.dumps, reports)) + "\n")
        student = {"cross_entropy": 4.0}
        made[run] = runs.RunOutcome([], 1.0, 100.0 + steps, [student], student)
    return made


def test_a_chain_of_teachers_is_counted_to_its_beginning(chain):
    arms_of = {run.arm.name: run.arm for run in chain}
    tokens = dict.fromkeys(arms_of, 5)

    found = results.read([arms_of["again"], arms_of["two_phase"]], chain, tokens)

    # Two independent students of 10 steps, then 20 steps of one.
    (trial,) = found[arms_of["again"]]
    assert trial.prior == results.Spent(10 + 20, 150, 2 * 10.0 + 20.0)
    assert trial.cpu_seconds == 110.0 + 120.0 + 140.0
    (trial,) = found[arms_of["two_phase"]]
    assert trial.prior == results.Spent(10, 50, 20.0)
