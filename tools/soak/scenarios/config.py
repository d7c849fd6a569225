"""Scenarios of hostile gin files, and of a run whose configuration was changed.

Both through what `lmcodistill train` does itself, in this process, which would
show if a file ran anything.
"""

import contextlib
import dataclasses
import hashlib
import io
import pathlib
import random
import tempfile
from typing import Any

from lmcodistill import cli, errors
from lmcodistill.config import loading
from lmcodistill.settings import checks, codistillation, model, schedules, training
from lmcodistill.settings import classes as settings_classes
from tests.support import hostile_gin, tiny_run
from tools.soak.harness import LONG, Setup, Survival, TinyRun

# Ordinary lines, so that a trap stands anywhere in a file.
_HARMLESS = (
    "# A comment.",
    "REPORT_EVERY_STEPS = 7",
    "Optimizer.clip_norm = 2.0",
    "include 'models/tiny.gin'",
    "DistillationWeight:\n  ramp_steps = 3",
    "BURN_IN_STEPS = (5)",
    "",
)
_WORDS = (
    *codistillation.TARGETS,
    *codistillation.LOSSES,
    *codistillation.MODES,
    *codistillation.TOPOLOGIES,
    *codistillation.STATES_ON_SWAP,
    *model.COMPUTE_DTYPES,
    *schedules.DECAYS,
    *training.OPTIMIZERS,
)


def hostile_gin_files(setup: Setup) -> Survival:
    """Hostile gin files, all kinds in turn, are read as `train` reads its own."""
    rng, row = setup.rng, Survival()
    names = list(hostile_gin.NAMES)
    _judged(names[0], "{}")  # Whatever this needs is imported now.
    for number in range(setup.trials):
        if number % len(names) == 0:
            rng.shuffle(names)
        name = names[number % len(names)]
        lines = rng.choices(_HARMLESS, k=rng.randrange(6))
        lines.insert(rng.randrange(len(lines) + 1), "{}")
        faults = _judged(name, "\n".join(lines))
        row.note(not faults, file=name, faults=faults)
    row.notes["kinds"] = len(names)
    return row


def _judged(name: str, around: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        given = hostile_gin.lay(name, pathlib.Path(folder), around)
        return hostile_gin.faults_of(*given)


def changed_configuration(setup: Setup) -> Survival:
    """A run goes on after one field of its configuration was changed at random.

    Held where it is refused with both values, and where it is not because the
    field is free to change; and where the run's own file stays as it was.
    """
    rng, row = setup.rng, Survival()
    begun = setup.run("run", students=1, TARGETS="none")
    if begun.finish(2) != 0:
        raise RuntimeError("the run to go on with did not end well")
    flags = tiny_run.bindings(**LONG, NUM_TRAIN_STEPS=2, TARGETS="none")
    bindings = [flag.removeprefix("--gin.") for flag in flags]
    by_name = {cls.__name__: cls for cls in settings_classes.TRAIN.values()}
    kept = begun.folder(0) / "config.gin"
    before, counts = hashlib.sha256(kept.read_bytes()).digest(), {"refused": 0}
    while row.trials < setup.trials:
        name, old, new = _change(rng, bindings)
        code, err = _dry_run(begun, setup.data, [*bindings, f"{name}={new!r}"])
        class_name, _, field = name.partition(".")
        is_free = checks.may_change(by_name[class_name], field)
        outcome = "free" if code == 0 else "refused"
        if code != 0 and "was begun with another configuration" not in err:
            outcome = "refused for itself"  # No run at all has such a value.
        held = (outcome == "free") == is_free
        if outcome == "refused":
            held &= code == errors.UsageError.exit_code
            held &= f"  {name}: was {old!r}, now {new!r}\n" in err
        held &= hashlib.sha256(kept.read_bytes()).digest() == before
        counts[outcome] = counts.get(outcome, 0) + 1
        row.note(held, field=name, old=old, new=new, code=code, said=err[:300])
    row.notes |= counts
    return row


def _change(rng: random.Random, bindings: list[str]) -> tuple[str, Any, Any]:
    """Returns a field, its value, and another that its class accepts."""
    classes = tuple(settings_classes.TRAIN.values())
    loaded = loading.load([], bindings, classes, "defaults/train.gin")
    while True:
        settings: Any = loaded.get(rng.choice(classes))
        field = rng.choice(dataclasses.fields(settings))
        old = getattr(settings, field.name)
        new = _another(rng, old)
        with contextlib.suppress(errors.UsageError):
            dataclasses.replace(settings, **{field.name: new})
            return f"{type(settings).__name__}.{field.name}", old, new


def _another(rng: random.Random, old: Any) -> Any:
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return old + rng.randint(1, 5)
    if isinstance(old, float):
        return round(old / 2.0 + rng.random() / 10.0 + 0.001, 4)
    if isinstance(old, str):
        return rng.choice([word for word in _WORDS if word != old])
    return (f"/exports/{rng.randrange(9)}",) if old == () else rng.randint(1, 500)


def _dry_run(
    begun: TinyRun, data: pathlib.Path, bindings: list[str]
) -> tuple[int, str]:
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        code = cli.main(
            [
                *("train", "--data_dir", str(data), "--run_dir", str(begun.run_dir)),
                *("--students", "1", "--dry_run"),
                *(f"--gin.{binding}" for binding in bindings),
            ]
        )
    return code, err.getvalue()
