"""Every mistake in a gin file or binding: its exact message, exit code 2."""

import os
import random

import pytest

from lmcodistill import errors
from lmcodistill.config import loading
from lmcodistill.settings import classes as settings_classes
from lmcodistill.settings import training

DEFAULT = "defaults/train.gin"
TRAIN = tuple(settings_classes.TRAIN.values())
STEPS = "NUM_TRAIN_STEPS=10"


def refusal(gin_files=(), bindings=(), classes=TRAIN):
    """Returns the message that `loading.load` refuses with."""
    with pytest.raises(errors.UsageError) as caught:
        loading.load(gin_files, bindings, classes, DEFAULT)
    assert caught.value.exit_code == 2
    return str(caught.value)


def line_of(text):
    """Returns the number of the first line of the defaults that begins so."""
    from lmcodistill.config import shipped

    lines = (shipped.root() / DEFAULT).read_text().splitlines()
    return next(n for n, line in enumerate(lines, 1) if line.startswith(text))


OPEN = f"{DEFAULT}:{line_of('NUM_TRAIN_STEPS')}"
READER = f"{DEFAULT}:{line_of('  num_train_steps')}"
SEED_READER = f"{DEFAULT}:{line_of('  seed')}"
PATHS_READER = f"{DEFAULT}:{line_of('  offline_exports')}"

