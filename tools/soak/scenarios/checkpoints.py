"""Rows R23 and R25: a damaged checkpoint, and another number of workers."""

import json
import pathlib
import random
from typing import Any

import numpy as np

from lmcodistill import errors
from lmcodistill.settings import training
from lmcodistill.storage import publication
from lmcodistill.training import checkpoints
from tests.support import spoilt_exports
from tools.soak.harness import Row, TinyRun

STEPS = (10, 20, 30)


def r23(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """The newest checkpoint is damaged; the one before it serves, whole."""
    rng, row = random.Random(seed), Row("R23")
    owner = publication.Owner(1, lambda: None)
    settings = training.Training(num_train_steps=100, keep_checkpoints=len(STEPS))
    for number in range(trials):
        folder = work / f"R23-{number}"
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
        found = checkpoints.newest(folder)
        if found is None:
            return False
        values, _ = checkpoints.load(found)
    except errors.SnapshotError:
        return False
    # The newest may still be whole: white space after a digest means nothing.
    return found.step >= 20 and bool((values["model/a"] == found.step).all())


def r25(seed: int, trials: int, data: pathlib.Path, work: pathlib.Path) -> Row:
    """Each start has another number of workers; the losses are those of one run."""
    rng, row = random.Random(seed), Row("R25")
    knobs: dict[str, Any] = {"TARGETS": "none", "REPORT_EVERY_STEPS": 1}
    calm = TinyRun(data, work / "R25-calm", students=1, **knobs)
    calm.finish(10 * (trials + 1))
    changing, workers = TinyRun(data, work / "R25", students=1, **knobs), 1
    for number in range(trials + 1):
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
    lines = (run.folder(0) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(x)["cross_entropy"] for x in lines if '"train"' in x]
