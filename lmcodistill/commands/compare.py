r"""Train in several ways, and say which is better for your model and data.

Every arm is one way to train; the baseline is one group on the labels alone.
Arms begin with the same weights and read their text in the same order, seed by seed,
so that their differences are compared in pairs; the next seed has other weights and
another order. Each run is a `lmcodistill train` of its
own under --output_dir; runs that have ended are not made again, and one that was
stopped goes on. The report corrects for the number of arms, says "no difference
that matters" where the seeds show that there is none, and "not shown" where they
show nothing. --reference compares any arm with any other.

Examples:
  lmcodistill compare --gin_file runs/quickstart --data_dir DATA \
    --output_dir OUT --arms codistilled,double_batch,ensemble --seeds 3
  lmcodistill compare --gin_file runs/quickstart --data_dir DATA \
    --output_dir OUT --delays 0,50,500 --seeds 3 --at_once 4
  lmcodistill compare --gin_file runs/quickstart --data_dir DATA --output_dir OUT \
    --arms codistilled,codistilled_same_data --reference codistilled_same_data
  lmcodistill compare --gin_file runs/quickstart --data_dir DATA \
    --output_dir OUT --variant 'gentle=codistilled DISTILLATION_WEIGHT=0.3'
"""

import json
import pathlib
import signal
import types
from collections.abc import Sequence

import rich.console
import rich.table
from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags
from lmcodistill.config import loading
from lmcodistill.data import shards
from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import page, results, runs, schedule, verdicts
from lmcodistill.settings import codistillation, training
from lmcodistill.storage import files
from lmcodistill.training import job


def define_flags(define: command_flags.Definer) -> None:
    """Defines what is compared, how often, and where it goes."""
    define.string("data_dir", None, "The data folder that prep made.")
    define.string(
        "output_dir",
        None,
        "Where runs and report go; given again, the comparison goes on there.",
    )
    define.list(
        "arms",
        ["codistilled"],
        "What is compared with the baseline: double_batch, double_steps, independent, "
        "ensemble, codistilled, codistilled_ensemble, codistilled_same_data, ema, "
        "codistilled_ema, uniform_smoothing, unigram_smoothing, two_phase, "
        "weight_averaging; where every group reads the text of all students: pooled, "
        "pooled_double_batch, pooled_ema, pooled_independent, pooled_ensemble, "
        "codistilled_same_text, pooled_two_phase, chain; or `all`.",
    )
    define.list(
        "batch_factors", [], "Also one group with its batch times each of these."
    )
    define.list(
        "delays",
        [],
        "Also codistillation with teachers of exactly these ages, in steps.",
    )
    define.list(
        "reload_periods",
        [],
        "Also codistillation with an exchange every so many steps.",
    )
    define.string(
        "reference",
        arms_lib.BASELINE,
        "The arm that all others are compared with, seed by seed.",
    )
    define.strings("variant", [], "Also an arm of your own: 'NAME=ARM KNOB=VALUE ...'.")
    define.integer(
        "seeds",
        3,
        "Repetitions with other first weights and another order of text; below 3 "
        "little can be said.",
        1,
    )
    define.integer("students", 2, "Students that teach each other.", 2)
    define.integer("workers_per_student", 1, "Processes of each student.", 1)
    define.integer(
        "at_once",
        0,
        "Processes side by side, all runs' together, each with as many cores; at "
        "least as many as the largest run has.",
        0,
    )
    define.float("smoothing_weight", 0.1, "Weight of uniform and unigram smoothing.")
    define.float(
        "average_decay",
        0.99,
        "Of the mean of the weights in the arms called ema: about the last hundred "
        "updates, few beside the thousands of a run and many beside the noise of one.",
        0.5,
    )
    define.integer(
        "generations", 2, "How many follow the first one, `pooled`, in a chain.", 1, 8
    )