# Bindings, and the message.
BINDINGS = {
    "blank": (
        [],
        "NUM_TRAIN_STEPS must be given: add --gin.NUM_TRAIN_STEPS=... or a gin file "
        f"that sets it ({OPEN} leaves it open).",
    ),
    "mistyped knob": (
        ["BURN_IN_STEP=5"],
        "--gin.BURN_IN_STEP=5: nothing reads BURN_IN_STEP "
        "(did you mean BURN_IN_STEPS?).",
    ),
    "knob in small letters": (
        ["seed=5"],
        "--gin.seed=5: nothing reads seed (did you mean SEED?).",
    ),
    "two mistyped knobs": (
        ["SEDE=5", "WINDOWS=3"],
        "--gin.SEDE=5: nothing reads SEDE (did you mean SEED?).\n"
        "  --gin.WINDOWS=3: nothing reads WINDOWS (did you mean WINDOW?).",
    ),
    "mistyped class": (
        ["Trainings.seed=5"],
        "--gin.Trainings.seed=5: there is no settings class Trainings "
        "(did you mean Training?).",
    ),
    "class named by its field": (
        ["Model.hidden_size=5"],
        "--gin.Model.hidden_size=5: there is no settings class Model "
        "(did you mean LanguageModel?).",
    ),
    "class with its module": (
        ["training.Training.seed=5"],
        "--gin.training.Training.seed=5: there is no settings class "
        "training.Training (did you mean Training?).",
    ),
    "mistyped field": (
        ["LanguageModel.hiden_size=5"],
        "--gin.LanguageModel.hiden_size=5: LanguageModel has no field hiden_size "
        "(did you mean hidden_size?).",
    ),
    "class of another command": (
        ["Prep.seed=5"],
        "--gin.Prep.seed=5: this command does not read Prep, which is for `lmcodistill "
        "prep`. Remove the binding, or give a file for this command; it reads Batches, "
        "Distillation, DistillationWeight, Exchange, LanguageModel, LearningRate, "
        "ModelFamily, Optimizer, Training.",
    ),
    "unknown knob referenced": (
        ["SEED=%SEDE"],
        "--gin.SEED=%SEDE: %SEDE is set nowhere (did you mean SEED?).",
    ),
    "knob that reads itself": (
        ["SEED=%WINDOW", "WINDOW=%SEED"],
        "--gin.SEED=%WINDOW: WINDOW -> SEED -> WINDOW reads itself.",
    ),
    "word for a number": (
        ["NUM_TRAIN_STEPS=many"],
        "--gin.NUM_TRAIN_STEPS=many: Training.num_train_steps (which reads the knob at "
        f"{READER}) needs an int, found the word 'many'.",
    ),
    "string for a number": (
        [STEPS, "Training.seed='5'"],
        "--gin.Training.seed='5': Training.seed needs an int, found '5' (str).",
    ),
    "thousands comma": (
        ["NUM_TRAIN_STEPS=1,000"],
        "--gin.NUM_TRAIN_STEPS=1,000: Training.num_train_steps (which reads the knob "
        f"at {READER}) needs an int, found the word '1,000'.",
    ),
    "float for an int": (
        [STEPS, "Training.seed=1e3"],
        "--gin.Training.seed=1e3: Training.seed needs an int, found 1000.0 (float).",
    ),
    "bool for an int": (
        [STEPS, "SEED=True"],
        "--gin.SEED=True: Training.seed (which reads the knob at "
        f"{SEED_READER}) needs an int, found True (bool).",
    ),
    "int for a bool": (
        [STEPS, "LanguageModel.layer_norm=1"],
        "--gin.LanguageModel.layer_norm=1: LanguageModel.layer_norm needs True or "
        "False, found 1 (int).",
    ),
    "None for a number": (
        [STEPS, "Optimizer.beta1=None"],
        "--gin.Optimizer.beta1=None: Optimizer.beta1 needs a number, found None.",
    ),
    "infinity": (
        [STEPS, "Optimizer.beta1=1e999"],
        "--gin.Optimizer.beta1=1e999: Optimizer.beta1 needs a number, found "
        "inf (float).",
    ),
    "word for an optional number": (
        [STEPS, "LanguageModel.vocab_size=all"],
        "--gin.LanguageModel.vocab_size=all: LanguageModel.vocab_size needs an int or "
        "None, found the word 'all'.",
    ),
    "path for a tuple": (
        [STEPS, "TARGETS=offline", "OFFLINE_EXPORTS=/exports/one"],
        "--gin.OFFLINE_EXPORTS=/exports/one: Distillation.offline_exports (which reads "
        f"the knob at {PATHS_READER}) needs a tuple such as ('a', 'b'), found the "
        "word '/exports/one'.",
    ),
    "number where a string is wanted": (
        [STEPS, "TARGETS=3"],
        "--gin.TARGETS=3: Distillation.targets (which reads the knob at "
        f"{DEFAULT}:{line_of('  targets')}) needs a string, found 3 (int).",
    ),
    "value out of range": (
        [STEPS, "DROPOUT=1.5"],
        "--gin.DROPOUT=1.5: LanguageModel.dropout = 1.5 cannot work: expected a "
        "probability below 1.",
    ),
    "choice that is none": (
        [STEPS, "TARGETS=peer"],
        "--gin.TARGETS=peer: Distillation.targets = 'peer' cannot work: expected one "
        "of none, offline, peers, uniform, unigram.",
    ),
    "targets that are none any more": (
        [STEPS, "TARGETS=weights"],
        "--gin.TARGETS=weights: Distillation.targets = 'weights' cannot work: expected "
        "TARGETS = 'none' and AVERAGE_WEIGHTS = True, where nobody teaches.",
    ),
    "knob after its field": (
        [STEPS, "Training.seed=4", "SEED=5"],
        "--gin.SEED=5: decides nothing, because --gin.Training.seed=4 sets "
        "Training.seed itself; give --gin.Training.seed=... instead.",
    ),
    "no value": (
        ["SEED="],
        "--gin.SEED=: the value is missing; an empty string is --gin.SEED=\"''\".",
    ),
    "no equal sign": (
        ["SEED"],
        "--gin.SEED=: expected --gin.NAME=VALUE or --gin.Class.field=VALUE.",
    ),
    "scope": (
        ["train/SEED=1"],
        "--gin.train/SEED=1: expected --gin.NAME=VALUE or --gin.Class.field=VALUE.",
    ),
    "reference to a callable": (
        ["SEED=@os.system"],
        "--gin.SEED=@os.system: @os.system refers to something to call; values here "
        "are literals and %NAMES.",
    ),
    "second statement": (
        ["SEED=1\nWINDOW=2"],
        "--gin.SEED=1 WINDOW=2: expected one value and nothing else.",
    ),
    "import in a value": (
        ["SEED=1\nimport os"],
        "--gin.SEED=1 import os: imports are refused, because a gin file describes and "
        "runs no code. Remove the line; every settings class is known by its bare "
        "name.",
    ),
    "nesting": (
        ["SEED=" + "[" * 90 + "(" * 90],
        "--gin.SEED=" + "[" * 46 + "...: the value nests too deeply.",
    ),
}


@pytest.mark.parametrize("mistake", BINDINGS)
def test_mistaken_binding_is_explained(mistake):
    bindings, message = BINDINGS[mistake]

    assert refusal(bindings=bindings) == message


