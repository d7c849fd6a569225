"""Mistakes of the command line and of gin files: each one message that helps."""

import pytest

from lmcodistill import cli
from lmcodistill.commands import catalogue
from lmcodistill.settings.training import Batches
from lmcodistill.training import job

# Words of absl, gin and Python, which mean nothing to who mistyped something.
FOREIGN = (
    *("Traceback", "Unknown command line flag", "invalid literal", "Non-boolean"),
    *("could not convert", "should be one of <", "Missing value for flag", "Error("),
    *("does not take an argument", "Expected newline", "Unable to parse", "Got N"),
    *("Couldn't parse", "Unexpected token", "NoneType", "[Errno"),
)
STEPS = "--gin.NUM_TRAIN_STEPS=5"

# What was typed, and what the one message advises.
MISTAKES = {
    "confgs": "Did you mean configs?",
    "trian": "Did you mean train?",
    "chekc": "Did you mean check?",
    "stauts RUN": "Did you mean status?",
    "eval": "Did you mean evaluate?",
    "plans": "Did you mean plan?",
    "validate RUN": "Did you mean check?",
    "Serve": "Did you mean export?",
    "help trian": "Did you mean train?",
    "--gin_file=my.gin train": "the command comes first",
    "configs --jsn": "Did you mean --json?",
    "configs shwo runs/quickstart": "did you mean show?",
    "configs show runs/quikstart": "did you mean runs/quickstart?",
    "configs explain BURN_IN_STEP": "did you mean BURN_IN_STEPS?",
    "configs list --gin.SEED=3": "remove --gin.SEED=3",
    "train --steps=5": "write --gin.NUM_TRAIN_STEPS=5",
    "train --steps 5": "write --gin.NUM_TRAIN_STEPS=VALUE",
    "train --stpes=5": "write --gin.NUM_TRAIN_STEPS=5",
    "train --max_steps=5": "write --gin.NUM_TRAIN_STEPS=5",
    "train --num-train-steps=5": "write --gin.NUM_TRAIN_STEPS=5",
    "train --epochs=5": "write --gin.NUM_TRAIN_STEPS=5",
    "train --batch_size=5": "write --gin.GLOBAL_BATCH_SIZE=5",
    "train --global_batch_size=5": "write --gin.GLOBAL_BATCH_SIZE=5",
    "train --lr=0.1": "write --gin.LEARNING_RATE=0.1",
    "train --learning_rate=0.1": "write --gin.LEARNING_RATE=0.1",
    "train --seed=5": "write --gin.SEED=5",
    "train --dropout=0.1": "write --gin.DROPOUT=0.1",
    "train --hidden_size=8": "write --gin.LanguageModel.hidden_size=8",
    "train --clip_norm=1": "write --gin.Optimizer.clip_norm=1",
    "train --warmup_steps=9": "write --gin.LearningRate.warmup_steps=9",
    "train --burn_in=9": "write --gin.BURN_IN_STEPS=9",
    "train --burn_in_steps=9": "write --gin.BURN_IN_STEPS=9",
    "train --temperature=2": "write --gin.Distillation.temperature=2",
    "train --SEED=5": "write --gin.SEED=5",
    "train --config F": "Did you mean --gin_file?",
    "train --gin runs/tiny": "Did you mean --gin_file?",
    "train --gin_files=runs/tiny": "Did you mean --gin_file?",
    "train --data D": "Did you mean --data_dir?",
    "train --data_dirr D": "Did you mean --data_dir?",
    "train --data-dir D": "Did you mean --data_dir?",
    "train --out_dir D": "Did you mean --run_dir?",
    "train --output_dir D": "Did you mean --run_dir?",
    "train --logdir D": "Did you mean --run_dir?",
    "train --num_students=3": "Did you mean --students?",
    "train --studens=3": "Did you mean --students?",
    "train --workers=3": "Did you mean --workers_per_student?",
    "train --dryrun": "Did you mean --dry_run?",
    "train --takeover": "Did you mean --take_over?",
    "train --verbose": "Did you mean --log?",
    "prep --out_dir D": "Did you mean --output_dir?",
    "prep --out D": "Did you mean --output_dir?",
    "prep --inptu x": "Did you mean --input?",
    "prep --workers=2": "Did you mean --num_workers?",
    "prep --vocab_size=9": "write --gin.VOCAB_SIZE=9",
    "prep --partitions=2": "write --gin.NUM_PARTITIONS=2",
    "evaluate --model X": "Did you mean --export?",
    "evaluate --checkpoint X": "Did you mean --export?",
    "evaluate --data X": "Did you mean --data_dir?",
    "generate --xyzzy": "`lmcodistill generate --help` lists those there are",
    "train --gin.NUM_TRAIN_STEPS 5": "write --gin.NUM_TRAIN_STEPS=5",
    "train --gin.file runs/tiny": "write --gin_file=runs/tiny",
    "train --gin.SEED": "write --gin.SEED=VALUE",
    "train NUM_TRAIN_STEPS=5": "Write --gin.NUM_TRAIN_STEPS=5",
    "train data_dir=D": "Write --data_dir=D",
    "train runs/quickstart": "Write --gin_file=runs/quickstart",
    "train my.gin": "Write --gin_file=my.gin",
    "train --dry_run true": "Write --dry_run=true",
    "train dry_run": "Write --dry_run",
    "train \u2014data_dir=D": "write --data_dir=D",
    "train DATA": "takes flags only",
    "train --students two": "--students=two: expected a whole number from 1 to",
    "train --students=0": "expected a whole number from 1 to",
    "train --students=": "expected a whole number from 1 to",
    "train --students": "write --students=VALUE",
    "train --hang_seconds=long": "expected a finite number, 0.0 or more",
    "train --hang_seconds=nan": "expected a finite number, 0.0 or more",
    "train --dry_run=maybe": "expected true or false",
    "train --nodry_run=1": "write --nodry_run",
    "train --gin_file runs/quikstart": "did you mean runs/quickstart?",
    "train --gin_file /tmp": "is a folder. Give a gin file in it",
    "train --gin_file prep/quickstart": "quickstart is for `lmcodistill prep`",
    "prep --gin_file runs/quickstart --output_dir D": "is for `lmcodistill train`",
    "train --gin.BURN_IN_STEP=5": "did you mean BURN_IN_STEPS?",
    "train --gin.STEPS=5": "did you mean NUM_TRAIN_STEPS?",
    "train --gin.alpha=1": "did you mean DISTILLATION_WEIGHT?",
    "prep --output_dir D --input x --gin.STEPS=5": "nothing reads STEPS",
    "train --gin.burn_in_steps=5": "did you mean BURN_IN_STEPS?",
    "train --gin.Trainings.seed=5": "did you mean Training?",
    "train --gin.LanguageModel.hiden_size=5": "did you mean hidden_size?",
    "train --gin.Prep.seed=5": "is for `lmcodistill prep`",
    f"train {STEPS} --gin.TARGETS=peer": "expected one of none, offline, peers",
    f"train {STEPS} --gin.DROPOUT=2": "expected a probability below 1",
    "train --gin.NUM_TRAIN_STEPS=1,000": "needs an int, found the word '1,000'",
    f"train {STEPS}": "--data_dir and --run_dir are missing",
    f"check {STEPS} --data_dir D": "--run_dir is missing",
    "check --dry_run": "lists those there are",
    "status": "Example: lmcodistill status RUN",
    "launch slrm": "did you mean slurm?",
}

