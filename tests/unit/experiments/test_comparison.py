"""Arms, numbers and sentences of a comparison, computed by hand."""

import dataclasses
import math

import pytest

from lmcodistill import errors
from lmcodistill.experiments import arms, curves, results

BASE = arms.Base(global_batch_size=32, num_train_steps=600)
KNOWN = arms.standard(BASE)


def reports_of(*values, seconds=2.0):
    """Returns reports every 10 steps with these validation cross entropies."""
    found = []
    for i, value in enumerate(values, 1):
        found.append({"kind": "train", "step": 10 * i, "seconds": seconds})
        found.append({"kind": "validation", "step": 10 * i, "cross_entropy": value})
    return found


def trial(*values, processes=1, prior_steps=0):
    points = curves.curve(reports_of(*values), tokens_per_step=100, processes=processes)
    return results.Trial(values[-1], points, 1.0, 5.0, prior_steps, 0.0)


def compared(arm="codistilled", trials=(), baseline=()):
    return results.compare(KNOWN[arm], trials, baseline)


def test_a_student_is_trained_after_its_teachers():
    chosen = arms.chosen(["two_phase"], KNOWN)

    runs = [arm.name for arm in arms.needed_runs(chosen, KNOWN)]

    assert runs == ["baseline", "independent", "two_phase"]


def test_an_ensemble_shares_the_run_of_its_members():
    chosen = arms.chosen(["ensemble", "independent"], KNOWN)

    runs = [arm.name for arm in arms.needed_runs(chosen, KNOWN)]

    assert runs == ["baseline", "independent"]


def test_a_generation_is_trained_after_all_before_it():
    chosen = arms.chosen(["chain"], KNOWN)

    runs = [arm.name for arm in arms.needed_runs(chosen, KNOWN)]

    assert runs == ["baseline", "pooled", "chain_1", "chain"]


def test_chain_is_as_long_as_asked_for():
    known = arms.standard(dataclasses.replace(BASE, generations=4))

    teachers, name = [], "chain"
    while name := known[name].taught_by:
        teachers.append(name)

    assert teachers == ["chain_3", "chain_2", "chain_1", "pooled"]
    generations = [known[name] for name in ["chain", *teachers]]
    assert len({arm.seed_offset for arm in generations}) == 5


def test_rivals_read_the_text_of_all_students():
    three = arms.standard(dataclasses.replace(BASE, students=3))

    assert {
        arm.name
        for arm in three.values()
        if ("POOLED_PARTITIONS", "3") in three[arm.run].bindings
    } == {
        *("pooled", "pooled_double_batch", "pooled_ema", "pooled_independent"),
        *("pooled_ensemble", "codistilled_same_text", "pooled_two_phase"),
        *("chain_1", "chain"),
    }


def test_no_run_of_the_standard_arms_is_trained_under_two_names():
    trained = arms.needed_runs(list(KNOWN.values()), KNOWN)

    assert len(
        {
            (a.students, frozenset(a.bindings), a.taught_by, a.seed_offset)
            for a in trained
        }
    ) == len(trained)


def test_twice_the_batch_changes_the_batch_and_nothing_else():
    settings = dict(KNOWN["double_batch"].bindings)

    assert settings == {"Distillation.targets": "'none'", "GLOBAL_BATCH_SIZE": "64"}


def test_a_variant_adds_settings_to_an_arm():
    arm = arms.variant("gentle=codistilled DISTILLATION_WEIGHT=0.3", KNOWN)

    assert arm.students == 2
    assert dict(arm.bindings)["DISTILLATION_WEIGHT"] == "0.3"


@pytest.mark.parametrize("knob", ["SEED", "Batches.order_seed"])
def test_a_variant_may_not_have_seeds_of_its_own(knob):
    with pytest.raises(errors.UsageError, match=f"{knob} is compare's to set"):
        arms.variant(f"other=codistilled {knob}=5", KNOWN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gentle",
        "gentle=nothing A=1",
        "baseline=codistilled A=1",
        "gentle=codistilled",
        "gentle=codistilled A",
        "../x=codistilled A=1",
    ],
)
def test_a_variant_that_is_none_is_refused(text):
    with pytest.raises(errors.UsageError):
        arms.variant(text or "=", KNOWN)