# Text of my.gin, and the message after "my.gin".
FILES = {
    "import": (
        "SEED = 1\nimport os\n",
        ":2: imports are refused, because a gin file describes and runs no code. "
        "Remove the line; every settings class is known by its bare name.",
    ),
    "dynamic registration": (
        "from __gin__ import dynamic_registration\n",
        ":1: imports are refused, because a gin file describes and runs no code. "
        "Remove the line; every settings class is known by its bare name.",
    ),
    "reference": (
        "\nSEED = @os.getpid()\n",
        ":2: @os.getpid refers to something to call; values here are literals and "
        "%NAMES.",
    ),
    "reference inside a tuple": (
        "SEED = (1, [@a/b.c])\n",
        ":1: @a/b.c refers to something to call; values here are literals and %NAMES.",
    ),
    "scope": ("train/SEED = 1\n", ":1: scopes (train/...) are not used here."),
    "scope of a block": (
        "train/Training:\n  seed = 1\n",
        ":1: scopes (train/...) are not used here.",
    ),
    "bare word": (
        "# A comment.\nTARGETS = peers\n",
        ":2: peers is no value; a string needs quotes: 'peers'.",
    ),
    "true in small letters": (
        "SAME_DATA = true\n",
        ":1: true is no value; a string needs quotes: 'true'; otherwise write True.",
    ),
    "two equal signs": (
        "SEED == 1\n",
        ":1: found 'SEED == 1', expected NAME = value, Class.field = value or include "
        "'FILE'.",
    ),
    "no value": (
        "SEED =\n",
        ":1: '' is no value; expected one number, 'string', True, False, None, tuple, "
        "list or %NAME.",
    ),
    "unclosed bracket": (
        "SEED = 1\nWINDOW = (1,\n",
        ":2: the bracket that opens here is never closed.",
    ),
    "mistyped field in a block": (
        "Training:\n  seed = 1\n  sede = 2\n",
        ":3: Training has no field sede (did you mean seed?).",
    ),
    "mistyped knob": (
        "\nBURN_IN_STEP = 1\n",
        ":2: nothing reads BURN_IN_STEP (did you mean BURN_IN_STEPS?).",
    ),
    "missing include": (
        "include 'models/tinny.gin'\n",
        ":1: include 'models/tinny.gin' is neither below FOLDER nor a shipped file "
        "(did you mean models/tiny.gin?).",
    ),
    "absolute include": (
        "include '/etc/hosts'\n",
        ":1: include '/etc/hosts' leaves its folder. Name a file below FOLDER or a "
        "shipped one.",
    ),
    "include of a parent": (
        "include 'models/../../secret.gin'\n",
        ":1: include 'models/../../secret.gin' leaves its folder. Name a file below "
        "FOLDER or a shipped one.",
    ),
    "include of itself": ("include 'my.gin'\n", ":1: 'my.gin' includes itself."),
    "include that is no string": (
        "include 3\n",
        ":1: found 'include 3', expected NAME = value, Class.field = value or include "
        "'FILE'.",
    ),
    "deep nesting": (
        "SEED = " + "[\n" * 5_000 + "]\n" * 5_000,
        ":1: the value nests too deeply.",
    ),
    "NUL byte": ("SEED = 1\nWINDOW = \0\n", ":2: holds a NUL byte."),
    "too long": (
        "# " + "x" * 32_768,
        ": has more than 32,768 bytes; it is not a gin file.",
    ),
}


@pytest.mark.parametrize("mistake", FILES)
def test_mistaken_file_is_explained_with_its_line(mistake, tmp_path):
    text, message = FILES[mistake]
    path = tmp_path / "my.gin"
    path.write_text(text)

    found = refusal([str(path)], [STEPS])

    assert found == f"{path}{message.replace('FOLDER', str(tmp_path))}"


def test_wrong_type_through_a_knob_names_both_places(tmp_path):
    path = tmp_path / "my.gin"
    path.write_text("SEED = 'three'\n")

    assert refusal([str(path)], [STEPS]) == (
        f"{path}:1: Training.seed (which reads the knob at {SEED_READER}) needs an "
        "int, found 'three' (str)."
    )


def test_unknown_file_is_refused_with_the_nearest_shipped_name():
    assert refusal(["runs/quikstart"]) == (
        "--gin_file=runs/quikstart: no such file, and no shipped file of that name "
        "(did you mean runs/quickstart?). `lmcodistill configs list` lists them."
    )
    assert "(did you mean models/tiny?)" in refusal(["tiny"])


def test_field_without_default_or_binding_must_be_given():
    found = refusal([], [], [training.Training])

    assert found.startswith("NUM_TRAIN_STEPS must be given")


