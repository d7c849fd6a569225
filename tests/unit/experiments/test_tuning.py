"""The trials of a tuning; the processes are replaced by what they leave behind."""

import dataclasses
import json
import pathlib

import pytest

from lmcodistill import errors
from lmcodistill.experiments import (
    arms,
    grids,
    processes,
    runs,
    schedule,
    text_parts,
    trials,
    tried,
    tuning,
)
from lmcodistill.training import job

KNOWN = arms.standard(arms.Base(global_batch_size=32, num_train_steps=600))
STEPS = {name: 600 for name in KNOWN}
PART = text_parts.TextPart(0, 100)


@pytest.fixture
def settings(tmp_path):
    return runs.ComparisonSettings(
        tmp_path, pathlib.Path("data"), (), ("NUM_TRAIN_STEPS=600",), 1, 8, 32
    )


@pytest.fixture
def started(monkeypatch):
    """Returns the settings of every training that was started, in order.

    A trial scores as its learning rate says; one of 9 diverges after step 300.
    """
    commands = []

    def call(command, log, cores):
        given = dict(c[6:].split("=", 1) for c in command if c.startswith("--gin."))
        given["run_dir"] = pathlib.Path(command[command.index("--run_dir") + 1])
        commands.append(given)
        step, rate = int(given["Training.stop_at_step"]), given["LEARNING_RATE"]
        if rate == "9" and step > 300:
            return errors.DivergedError.exit_code, 1.0, ""
        student = given["run_dir"] / "students/0"
        student.mkdir(parents=True, exist_ok=True)
        report = {"kind": "validation", "step": step, "cross_entropy": float(rate)}
        with open(student / "metrics.jsonl", "a") as file:
            file.write(json.dumps(report) + "\n")
        return 0, 1.0, ""

    monkeypatch.setattr(processes, "call", call)
    monkeypatch.setattr(schedule, "_POLL_SECONDS", 0.01)
    return commands


def tune(settings, *names, grid, budget=99, own=()):
    chosen = [KNOWN[name] for name in names]
    common = grids.parse(grid, "tune")
    tasks = tuning.tasks(chosen, common, dict(own), budget, STEPS)
    return tuning.Tuner(settings, PART, 1).tune(tasks, later=0.0)


def rates(commands, step):
    """Returns which rates were trained to a step."""
    return sorted(
        c["LEARNING_RATE"] for c in commands if c["Training.stop_at_step"] == step
    )


def test_half_of_the_trials_go_on_at_each_rung_and_the_best_is_chosen(
    settings, started
):
    (tuned,) = tune(settings, "baseline", grid="LEARNING_RATE=4,3,1,2")

    assert rates(started, "300") == ["1", "2", "3", "4"]
    assert rates(started, "600") == ["1", "2"]
    assert tuned.best == (("LEARNING_RATE", "1"),)
    rungs = {t.point[0][1]: len(t.scores) for t in tuned.trials}
    assert rungs == {"4": 1, "3": 1, "1": 2, "2": 2}
    assert [t.cpu_seconds for t in tuned.trials if len(t.scores) == 2] == [2.0, 2.0]


def test_a_trial_is_one_run_that_goes_on_and_has_the_whole_runs_schedules(
    settings, started
):
    tune(settings, "baseline", grid="LEARNING_RATE=1,2")

    best = [c for c in started if c["LEARNING_RATE"] == "1"]
    assert len({c["run_dir"] for c in best}) == 1
    assert {c["NUM_TRAIN_STEPS"] for c in best} == {"600"}
    assert [c["Training.stop_at_step"] for c in best] == ["300", "600"]


def test_trials_have_a_seed_and_a_text_of_their_own(settings, started):
    tune(settings, "baseline", grid="LEARNING_RATE=1")

    scored = {runs.ArmRun(settings, KNOWN["baseline"], s).bindings[-2] for s in (0, 99)}
    seed = f"Training.seed={started[0]['Training.seed']}"
    assert seed == "Training.seed=500000"
    assert seed not in scored
    assert started[0]["Training.evaluation_tokens"] == "100"


def test_what_diverges_counts_as_infinitely_bad_and_ends_nothing(settings, started):
    # Rate 9 scores as the others until it diverges: it goes on at the first rung.
    (tuned,) = tune(settings, "baseline", grid="LEARNING_RATE=9,10,11,12")

    assert rates(started, "600") == ["10", "9"]
    assert tuned.best == (("LEARNING_RATE", "10"),)
    assert ("baseline", "LEARNING_RATE=9", "9.0000, diverged", "") in tried.rows(
        [tuned]
    )
    assert tuned.to_json()["trials"][0]["scores"] == [9.0, None]


