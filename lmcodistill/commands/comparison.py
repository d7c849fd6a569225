"""The comparison that the flags of `compare` ask for: its runs, and its report."""

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
from lmcodistill.commands import tuning_flags
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


def run(flag_values: flags.FlagValues) -> None:
    """Makes the runs and reports; see `compare`."""
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