def test_resolved_configuration_refuses_a_knob_it_no_longer_has(tmp_path):
    path = tmp_path / "config.gin"
    path.write_text("Training.num_train_steps = 3\nTraining.seed = 0\n")

    assert refusal([str(path)], ["SEED=5"]) == (
        f"--gin.SEED=5: decides nothing, because {path}:2 sets Training.seed itself; "
        "give --gin.Training.seed=... instead."
    )


def test_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "secret.gin").write_text("SEED = 1\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.gin").symlink_to(tmp_path / "secret.gin")
    (folder / "my.gin").write_text("include 'link.gin'\n")

    assert refusal([str(folder / "my.gin")], [STEPS]) == (
        f"{folder / 'my.gin'}:1: include 'link.gin' is a link that leaves {folder}."
    )


def test_binary_file_and_fifo_are_refused(tmp_path):
    (tmp_path / "binary.gin").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(tmp_path / "fifo.gin")

    assert "is not a readable text file" in refusal([str(tmp_path / "binary.gin")])
    assert "no such file" in refusal([str(tmp_path / "fifo.gin")])
    assert "is a folder" in refusal([str(tmp_path)])
    assert "no such file" in refusal(["x" * 5_000])


def test_knobs_that_double_are_stopped(tmp_path):
    lines = [f"K{i} = (%K{i + 1}, %K{i + 1})" for i in range(60)]
    path = tmp_path / "my.gin"
    path.write_text("\n".join([*lines, "K60 = 'x'", "OFFLINE_EXPORTS = %K0"]))

    assert "comes to more than 10,000 values" in refusal([str(path)], [STEPS])


def test_circle_of_includes_is_refused(tmp_path):
    (tmp_path / "a.gin").write_text("include 'b.gin'\n")
    (tmp_path / "b.gin").write_text("\ninclude 'a.gin'\n")

    assert refusal([str(tmp_path / "a.gin")], [STEPS]) == (
        f"{tmp_path / 'b.gin'}:2: 'a.gin' includes itself."
    )


def test_many_includes_are_refused(tmp_path):
    for index in range(12):
        text = f"include 'f{index + 1}.gin'\n" * 2
        (tmp_path / f"f{index}.gin").write_text(text if index < 11 else "SEED = 1\n")

    assert "included too often or too deep" in refusal([str(tmp_path / "f0.gin")])


def test_hostile_file_runs_nothing(tmp_path, capfd):
    witness = tmp_path / "witness"
    hostile = [
        f"from __gin__ import dynamic_registration\nimport os\nos.system.command = "
        f"'touch {witness}'\nTraining.seed = @os.system()\n",
        f"SEED = @os.system('touch {witness}')\n",
        "import this\n",
        "import antigravity\n",
        "include 'os.py'\n",
        "__import__('os').system('x') = 1\n",
        f"SEED = __import__('os').system('touch {witness}')\n",
        f"macro.value = (lambda: open('{witness}', 'w'))()\n",
        f"gin.macro.value = '{witness}'\n",
        "gin.singleton.constructor = @os.getpid\n",
        "SEED = %gin.singleton\n",
        "Training.__init__ = 1\n",
        "Training.__class__ = 1\n",
    ]
    for index, text in enumerate(hostile):
        path = tmp_path / f"hostile_{index}.gin"
        path.write_text(text)

        refusal([str(path)], [STEPS])

    assert not witness.exists()
    assert capfd.readouterr().out == ""


def test_damaged_text_is_refused_and_never_a_bug(tmp_path):
    # The shipped defaults with random characters changed: it either loads or is
    # refused; any other exception fails the test.
    from lmcodistill.config import shipped

    text = (shipped.root() / DEFAULT).read_text()
    text = text[text.index("# The run.") :].replace("%gin.REQUIRED", "10")
    chooser = random.Random(5)
    path = tmp_path / "my.gin"
    refused = 0
    for _ in range(200):
        damaged = list(text)
        for _ in range(chooser.randrange(1, 4)):
            at = chooser.randrange(len(damaged))
            damaged[at] = chooser.choice("\0\n\t \"'()[]{}%@/\\=:.,-#é0aT")
        path.write_text("".join(damaged))
        try:
            loading.load([str(path)], [], TRAIN, DEFAULT)
        except errors.UsageError as error:
            refused += 1
            assert len(str(error).splitlines()) <= 4

    assert refused > 50
