"""The arms of a comparison, and the runs that they need."""

import pytest

from lmcodistill import errors
from lmcodistill.experiments import arms

BASE = arms.Base(global_batch_size=32, num_train_steps=600)
KNOWN = arms.standard(BASE)


def test_a_student_is_trained_after_its_teachers():
    chosen = arms.chosen(["two_phase"], KNOWN)

    runs = [arm.name for arm in arms.needed_runs(chosen, KNOWN)]

    assert runs == ["baseline", "independent", "two_phase"]


def test_an_ensemble_shares_the_run_of_its_members():
    chosen = arms.chosen(["ensemble", "independent"], KNOWN)

    runs = [arm.name for arm in arms.needed_runs(chosen, KNOWN)]

    assert runs == ["baseline", "independent"]


def test_twice_the_batch_changes_the_batch_and_nothing_else():
    settings = dict(KNOWN["double_batch"].bindings)

    assert settings == {"Distillation.targets": "'none'", "GLOBAL_BATCH_SIZE": "64"}


def test_a_variant_adds_settings_to_an_arm():
    arm = arms.variant("gentle=codistilled DISTILLATION_WEIGHT=0.3", KNOWN)

    assert arm.students == 2
    assert dict(arm.bindings)["DISTILLATION_WEIGHT"] == "0.3"


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
