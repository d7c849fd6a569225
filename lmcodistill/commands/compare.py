r"""Train in several ways, and say which is better for your model and data.

Every arm is one way to train; the baseline is one group on the labels alone.
Arms begin with the same weights and read their text in the same order, seed by
seed, so that their differences are compared in pairs; the next seed has other
weights and another order. Each run is a `lmcodistill train` of its own under
--output_dir; runs that have ended are not made again, and one that was stopped
goes on. The report corrects for the number of arms, says "no difference that
matters" where the seeds show that there is none, and "not shown" where they
show nothing. --reference compares any arm with any other. With --tune every arm
is tuned first, at the same cost, on a seed and a half of the validation text
that the comparison does not use. recommended.gin is the best single model at
equal device seconds.

Examples:
  lmcodistill compare --gin_file runs/quickstart --data_dir DATA \
    --output_dir OUT --arms codistilled,double_batch,ensemble --seeds 3
  lmcodistill compare --gin_file runs/quickstart --data_dir DATA \
    --output_dir OUT --delays 0,50,500 --seeds 3 --at_once 4
  lmcodistill compare --gin_file runs/quickstart --data_dir DATA \
    --output_dir OUT --reference pooled \
    --arms pooled,pooled_ensemble,codistilled \
    --tune 'LEARNING_RATE=4e-3,8e-3,16e-3;DROPOUT=0.0,0.2' \
    --tune_arm 'codistilled:DISTILLATION_WEIGHT=0.5,1.0,2.0'
  lmcodistill compare --gin_file runs/quickstart --data_dir DATA \
    --output_dir OUT --reference codistilled_same_data \
    --arms codistilled,codistilled_same_data
  lmcodistill compare --gin_file runs/quickstart --data_dir DATA \
    --output_dir OUT --variant 'gentle=codistilled DISTILLATION_WEIGHT=0.3'
"""

import dataclasses
import json
import pathlib
import shlex
import signal
import types
from collections.abc import Sequence

import rich.console
from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags, tuning_flags
from lmcodistill.config import loading
from lmcodistill.data import shards
from lmcodistill.experiments import arms as arms_lib
from lmcodistill.experiments import (
    page,
    preflight,
    recommendation,
    recommended_file,
    results,
    runs,
    schedule,
    text_parts,
    tried,
    tuning,
    verdicts,
)
from lmcodistill.experiments import trials as trials_lib
from lmcodistill.report import terminal
from lmcodistill.settings import codistillation, training
from lmcodistill.storage import files
from lmcodistill.training import job

# Columns of a terminal's tables whose cells stay in one piece.
_WHOLE = ("arm", "difference (95 %)")


def define_flags(define: command_flags.Definer) -> None:
    """Defines what is compared, how often, and where it goes."""
    define.path("data_dir", "The data folder that prep made.", command_flags.COPY_IT)
    define.path(
        "output_dir",
        "Where runs and report go; given again, the comparison goes on there.",
    )
    define.require("data_dir", "output_dir")
    define.list(
        "arms",
        ["codistilled"],
        "What is compared with the baseline: double_batch, double_steps, asynchronous, "
        "independent, ensemble, codistilled, codistilled_ensemble, "
        "codistilled_same_data, ema, codistilled_ema, uniform_smoothing, "
        "unigram_smoothing, two_phase, "
        "weight_averaging; where every group reads the text of all students: pooled, "
        "pooled_double_batch, pooled_ema, pooled_independent, pooled_ensemble, "
        "codistilled_same_text, pooled_two_phase, chain; or `all`.",
    )
    define.strings("variant", [], "Also an arm of your own: 'NAME=ARM KNOB=VALUE ...'.")
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
        "The arm that all others are compared with, seed by seed; trained with them.",
    )
    define.integer(
        "seeds",
        3,
        "Repetitions with other first weights and another order of text; below 3 "
        "little can be said.",
        1,
        1_000,
    )
    most = command_flags.MOST_PROCESSES
    define.integer("students", 2, "Students that teach each other.", 2, most)
    define.integer("workers_per_student", 1, "Processes of each student.", 1, most)
    define.integer(
        "at_once",
        0,
        "Processes side by side, all runs' together, each with as many cores; at "
        "least as many as the largest run has.",
        0,
    )
    tuning_flags.define(define)
    define.heading("Of single arms")
    define.float(
        "smoothing_weight", 0.1, "Weight of uniform and unigram smoothing.", 0.0
    )
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
    flag_values.refuse_missing()
    loaded = job.load(flag_values.gin_file, flag_values.gin_bindings)
    signal.signal(signal.SIGTERM, _stop)
    known, chosen = _arms(flag_values, loaded)
    settings = _settings(flag_values, loaded)
    trained = arms_lib.needed_runs(chosen, known)
    steps = {
        arm.name: _config(settings, arm, flag_values.seeds - 1)
        .get(training.Training)
        .num_train_steps
        for arm in trained
    }
    tasks, budget = tuning_flags.tasks(flag_values, trained, known, steps)
    tuned: list[tried.Tuned] = []
    if tasks:
        tuned, settings = _tune(flag_values, loaded, settings, tasks)
        known |= {one.arm.name: one.best_arm for one in tuned}
        chosen, trained = ([known[arm.name] for arm in x] for x in (chosen, trained))
    made = schedule.make_all(
        [
            runs.ArmRun(settings, arm, seed, steps[arm.name])
            for seed in range(flag_values.seeds)
            for arm in trained
        ],
        flag_values.at_once,
    )
    tokens_per_step = {
        arm.name: _tokens_of_step(_config(settings, arm, 0)) for arm in trained
    }
    trials = results.read(chosen, made, tokens_per_step)
    arm_results = results.compare(trials, flag_values.reference)
    report = page.ComparisonReport(
        arm_results,
        [verdicts.conclusion(result) for result in arm_results[1:]],
        _recommend(flag_values, settings, arm_results),
        tuned,
        tried.sentences(tuned, budget) if tuned else [],
        [text for outcome in made.values() for text in outcome.commands],
        loaded.text,
    )
    page.write(settings.root, report)
    summary = report.to_json()
    files.write_text(settings.root / "results.json", files.to_json(summary))
    if flag_values.json:
        print(json.dumps(summary))
        return
    _print(report, settings.root / "report.html")


