"""The folder that some commands take without a flag."""

import pathlib
from collections.abc import Sequence

from lmcodistill import errors
from lmcodistill.commands import command_flags
from lmcodistill.storage import places


def data_folder(arguments: Sequence[str], example: str) -> pathlib.Path:
    """Returns the one data folder among the arguments.

    Args:
        arguments: Of the command, flags apart.
        example: The command as it should be.

    Raises:
        UsageError: there is none, or more than one, or it is a URL.
    """
    return places.local(_only(arguments, "data folder", example), command_flags.COPY_IT)


def run_folder(arguments: Sequence[str], example: str) -> pathlib.Path:
    """Returns the one folder of a run; see `data_folder`."""
    only = _only(arguments, "run's folder", example)
    return places.local(only, "Give an object store as --shared_dir.")


def _only(arguments: Sequence[str], what: str, example: str) -> str:
    if len(arguments) != 1:
        raise errors.UsageError(
            f"{example.split()[0]} takes one {what}; {len(arguments)} were given. "
            f"Example: lmcodistill {example}"
        )
    return arguments[0]