# What a gin file holds, and what the message advises.
FILES = {
    "NUM_TRAIN_STEPS: 5\n": "'NUM_TRAIN_STEPS: 5' is YAML; gin has NAME = value",
    "train:\n  steps: 5\n": "'steps: 5' is YAML; gin has NAME = value",
    "- SEED\n": "is YAML; gin has NAME = value",
    '{\n "SEED": 5}\n': "is JSON; gin has NAME = value",
    "[train]\nSEED = 1\n": "is TOML or INI; gin has NAME = value",
    "export SEED=5\n": "is a command of the shell; gin has NAME = value",
    "--gin.SEED=5\n": "is a flag of the command line; gin has NAME = value",
    "def seed():\n  pass\n": "is Python; gin has NAME = value",
    "SEED = 1\nSEED = 2\n": ":2: SEED was set on line 1 already; remove one",
    "SEED 5\n": "found 'SEED 5', expected NAME = value",
    "SEED == 5\n": "found 'SEED == 5', expected NAME = value",
    "SEED += 5\n": "found 'SEED += 5', expected NAME = value",
    "SEED = 5;\n": "'5;' is no value; expected one number",
    "WINDOW = 2 * 8\n": "'2 * 8' is no value; expected one number",
    "SEED =\n": "'' is no value; expected one number",
    "TARGETS = peers\n": "a string needs quotes: 'peers'",
    "SAME_DATA = true\n": "otherwise write True",
    "Training:\nseed = 1\n": "put two spaces before it",
}


def refusal(capsys, arguments) -> str:
    """Returns the one message that a command line is refused with."""
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith("lmcodistill")
    assert not [words for words in FOREIGN if words in err]
    return err


@pytest.mark.parametrize("typed", MISTAKES)
def test_mistyped_command_line_says_what_to_write(capsys, monkeypatch, typed):
    monkeypatch.delenv("TF_CONFIG", raising=False)

    err = refusal(capsys, typed.split())

    assert MISTAKES[typed] in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("text", FILES)
def test_mistaken_gin_file_says_what_gin_has(capsys, tmp_path, text):
    path = tmp_path / "my.gin"
    path.write_text(text)

    err = refusal(capsys, ["train", "--gin_file", str(path), STEPS])

    assert f"{path}:" in err
    assert FILES[text] in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", ["", *catalogue.COMMANDS])
def test_help_fits_a_terminal_of_80_columns(capsys, command):
    assert cli.main([*command.split(), "--help"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 80] == []


def test_examples_of_the_overview_work_one_after_the_other(capsys):
    cli.main([])

    lines = capsys.readouterr().out.splitlines()
    [prep] = [line for line in lines if line.startswith("  lmcodistill prep")]
    [train] = [line for line in lines if line.startswith("  lmcodistill train")]
    # What this run file reads; another number of partitions would be refused.
    assert job.load(["runs/quickstart"], []).get(Batches).pooled_partitions == 2
    assert "--gin_file runs/quickstart" in train and "--gin." not in train
    assert prep.endswith("--output_dir DATA --gin.NUM_PARTITIONS=2")


@pytest.mark.parametrize("typed", ["help train", "train help", "train --help"])
def test_help_of_a_command_may_be_asked_for_in_any_order(capsys, typed):
    assert cli.main(typed.split()) == 0

    assert capsys.readouterr().out.startswith("Usage: lmcodistill train [flags]")


def test_version_is_a_word_as_well(capsys):
    assert cli.main(["version"]) == 0

    assert capsys.readouterr().out.startswith("lmcodistill ")
