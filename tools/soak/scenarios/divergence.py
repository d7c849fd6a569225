"""A scenario of weights that are spoilt, and of a rate that is far too high."""

import pathlib
from typing import Any

import numpy as np

from lmcodistill import errors
from lmcodistill.storage import tensors
from tools.soak.harness import Setup, Survival

STEPS, SAVED_EVERY = 30, 10
# Plain gradient descent without clipping, at a rate that overflows.
WILD: dict[str, Any] = {
    "OPTIMIZER": "sgd",
    "Optimizer__clip_norm": 0.0,
    "LEARNING_RATE": 1e25,
}


def not_finite_updates(setup: Setup) -> Survival:
    """Spoils all weights at a random update; one run in ten diverges by itself.

    Held where the run goes back and comes to its end, or ends with the code of
    divergence where there is nothing to go back to; and where no export and no
    checkpoint holds a number that is not finite.
    """
    rng, row = setup.rng, Survival()
    counts = {"went back": 0, "gave up": 0, "files looked at": 0}
    for number in range(setup.trials):
        is_wild, update = number % 10 == 9, rng.randint(1, STEPS)
        run = setup.run(
            str(number),
            students=1,
            workers=1 if is_wild else rng.choice((1, 1, 1, 2)),
            TARGETS="none",
            CHECKPOINT_EVERY_STEPS=SAVED_EVERY,
            PUBLISH_EVERY_STEPS=1,
            **(WILD if is_wild else {}),
        )
        fault = {} if is_wild else {"LMCODISTILL_FAULT": f"update.rate@{update}:nan"}
        code, log = run.finish(STEPS, **fault), run.log(0)
        # The update that is spoilt at a checkpoint's step spoils the checkpoint.
        must_end = is_wild or update <= SAVED_EVERY
        spoilt, looked_at = _not_finite(run.run_dir)
        outcome = "gave up" if code == errors.DivergedError.exit_code else "went back"
        counts[outcome] += 1
        counts["files looked at"] += looked_at
        held = not spoilt and (code == errors.DivergedError.exit_code) == must_end
        held &= must_end or (code == 0 and "event=rolling_back" in log)
        row.note(held, update=update, wild=is_wild, code=code, spoilt=spoilt)
    row.notes |= counts
    return row


def _not_finite(folder: pathlib.Path) -> tuple[list[str], int]:
    """Returns which exports and checkpoints hold no numbers, of how many."""
    bundles = sorted(folder.rglob("*.index"))
    spoilt = []
    for bundle in bundles:
        values = tensors.read(bundle.with_suffix("")).values()
        if not all(np.isfinite(value).all() for value in values):
            spoilt.append(str(bundle.relative_to(folder)))
    return spoilt, len(bundles)
