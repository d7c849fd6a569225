"""Scenarios of a damaged checkpoint and of another number of workers."""

import pathlib
from typing import Any

import numpy as np

from lmcodistill import errors
from lmcodistill.settings import training
from lmcodistill.storage import publication
from lmcodistill.training import checkpoints
from tests.support import spoilt_exports
from tools.soak.harness import Setup, Survival, TinyRun

STEPS = (10, 20, 30)


def damaged_checkpoint(setup: Setup) -> Survival:
    """The newest checkpoint is damaged; the one before it serves, whole."""
    rng, row = setup.rng, Survival()
    owner = publication.Owner(1, lambda: None)
    settings = training.Training(num_train_steps=100, keep_checkpoints=len(STEPS))
    for number in range(setup.trials):
        folder = setup.work / str(number)
        for step in STEPS:
            values = {"model/a": np.full((50, 7), step, np.float32)}
            checkpoints.save(folder, step, values, {}, settings, owner=owner)
        last = publication.committed(folder, checkpoints.PREFIX)[-1]
        newest = folder / last.path.name
        names = sorted(p for p in newest.rglob("*") if p.is_file())
        damage = rng.choice(sorted(spoilt_exports.DAMAGES))
        spoilt = rng.choice(names)
        before = spoilt.read_bytes()
        spoilt_exports.DAMAGES[damage](spoilt, rng)
        row.note(
            _is_one_of_ours(folder),
            damage=damage,
            file=spoilt.name,
            was=len(before),
        )
    return row


def _is_one_of_ours(folder: pathlib.Path) -> bool:
    """Returns whether what a restart goes on from is a whole checkpoint."""
    try:
        checkpoint = checkpoints.newest(folder)
        if checkpoint is None:
            return False
        values, _ = checkpoints.load(checkpoint)
    except errors.SnapshotError:
        return False
    # The newest may still be whole: white space after a digest means nothing.
    return checkpoint.step >= 20 and bool((values["model/a"] == checkpoint.step).all())


def changed_worker_count(setup: Setup) -> Survival:
    """Each start has another number of workers; the losses are those of one run."""
    rng, row = setup.rng, Survival()
    knobs: dict[str, Any] = {"TARGETS": "none", "REPORT_EVERY_STEPS": 1}
    calm = setup.run("calm", students=1, **knobs)
    calm.finish(10 * (setup.trials + 1))
    changing, workers = setup.run("run", students=1, **knobs), 1
    for number in range(setup.trials + 1):
        changing.workers = workers
        code = changing.finish(10 * (number + 1))
        pairs = list(zip(_losses(calm), _losses(changing), strict=False))
        worst = max((abs(a - b) for a, b in pairs), default=9.9)
        # The sums of another number of workers are rounded otherwise.
        held = code == 0 and len(pairs) == 10 * (number + 1) and worst < 2e-3
        if number:
            row.note(held, workers=workers, code=code, worst=worst)
        row.notes["largest_difference"] = worst
        workers = rng.choice([w for w in (1, 2, 4) if w != workers])
    return row


def _losses(run: TinyRun) -> list[float]:
    return [report["cross_entropy"] for report in run.reports(0)]
