"""What a knob or a field means, and in what two configurations differ."""

import json

import pytest

from lmcodistill import cli
from lmcodistill.config import explain
from lmcodistill.model import registry
from lmcodistill.settings import classes, schedules


@pytest.fixture
def configs(capsys):
    """Runs `lmcodistill configs` and returns its exit code and its output."""

    def run(*arguments):
        code = cli.main(["configs", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out + err

    return run


def test_every_knob_has_a_remark_and_sets_a_field_that_there_is():
    every = [*classes.ALL, *registry.configs().values()]
    fields = {field.name for cls in every for field in explain.fields(cls)}

    knobs = explain.knobs()

    assert len(knobs) > 50
    assert [knob.name for knob in knobs if not knob.remark] == []
    assert [k for k in knobs if not (k.sets and fields.issuperset(k.sets))] == []


@pytest.mark.parametrize("cls", classes.ALL, ids=lambda cls: cls.__name__)
def test_every_field_is_explained(cls):
    fields = explain.fields(cls)

    assert fields
    assert [field.name for field in fields if not field.text] == []


def test_field_has_its_type_limits_default_and_the_whole_of_its_text():
    (field,) = (
        field
        for field in explain.fields(schedules.DistillationWeight)
        if field.name.endswith(".burn_in_steps")
    )

    assert field == explain.Field(
        "DistillationWeight.burn_in_steps",
        "0",
        "an int: 0 or more",
        False,
        "Steps trained on the labels alone. Teachers are not loaded before this step, "
        "because an untrained peer teaches noise.",
    )


def test_knob_is_followed_through_another_knob_to_its_fields():
    (knob,) = (k for k in explain.knobs() if k.name == "QUALITY_RULES")

    assert knob.sets == ("C4Rules.apply_to", "GopherRules.apply_to")


def test_knob_of_two_commands_is_explained_for_both(configs):
    code, out = configs("explain", "VOCAB_SIZE")

    assert code == 0
    assert "a knob of train" in out and "a knob of prep" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("name", ["Optimizer.clip_norm", "clip_norm", "Optimizer"])
def test_field_is_found_by_its_name_its_class_and_both(configs, name):
    code, out = configs("explain", name)

    assert code == 0
    assert "Optimizer.clip_norm: a number: 0 or more; default" in out


def test_name_that_there_is_not_is_refused_with_the_nearest(configs):
    code, out = configs("explain", "BURNIN_STEPS")

    assert code == 2
    assert "did you mean BURN_IN_STEPS?" in out


def test_difference_has_both_values_and_where_they_were_set(configs, tmp_path):
    mine = tmp_path / "mine.gin"
    mine.write_text("include 'runs/quickstart.gin'\nDROPOUT = 0.5\n")

    code, out = configs("diff", "runs/quickstart", mine, "--json")

    assert code == 0
    (values,) = json.loads(out)["differences"].values()
    assert values[0][0] == "0.1" and values[0][1].startswith("runs/quickstart.gin:")
    assert values[1] == ["0.5", f"{mine}:2"]


def test_files_that_leave_a_blank_and_those_of_prep_are_compared_too(configs):
    for one, other, name in (
        ("models/tiny", "models/paper", "LanguageModel.num_layers"),
        ("prep/books", "prep/ptb", "PrepVocabulary.type"),
    ):
        code, out = configs("diff", one, other)

        assert code == 0 and name in out


def test_equal_configurations_are_said_to_be(configs):
    assert configs("diff", "runs/quickstart", "runs/quickstart")[0] == 0
    assert "same settings" in configs("diff", "runs/quickstart", "runs/quickstart")[1]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("runs/quickstart",), "for `lmcodistill train`"),
        (("models/tiny", "runs/paper_baseline"), "for `lmcodistill train`"),
        (("prep/web",), "for `lmcodistill prep`"),
    ],
)
def test_check_needs_no_data(configs, names, says):
    code, out = configs("check", *names)

    assert code == 0
    assert out.startswith(" and ".join(names) + ": ")
    assert says in out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("NUM_TRAIN_STEPS = 9\nBURN_IN_STEP = 3\n", "did you mean BURN_IN_STEPS?"),
        ("NUM_TRAIN_STEPS = 9\nDROPOUT = 3.0\n", "expected a probability below 1"),
        ("Prep.num_partitions = 0\n", "num_partitions = 0"),
        (
            "NUM_TRAIN_STEPS = 9\nAVERAGE_WEIGHTS = True\n",
            "AVERAGE_WEIGHTS = True averages weights",
        ),
    ],
)
def test_check_refuses_what_could_not_begin(configs, tmp_path, text, says):
    path = tmp_path / "my.gin"
    path.write_text(text)

    code, out = configs("check", path)

    assert code == 2
    assert says in out
