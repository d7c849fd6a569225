"""What a configuration comes to: order, knobs, types, text, shipped files."""

import dataclasses
import re

import pytest

from lmcodistill import errors
from lmcodistill.config import loading, shipped
from lmcodistill.settings import classes as settings_classes
from lmcodistill.settings import (
    codistillation,
    model,
    planning,
    prep,
    schedules,
    training,
)

DEFAULT = "defaults/train.gin"
TRAIN = tuple(settings_classes.TRAIN.values())
STEPS = "NUM_TRAIN_STEPS=10"


def load(gin_files=(), bindings=(STEPS,), classes=TRAIN):
    return loading.load(gin_files, bindings, classes, DEFAULT)


@pytest.fixture
def write(tmp_path):
    """Writes a gin file and returns its path as text."""

    def write_file(text, name="my.gin"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    return write_file


def test_defaults_are_those_of_the_dataclasses():
    settings = load()

    for cls in TRAIN:
        required = {"num_train_steps": 10} if cls is training.Training else {}
        # For the base class stands the configuration of the family that is chosen.
        expected = model.LanguageModel if cls is model.ModelConfig else cls
        assert settings.get(cls) == expected(**required)
    assert settings.get(model.ModelFamily).name == "lstm"


def test_weight_may_fall_until_the_end_of_the_run(write):
    path = write(
        "WEIGHT_SCHEDULE = 'linear'\nWEIGHT_FALL_END_STEP = %NUM_TRAIN_STEPS\n"
        "MIX_TERMS = True\n"
    )

    weight = load([path]).get(schedules.DistillationWeight)

    assert [weight.at(step) for step in (0, 5, 10)] == [1.0, 0.5, 0.0]
    assert weight.mix


def test_filled_settings_are_of_the_very_class():
    assert type(load().get(training.Batches)) is training.Batches


def test_later_files_win_and_bindings_win_over_files(write):
    first = write("SEED = 1\nWINDOW = 1\nGLOBAL_BATCH_SIZE = 1\n", "first.gin")
    second = write("SEED = 2\nWINDOW = 2\n", "second.gin")

    settings = load([first, second], [STEPS, "SEED=3"])

    assert settings.get(training.Training).seed == 3
    assert settings.get(training.Batches).window == 2
    assert settings.get(training.Batches).global_batch_size == 1


def test_one_load_leaves_nothing_to_the_next():
    load(bindings=[STEPS, "Optimizer.beta1=0.5"])

    assert load().get(training.Optimizer).beta1 == 0.9


def test_knob_may_read_another_knob(write):
    path = write("WIDTH = 96\nLanguageModel.hidden_size = %WIDTH\nWINDOW = %WIDTH\n")

    settings = load([path])

    assert settings.get(model.LanguageModel).hidden_size == 96
    assert settings.get(training.Batches).window == 96


def test_knob_inside_a_tuple_is_followed(write):
    path = write("FIRST = 'a'\nTARGETS = 'offline'\nOFFLINE_EXPORTS = [%FIRST, 'b']\n")

    found = load([path]).get(codistillation.Distillation)

    assert found.offline_exports == ("a", "b")


def test_binding_of_a_field_may_replace_its_knob(write):
    path = write("SEED = 4\n")

    settings = load([path], [STEPS, "Training.seed=5"])

    assert settings.get(training.Training).seed == 5


# Value as written after `=`, field of `Example`, what it comes to.
ACCEPTED = [
    ("1", "ratio", 1.0),
    ("None", "limit", None),
    ("7", "limit", 7),
    ("['a', 'b']", "names", ("a", "b")),
    ("()", "names", ()),
    ("'cosine'", "word", "cosine"),
    ("cosine", "word", "cosine"),
    ("/data/x-*.gz", "word", "/data/x-*.gz"),
    ("-1e-3", "ratio", -0.001),
    ("1_000", "limit", 1000),
    ("0x10", "limit", 16),
]


@dataclasses.dataclass(frozen=True)
class Example:
    """Fields of every type that settings have."""

    word: str = ""
    ratio: float = 0.5
    limit: int | None = None
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(("text", "field", "expected"), ACCEPTED)
def test_value_becomes_what_the_annotation_says(text, field, expected):
    from lmcodistill.config import reader, resolve

    statement = reader.read_binding(f"Example.{field}={text}")
    found = resolve.resolve([statement], [Example], {"Example": Example}, {})

    value = found[Example][field].value
    assert (value, type(value)) == (expected, type(expected))


def test_text_read_again_is_the_same_configuration(write):
    first = load(["runs/quickstart"], ["SEED=3", "LEARNING_RATE=2"])

    again = load([write(first.text)], [])

    def settings(text):
        return [line.partition("  # ")[0] for line in text.splitlines()]

    assert settings(again.text) == settings(first.text)
    assert "LearningRate.base = 2.0  # --gin.LEARNING_RATE=2\n" in first.text
    assert not again.refused_changes(first.text)


def test_origins_say_where_each_setting_was_written(write):
    path = write("\n\nWINDOW = 8\n")

    origins = load([path], [STEPS, "SEED=3"]).origins

    assert origins["Batches.window"] == f"{path}:3"
    assert origins["Training.seed"] == "--gin.SEED=3"
    assert origins["Optimizer.beta1"] == "default"
    assert origins["Exchange.mode"].startswith("defaults/train.gin:")


def test_refused_changes_name_what_changed_and_nothing_else():
    old = load()
    new = load(bindings=[STEPS, "SEED=3"])

    assert old.refused_changes(old.text) == []
    assert new.refused_changes(old.text) == [("Training.seed", "0", "3")]


def test_change_of_a_field_that_may_change_is_not_refused():
    old, new = load(), load(bindings=["NUM_TRAIN_STEPS=11"])

    assert new.refused_changes(old.text) == []


COSINE, END = "LearningRate.schedule='cosine'", "LearningRate.decay_end_step"


@pytest.mark.parametrize(
    ("old_end", "new_end", "refused", "moved"),
    [
        ("%NUM_TRAIN_STEPS", "%NUM_TRAIN_STEPS", [], {END: ("10", "11")}),
        ("10", "11", [], {END: ("10", "11")}),
        ("10", "12", [(END, "10", "12")], {}),
        ("9", "11", [(END, "9", "11")], {}),
        ("10", "10", [], {}),
    ],
)
def test_end_of_a_schedule_may_move_with_the_end_of_training_alone(
    old_end, new_end, refused, moved
):
    old, new = (
        load(bindings=[f"NUM_TRAIN_STEPS={steps}", COSINE, f"{END}={value}"])
        for steps, value in ((10, old_end), (11, new_end))
    )

    assert new.refused_changes(old.text) == refused
    assert new.moved_ends(old.text) == moved


def test_setting_that_an_older_version_did_not_know_had_its_default():
    now = load()
    older = "".join(
        line
        for line in now.text.splitlines(keepends=True)
        if not line.startswith(("Training.seed ", "Batches.window "))
    )
    changed = load(bindings=[STEPS, "SEED=3"])

    assert "Training.seed" not in older and "Training.seed" in now.text
    assert now.refused_changes(older) == []
    assert changed.refused_changes(older) == [("Training.seed", "0", "3")]


def test_setting_that_is_no_more_is_a_refused_change():
    older = f"{load().text}Training.colour = 'red'\n"

    assert load().refused_changes(older) == [("Training.colour", "'red'", None)]


def test_command_that_reads_less_needs_no_more():
    settings = loading.load([], ["WINDOW=7"], [training.Batches], DEFAULT)

    assert settings.get(training.Batches).window == 7
    assert "Training" not in settings.text


def test_including_the_defaults_again_does_not_undo_earlier_files(write):
    first = write("WINDOW = 8\n", "first.gin")
    second = write(f"include '{DEFAULT}'\nSEED = 2\n", "second.gin")

    assert load([first, second]).get(training.Batches).window == 8


def test_file_may_include_its_neighbours_and_shipped_files(write):
    write("SEED = 9\n", "parts/seed.gin")
    path = write("include 'parts/seed.gin'\ninclude 'models/tiny.gin'\n")

    settings = load([path])

    assert settings.get(training.Training).seed == 9
    assert settings.get(model.LanguageModel).hidden_size == 128


def test_shipped_file_is_found_by_name_with_or_without_its_suffix():
    assert load(["models/tiny"]).text == load(["models/tiny.gin"]).text


# Blanks that a shipped file leaves to the operator.
BLANKS = {"runs/paper_two_phase": ["OFFLINE_EXPORTS=('export',)"]}


@pytest.mark.parametrize("name", [n for n in shipped.names() if n.startswith("runs/")])
def test_every_shipped_run_is_complete_but_for_its_declared_blanks(name):
    settings = load([name], BLANKS.get(name, []))

    found = settings.get(training.Training)
    exchange = settings.get(codistillation.Exchange)
    assert found.checkpoint_every_steps <= found.num_train_steps
    assert found.evaluate_every_steps <= found.num_train_steps
    assert exchange.publish_every_steps <= found.num_train_steps
    if name in BLANKS:
        with pytest.raises(errors.UsageError, match="must be given"):
            load([name], [])


@pytest.mark.parametrize(
    "name", [n for n in shipped.names() if n.startswith(("models/", "defaults/train"))]
)
def test_every_shipped_model_needs_only_the_number_of_steps(name):
    load([name])


@pytest.mark.parametrize("name", [n for n in shipped.names() if "prep" in n])
def test_every_shipped_prep_file_is_complete(name):
    loading.load([name], [], prep.PREP_SETTINGS, "defaults/prep.gin")


@pytest.mark.parametrize("name", [n for n in shipped.names() if "machines" in n])
def test_every_shipped_machine_has_the_figures_that_a_plan_needs(name):
    settings = loading.load([name], [], planning.PLAN_SETTINGS, "defaults/train.gin")

    machine = settings.get(planning.Machine)
    assert machine.matrix_rate and machine.memory_bandwidth
    assert settings.get(planning.Network).bandwidth
    assert settings.get(planning.Storage).bandwidth


@pytest.mark.parametrize("name", shipped.names())
def test_every_shipped_file_says_what_it_is_and_how_to_run_it(name):
    text = (shipped.root() / f"{name}.gin").read_text()

    assert shipped.description(shipped.root() / f"{name}.gin").endswith(".")
    if not name.startswith("defaults/train"):
        assert "#   lmcodistill " in text


def test_every_knob_of_the_defaults_is_read():
    for name, classes in (
        ("train", TRAIN),
        ("prep", prep.PREP_SETTINGS),
    ):
        text = (shipped.root() / f"defaults/{name}.gin").read_text()
        blanks = [STEPS] if name == "train" else []
        # Read as an operator's file, every knob must have a reader.
        loading.load([f"defaults/{name}"], blanks, classes, f"defaults/{name}.gin")
        for line in text.splitlines():
            if line[:1].isupper() and "." not in line.partition("=")[0]:
                assert f"%{line.split()[0].rstrip(':')}" in text or ":" in line


def test_penn_treebank_runs_have_the_schedule_of_the_literature():
    # Zaremba et al.: the rate of epoch e (from 1) is 1 up to epoch 4 (6) and is
    # then multiplied by 1/2 (1/1.2) for each epoch; the mean over 20 (35)
    # positions takes the place of their sum.
    for name, window, per_epoch, full, factor, epochs in (
        ("small", 20, 2_323, 4, 1 / 2, 13),
        ("medium", 35, 1_327, 6, 1 / 1.2, 39),
    ):
        settings = load([f"runs/ptb_{name}"], [])
        rate = settings.get(schedules.LearningRate)

        assert (929_589 // 20 - 1) // window == per_epoch
        assert settings.get(training.Training).num_train_steps == epochs * per_epoch
        assert settings.get(training.Batches).window == window
        assert settings.get(training.Optimizer).clip_norm * window == pytest.approx(5)
        for epoch in (1, full, full + 1, full + 2, epochs):
            expected = window * factor ** max(0, epoch - full)
            first, last = (epoch - 1) * per_epoch, epoch * per_epoch - 1
            assert rate.at(first) == pytest.approx(expected, rel=1e-6)
            assert rate.at(last) == pytest.approx(expected, rel=1e-6)


@dataclasses.dataclass(frozen=True)
class OtherModel(model.ModelConfig):
    width: int = 3


FAMILIES = {**model.BUILT_IN, "other": OtherModel}


def load_family(*bindings):
    return loading.load([], [STEPS, *bindings], TRAIN, DEFAULT, FAMILIES)


def test_settings_of_the_chosen_family_alone_are_read():
    settings = load_family("MODEL_FAMILY=other", "OtherModel.width=5")

    assert settings.get(model.ModelConfig) == OtherModel(width=5)
    assert "OtherModel.width = 5  # " in settings.text
    assert "ModelFamily.name = 'other'  # " in settings.text
    assert "LanguageModel" not in settings.text
    assert "OtherModel" not in load_family().text


@pytest.mark.parametrize(
    ("bindings", "refusal"),
    [
        (["MODEL_FAMILY=othr"], "no model family 'othr' (did you mean other?)"),
        (
            ["OtherModel.width=5"],
            "this command does not read OtherModel, which is another family's",
        ),
        (
            ["MODEL_FAMILY=other", "LanguageModel.hidden_size=5"],
            "this command does not read LanguageModel",
        ),
        (["MODEL_FAMILY=other", "DROPOUT=0.5"], "nothing reads DROPOUT"),
    ],
)
def test_settings_of_another_family_are_refused(bindings, refusal):
    with pytest.raises(errors.UsageError, match=re.escape(refusal)):
        load_family(*bindings)


def test_run_begun_before_there_were_families_goes_on():
    old = "".join(
        line
        for line in load().text.splitlines(keepends=True)
        if not line.startswith("ModelFamily.")
    )

    assert load().refused_changes(old) == []