def run(flag_values: flags.FlagValues) -> None:
    """Makes the runs and reports; see the module's text."""
    if not flag_values.data_dir or not flag_values.output_dir:
        raise errors.UsageError(
            "compare needs --data_dir and --output_dir; `lmcodistill compare --help` "
            "has examples."
        )
    loaded = job.load(flag_values.gin_file, flag_values.gin_bindings)
    signal.signal(signal.SIGTERM, _stop)
    known, chosen = _arms(flag_values, loaded)
    settings = _settings(flag_values, loaded)
    trained = arms_lib.needed_runs(chosen, known)
    needed = [
        runs.ArmRun(settings, arm, seed)
        for seed in range(flag_values.seeds)
        for arm in trained
    ]
    # A mistake in the last arm, or in the last seed, must not cost the hours of
    # those before.
    tokens_per_step = {
        run.arm.name: _tokens_per_step(flag_values.gin_file, run.bindings)
        for run in needed[-len(trained) :]
    }
    made = schedule.make_all(needed, flag_values.at_once)
    trials = results.read(chosen, made, tokens_per_step)
    arm_results = results.compare(trials, flag_values.reference)
    sentences = [verdicts.conclusion(result) for result in arm_results[1:]]
    commands = [text for outcome in made.values() for text in outcome.commands]
    page.write(settings.root, arm_results, commands, sentences, loaded.text)
    summary = {
        "reference": flag_values.reference,
        "arms": [
            {**result.to_json(), "verdict": verdicts.finding(result).value}
            for result in arm_results
        ],
        "commands": commands,
        "verdicts": sentences,
    }
    files.write_text(settings.root / "results.json", files.to_json(summary))
    if flag_values.json:
        print(json.dumps(summary))
        return
    console = rich.console.Console()
    for head, row in (
        (verdicts.QUALITY, verdicts.quality_row),
        (verdicts.COST, verdicts.cost_row),
    ):
        # A name that is cut off could be another arm's.
        table = rich.table.Table(*(rich.table.Column(h, overflow="fold") for h in head))
        for result in arm_results:
            table.add_row(*row(result))
        console.print(table)
    for line in (*sentences, f"Wrote {settings.root / 'report.html'}"):
        console.print(line, markup=False, highlight=False)


def _tokens_per_step(gin_files: Sequence[str], bindings: Sequence[str]) -> int:
    """Returns the positions of a run's global batch."""
    batches = job.load(gin_files, bindings).get(training.Batches)
    return batches.global_batch_size * batches.window


def _stop(signum: int, frame: types.FrameType | None) -> None:
    raise errors.StoppedError(
        "stopped on request; the runs were asked to save, and the same command goes on "
        "from there."
    )


def _arms(
    flag_values: flags.FlagValues, loaded: loading.Config
) -> tuple[dict[str, arms_lib.Arm], list[arms_lib.Arm]]:
    """Returns all arms that there are, and those that were asked for."""
    base = arms_lib.Base(
        loaded.get(training.Batches).global_batch_size,
        loaded.get(training.Training).num_train_steps,
        flag_values.students,
        flag_values.smoothing_weight,
        loaded.get(codistillation.Exchange).publish_every_steps,
        flag_values.average_decay,
        flag_values.generations,
    )
    known = arms_lib.standard(base)
    names = list(known) if "all" in flag_values.arms else list(flag_values.arms)
    for flag, make in (
        ("batch_factors", arms_lib.batches),
        ("delays", arms_lib.delayed),
        ("reload_periods", arms_lib.reloading),
    ):
        for number in _numbers(flag_values, flag):
            arm = make(base, number)
            known.setdefault(arm.name, arm)
            names.append(arm.name)
    for text in flag_values.variant:
        arm = arms_lib.variant(text, known)
        known[arm.name] = arm
        names.append(arm.name)
    return known, arms_lib.chosen([*names, flag_values.reference], known)


def _numbers(flag_values: flags.FlagValues, name: str) -> list[int]:
    values: list[str] = getattr(flag_values, name)
    if not all(value.isdecimal() for value in values):
        raise errors.UsageError(
            f"--{name}={','.join(values)}: expected whole numbers, as in --{name}=2,4."
        )
    return [int(value) for value in values]


def _settings(
    flag_values: flags.FlagValues, loaded: loading.Config
) -> runs.ComparisonSettings:
    root = pathlib.Path(flag_values.output_dir).expanduser().resolve()
    if root.exists() and not root.is_dir():
        raise errors.UsageError(f"--output_dir {root} is a file; give a folder.")
    data_dir = pathlib.Path(flag_values.data_dir).expanduser().resolve()
    data = shards.ShardSet(data_dir)
    data.held_out_split("validation")
    for partition in range(flag_values.students):
        data.train_split(partition)
    return runs.ComparisonSettings(
        root=root,
        data_dir=data_dir,
        gin_files=tuple(flag_values.gin_file),
        bindings=tuple(flag_values.gin_bindings),
        workers_per_student=flag_values.workers_per_student,
        streams=loaded.get(training.Training).evaluation_lanes,
        window=loaded.get(training.Batches).window,
        seed=loaded.get(training.Training).seed,
        order_seed=loaded.get(training.Batches).order_seed,
    )
