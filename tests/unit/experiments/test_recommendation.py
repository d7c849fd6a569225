"""Which single model is recommended, by hand; and the file that says so."""

import dataclasses

import pytest

from lmcodistill.config import shipped
from lmcodistill.experiments import recommendation, recommended_file, results
from lmcodistill.training import job


def listed(found):
    return list(found.values())


def test_best_at_equal_inference_cost_is_the_best_single_model(compared, around):
    found = compared(
        baseline=around(4.0),
        ensemble=around(3.5),
        codistilled=around(3.8, 0.001),
        two_phase=around(3.9, 0.001),
    )

    choice = recommendation.at_equal_inference_cost(listed(found))

    assert choice.arm.name == "codistilled"
    assert choice.difference.mean == pytest.approx(-0.2)
    assert "-0.2000 from baseline" in choice.reason


def test_what_is_not_shown_to_be_better_is_not_recommended(compared, around):
    found = compared(baseline=around(4.0), codistilled=around(3.9, 0.2))

    for choice in (
        recommendation.at_equal_inference_cost(listed(found)),
        recommendation.at_equal_device_seconds(listed(found), 2),
    ):
        assert choice.arm.name == "baseline"
        assert choice.difference is None
        assert "no arm is shown to be better" in choice.reason


def seeds(make, *values, **options):
    """Returns three seeds of a curve, a thousandth apart."""
    return [make(*(v + d for v in values), **options) for d in (0.0, 0.001, 0.002)]


def test_an_arm_is_judged_where_the_devices_time_is_spent(compared, trial):
    # The baseline takes 8 s, so two groups have 16; the pair spends 4 s a report.
    found = compared(
        baseline=seeds(trial, 5.0, 4.4, 4.2, 4.0),
        codistilled=seeds(trial, 5.0, 4.2, 4.0, 3.9, 3.5, processes=2),
        two_phase=seeds(trial, 4.5, 3.6, prior=results.Spent(device_seconds=15.0)),
    )

    choice = recommendation.at_equal_device_seconds(listed(found), 2)

    assert choice.arm.name == "codistilled"
    assert choice.budget == pytest.approx(16.0)
    assert choice.cross_entropy == pytest.approx(3.901)
    assert choice.difference.mean == pytest.approx(-0.1)
    assert choice.stop_at_step == 40
    # With one group's devices it is at 4.2 when they are spent.
    alone = recommendation.at_equal_device_seconds(listed(found), 1)
    assert alone.arm.name == "baseline"


def test_a_run_that_is_nearly_whole_is_not_stopped(compared, trial):
    found = compared(
        baseline=seeds(trial, 5.0, 4.4, 4.2, 4.0), ema=seeds(trial, 5.0, 4.2, 4.0, 3.9)
    )

    choice = recommendation.at_equal_device_seconds(listed(found), 2)

    assert choice.arm.name == "ema"
    assert choice.stop_at_step == 0


def test_against_an_ensemble_the_baseline_stands_for_it(compared, around):
    no_curve = [dataclasses.replace(t, points=[]) for t in around(3.5)]

    found = compared(
        ensemble=no_curve, baseline=around(4.0), codistilled=around(3.8, 0.001)
    )

    choice = recommendation.at_equal_inference_cost(listed(found))
    assert choice.arm.name == "codistilled"
    assert choice.reference == "baseline"


def test_without_curves_nothing_is_said_of_device_seconds(compared, around):
    bare = [dataclasses.replace(t, points=[]) for t in around(4.0)]

    assert (
        recommendation.at_equal_device_seconds(listed(compared(baseline=bare)), 2)
        is None
    )


@pytest.fixture
def choice(known):
    arm = dataclasses.replace(
        known["codistilled"],
        bindings=(*known["codistilled"].bindings, ("LEARNING_RATE", "2e-3")),
    )
    return recommendation.Choice(arm, 3.9, "baseline", None, 1.0, 40, 16.0)


def test_the_file_is_the_arm_as_it_ran(choice, tmp_path):
    mine = tmp_path / "mine.gin"
    mine.write_text(
        "include 'runs/experiment_ptb.gin'\n"
        "WIDTH = 24\nLanguageModel:\n  hidden_size = %WIDTH\n"
    )
    recipe = ["TARGETS=none", *(f"{k}={v}" for k, v in choice.arm.bindings)]
    gin_files = ["models/tiny", str(mine)]

    text = recommended_file.text_of(choice, gin_files, recipe, ["lmcodistill train"])
    path = tmp_path / "recommended.gin"
    path.write_text(text)

    expected = job.load(gin_files, [*recipe, "Training.stop_at_step=40"])
    assert not job.load([str(path)], []).refused_changes(expected.text)
    assert "include 'models/tiny.gin'" in text
    # Its own knobs still turn.
    changed = job.load([str(path)], ["WIDTH=32", "NUM_TRAIN_STEPS=7"])
    assert "hidden_size = 32" in changed.text


def test_the_files_head_says_what_it_is(choice):
    text = recommended_file.text_of(choice, [], [], ["lmcodistill train \\", "  X"])

    head = text.split("\n\n")[0]
    assert head.splitlines()[0] == "# The best single model at equal device seconds."
    assert "3.9000 nats per token within 16 device s" in head
    assert all(line.startswith("#") for line in head.splitlines())
    assert "#   lmcodistill train \\\n#     X" in head
    assert max(map(len, head.splitlines())) < 120


def test_a_taught_arm_names_its_teachers(choice, known):
    taught = choice._replace(arm=known["two_phase"])
    recipe = ["Distillation.offline_exports=('/out/a', '/out/b')"]

    text = recommended_file.text_of(taught, [], recipe, [])

    assert "Distillation.offline_exports = ('/out/a', '/out/b')" in text
    assert "teachers are the comparison's own" in text


def test_every_shipped_run_can_be_included(choice):
    for name in shipped.names():
        if name.startswith("runs/"):
            text = recommended_file.text_of(choice, [name], [], [])
            assert f"include '{name}.gin'" in text
