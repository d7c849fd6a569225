"""The arms of a comparison, and the runs that they need."""

import dataclasses

import pytest

from lmcodistill import errors
from lmcodistill.experiments import arms

BASE = arms.Base(global_batch_size=32, num_train_steps=600)
KNOWN = arms.standard(BASE)


def test_a_student_is_trained_after_its_teachers():
    chosen = arms.chosen(["two_phase"], "baseline", KNOWN)

    runs = [arm.name for arm in arms.needed_runs(chosen, KNOWN)]

    assert runs == ["baseline", "independent", "two_phase"]


def test_an_ensemble_shares_the_run_of_its_members():
    chosen = arms.chosen(["ensemble", "independent"], "baseline", KNOWN)

    runs = [arm.name for arm in arms.needed_runs(chosen, KNOWN)]

    assert runs == ["baseline", "independent"]


def test_a_generation_is_trained_after_all_before_it():
    chosen = arms.chosen(["chain"], "pooled", KNOWN)

    runs = [arm.name for arm in arms.needed_runs(chosen, KNOWN)]

    assert runs == ["pooled", "chain_1", "chain"]


@pytest.mark.parametrize(
    ("reference", "names"),
    [
        ("pooled", ["ema", "pooled"]),
        ("baseline", ["baseline", "ema"]),
        ("pooled_ensemble", ["baseline", "ema", "pooled_ensemble"]),
    ],
)
def test_the_baseline_is_trained_where_something_is_compared_with_it(reference, names):
    chosen = arms.chosen(["ema"], reference, KNOWN)

    assert sorted(arm.name for arm in chosen) == names


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
            (a.students, frozenset(a.bindings), a.flags, a.taught_by, a.seed_offset)
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
        arms.variant(text, KNOWN)


def test_a_name_that_is_no_arm_is_refused_with_those_that_are():
    with pytest.raises(errors.UsageError, match="codistilled_same_data"):
        arms.chosen(["codistiled"], "baseline", KNOWN)