def test_a_name_that_is_no_arm_is_refused_with_those_that_are():
    with pytest.raises(errors.UsageError, match="codistilled_same_data"):
        arms.chosen(["codistiled"], KNOWN)


def test_interval_of_three_values_is_students():
    found = results.mean_interval([1.0, 2.0, 3.0])

    half = 4.303 / math.sqrt(3)
    assert found.mean == 2.0
    assert found.high == pytest.approx(2.0 + half)
    assert found.low == pytest.approx(2.0 - half)
    assert not found.excludes_zero


def test_one_value_says_nothing_of_chance():
    found = results.mean_interval([-5.0])

    assert not found.excludes_zero


def test_curve_adds_up_seconds_and_counts_every_process():
    points = curves.curve(reports_of(5.0, 4.0), tokens_per_step=100, processes=4)

    assert points[-1] == curves.Point(20, 2_000, 4.0, 16.0, 4.0)


def test_time_between_two_reports_of_training_is_shared_out():
    found = [
        {"kind": "train", "step": 40, "seconds": 8.0},
        {"kind": "validation", "step": 10, "cross_entropy": 5.0},
    ]

    (point,) = curves.curve(found, tokens_per_step=1, processes=1)

    assert point.seconds == 2.0


def test_steps_to_the_baselines_best_are_counted_with_the_teachers_own():
    baseline = [trial(5.0, 4.0, 3.5, 3.6)]

    found = compared("two_phase", [trial(4.0, 3.4, prior_steps=40)], baseline)

    assert found.steps_to_target == 20 + 40
    assert found.step_ratio == pytest.approx(30 / 60)
    assert found.device_ratio is None


def test_an_arm_that_never_comes_down_has_no_steps():
    baseline = [trial(5.0, 4.0), trial(5.0, 4.0)]

    found = compared(trials=[trial(5.0, 3.0), trial(5.0, 4.1)], baseline=baseline)

    assert found.steps_to_target is None
    assert found.step_ratio is None


def test_device_seconds_count_every_group():
    baseline = [trial(5.0, 4.0)]

    found = compared(trials=[trial(4.0, 3.0, processes=2)], baseline=baseline)

    assert found.step_ratio == 2.0
    assert found.device_ratio == 1.0


def test_band_is_lowest_and_highest_of_the_seeds():
    by_seed = [trial(5.0, 4.0).points, trial(6.0, 3.0).points]

    assert curves.band(by_seed, "step") == [
        (10, 5.5, 5.0, 6.0),
        (20, 3.5, 3.0, 4.0),
    ]


def same(value, spread=0.0):
    return [trial(5.0, value + d) for d in (-spread, 0.0, spread)]


@pytest.mark.parametrize(
    ("value", "spread", "words"),
    [
        (3.9, 0.001, "better than the baseline"),
        (4.1, 0.001, "worse than the baseline"),
        (3.9, 0.2, "no difference that these seeds can show"),
        (3.999, 0.0, "no difference that matters"),
    ],
)
def test_conclusion_follows_from_the_interval(value, spread, words):
    found = compared(trials=same(value, spread), baseline=same(4.0))

    assert words in results.conclusion(found)


def test_conclusion_of_one_seed_asks_for_more():
    found = compared(trials=[trial(3.0)], baseline=[trial(4.0)])

    assert "give more --seeds" in results.conclusion(found)


def test_every_row_of_the_table_has_every_column():
    arm_results = [
        compared("baseline", same(4.0), same(4.0)),
        compared(trials=same(3.9), baseline=same(4.0)),
    ]

    assert [len(r.row) for r in arm_results] == [len(results.HEAD)] * 2
    difference = arm_results[1].to_json()["difference"]
    assert difference["mean"] == pytest.approx(-0.1)


def test_curves_are_drawn_from_where_arms_differ_by_hundredths():
    rows = curves.band([trial(*range(8, 0, -1)).points], "step")

    drawn = curves.without_first_quarter(rows)

    assert [row[0] for row in drawn] == [30, 40, 50, 60, 70, 80]
    assert curves.without_first_quarter(rows[:1]) == rows[:1]