def test_an_arm_whose_every_trial_diverges_is_named(settings, started):
    with pytest.raises(errors.DivergedError, match="Every trial of baseline"):
        tune(settings, "baseline", grid="LEARNING_RATE=9")


def test_nothing_is_tried_twice_and_a_wider_grid_adds_to_it(settings, started):
    first = tune(settings, "baseline", grid="LEARNING_RATE=1,2")
    count = len(started)

    again = tune(settings, "baseline", grid="LEARNING_RATE=1,2")
    assert again == first
    assert len(started) == count

    (wider,) = tune(settings, "baseline", grid="LEARNING_RATE=0.5,1,2")
    assert [c["LEARNING_RATE"] for c in started[count:]] == ["0.5"] * 2
    assert wider.best == (("LEARNING_RATE", "0.5"),)


def test_a_taught_arm_is_taught_by_the_best_trial_of_its_teachers(settings, started):
    tuned = tune(
        settings,
        *("independent", "two_phase"),
        grid="LEARNING_RATE=1,2",
        own={"two_phase": grids.parse("DISTILLATION_WEIGHT=0.5,1", "tune_arm")},
    )

    names = [one.arm.name for one in tuned]
    assert names == ["independent", "two_phase"]
    best = tuned[0].folder
    teachers = settings.root / "tuning/independent" / best / "run/students"
    paths = {c.get("Distillation.offline_exports") for c in started} - {None}
    assert paths == {repr((str(teachers / "0"), str(teachers / "1")))}
    taught = [i for i, c in enumerate(started) if "DISTILLATION_WEIGHT" in c]
    assert min(taught) > max(set(range(len(started))) - set(taught))


def test_other_teachers_are_other_trials(settings):
    point = (("LEARNING_RATE", "1"),)
    task = tuning.TuningTask(KNOWN["independent"], grids.Grid(), (), (1, 2, 3))
    tuner = tuning.Tuner(settings, PART, 1)
    first, other = (tuner.trial(task, (("A", value),)).run for value in "12")

    names = {trials.folder_of(point, t) for t in (None, first, other)}
    assert len(names) == 3


def test_folders_say_what_was_tried_and_suit_any_command_line():
    folder = trials.folder_of((("OPTIMIZER", "'adam'"), ("X.y", "1e+3")), None)

    assert folder.startswith("OPTIMIZER-_adam__X.y-1e_3-")
    assert folder != trials.folder_of((("OPTIMIZER", "'adam'"), ("X.y", "1e-3")), None)


def test_every_arm_has_the_same_budget_and_the_report_says_who_had_fewer(
    settings, started
):
    tuned = tune(
        settings,
        *("baseline", "codistilled"),
        grid="LEARNING_RATE=1,2,3",
        budget=4,
        own={"codistilled": grids.parse("DISTILLATION_WEIGHT=0.5,1", "tune_arm")},
    )

    notes = " ".join(tried.sentences(tuned, 4))
    assert [len(one.trials) for one in tuned] == [3, 4]
    assert "baseline: its grid has 3 points, all tried" in notes
    assert "codistilled: 4 of 6 points were drawn" in notes
    assert (
        "baseline: the best lies on the edge of its grid, LEARNING_RATE (low" in notes
    )


@pytest.mark.parametrize("name", ["baseline", "codistilled", "two_phase", "chain"])
def test_the_settings_of_a_trial_can_be_configured(settings, name):
    (task,) = tuning.tasks(
        [KNOWN[name]], grids.parse("LEARNING_RATE=4e-3", "tune"), {}, 1, STEPS
    )

    trial = tuning.Tuner(settings, PART, 1).trial(task, task.points[0], rung=0)

    training = job.settings(job.load([], trial.bindings))["training"]
    assert (training.stop_at_step, training.num_train_steps) == (300, 600)
    assert training.last_step == 300


def test_scored_runs_have_the_best_settings_in_a_folder_of_their_own(settings, started):
    (tuned,) = tune(settings, "baseline", grid="LEARNING_RATE=1,2")
    of_tuned = settings.run_of("baseline", 0)

    scored = dataclasses.replace(settings, folders={"baseline": tuned.folder})
    run = runs.ArmRun(scored, tuned.best_arm, 0)

    assert "LEARNING_RATE=1" in run.bindings
    assert scored.run_of("baseline", 0) != of_tuned
    assert run.folder.parent.name == tuned.folder
