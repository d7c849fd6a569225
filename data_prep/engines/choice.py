"""Which engine a run asked for."""

from data_prep import engines
from data_prep.engines import local
from lmcodistill import errors

NAMES = ("local",)


def make(name: str, num_workers: int) -> engines.Engine:
    """Returns the engine called `name`.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in NAMES:
        raise errors.UsageError(
            f"--engine={name} is not available: this version has {', '.join(NAMES)}. "
            "Leave --engine out to use the processes of this machine."
        )
    return local.Local(num_workers)