def _config(
    settings: runs.ComparisonSettings, arm: arms_lib.Arm, seed: int
) -> loading.Config:
    """Returns the configuration of a run; refuses what cannot work."""
    return preflight.config_of(settings, runs.ArmRun(settings, arm, seed))


def _tokens_of_step(config: loading.Config) -> int:
    """Returns the positions of a run's global batch."""
    batches = config.get(training.Batches)
    return batches.global_batch_size * batches.window


def _tune(
    flag_values: flags.FlagValues,
    loaded: loading.Config,
    settings: runs.ComparisonSettings,
    tasks: Sequence[tuning.TuningTask],
) -> tuple[list[tried.Tuned], runs.ComparisonSettings]:
    """Returns what was best of each arm, and the settings of the scored runs."""
    if flag_values.seeds > trials_lib.SEED:
        raise errors.UsageError(
            f"--tune tunes on repetition {trials_lib.SEED}, which --seeds="
            f"{flag_values.seeds} would score. Give at most {trials_lib.SEED}."
        )
    periods = loaded.get(training.Training)
    if not periods.evaluate_every_steps:
        raise errors.UsageError(
            "--tune goes by validation reports, and EVALUATE_EVERY_STEPS = 0 makes "
            "none. Give a period."
        )
    data = shards.ShardSet(settings.data_dir)
    first, second = text_parts.halves(
        data.tokens_of(data.held_out_split("validation")),
        data.manifest.end_id,
        periods.evaluation_first_token,
        periods.evaluation_tokens,
    )
    tuner = tuning.Tuner(settings, first, flag_values.at_once)
    for task in tasks:
        for point in task.points:
            preflight.config_of(settings, tuner.trial(task, point))
    later = sum(
        runs.ArmRun(settings, task.arm, 0, task.rungs[-1]).work for task in tasks
    )
    tuned = tuner.tune(tasks, flag_values.seeds * later)
    folders = {one.arm.name: one.folder for one in tuned}
    return tuned, dataclasses.replace(settings, part=second, folders=folders)


def _recommend(
    flag_values: flags.FlagValues,
    settings: runs.ComparisonSettings,
    arm_results: Sequence[results.ArmResult],
) -> dict[str, recommendation.Choice]:
    """Writes what is recommended; returns the choices by the files' names."""
    found = {
        recommended_file.AT_EQUAL_DEVICE_SECONDS: (
            recommendation.at_equal_device_seconds(arm_results, flag_values.students)
        ),
        recommended_file.AT_EQUAL_INFERENCE_COST: (
            recommendation.at_equal_inference_cost(arm_results)
        ),
    }
    choices = {name: choice for name, choice in found.items() if choice}
    for name, choice in choices.items():
        path = settings.root / name
        workers = "--workers_per_student", str(settings.workers_per_student)
        command = [
            f"lmcodistill train --gin_file {shlex.quote(str(path))} \\",
            f"  --students {choice.arm.students} "
            f"{shlex.join([*workers, *choice.arm.flags])} \\",
            f"  --data_dir {shlex.quote(str(settings.data_dir))} --run_dir RUN",
        ]
        recipe = runs.ArmRun(settings, choice.arm, 0).recipe
        files.write_text(
            path,
            recommended_file.text_of(choice, settings.gin_files, recipe, command),
        )
    return choices


def _print(report: page.ComparisonReport, path: pathlib.Path) -> None:
    console = rich.console.Console()
    brief = [verdicts.brief_row(result) for result in report.arm_results]
    tables: list[tuple[Sequence[str], Sequence[tuple[str, ...]]]]
    tables = [(verdicts.BRIEF, brief)]
    if report.tuned:
        tables.insert(0, (tried.BEST_HEAD, tried.best_rows(report.tuned)))
    for head, rows in tables:
        # A name that is folded could be another arm's; nor do numbers fold.
        folded = [
            [
                x if name in _WHOLE else terminal.narrow(x)
                for name, x in zip(head, row, strict=True)
            ]
            for row in rows
        ]
        terminal.show(console, head, folded)
    console.print()
    for line in (*report.all_sentences, f"Wrote {path}"):
        console.print(line, markup=False, highlight=False)


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
    return known, arms_lib.chosen(names, flag_values.reference, known)


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
    root = flag_values.output_dir
    if root.exists() and not root.is_dir():
        raise errors.UsageError(f"--output_dir {root} is a file; give a folder.")
    data = shards.ShardSet(flag_values.data_dir)
    data.held_out_split("validation")
    for partition in range(flag_values.students):
        data.train_split(partition)
    return runs.ComparisonSettings(
        root=root,
        data_dir=flag_values.data_dir,
        gin_files=tuple(flag_values.gin_file),
        bindings=tuple(flag_values.gin_bindings),
        workers_per_student=flag_values.workers_per_student,
        streams=loaded.get(training.Training).evaluation_lanes,
        window=loaded.get(training.Batches).window,
        seed=loaded.get(training.Training).seed,
        order_seed=loaded.get(training.Batches).order_seed,
    )
