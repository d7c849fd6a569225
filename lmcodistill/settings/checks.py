"""The two refusals that all settings share."""

from collections.abc import Collection

from lmcodistill import errors


def require(condition: bool, name: str, found: object, expected: str) -> None:
    """Refuses a setting whose value cannot work.

    Raises:
        UsageError: `condition` is false.
    """
    if not condition:
        shown = repr(found)
        shown = shown if len(shown) <= 100 else f"{shown[:97]}..."
        raise errors.UsageError(f"{name} = {shown} cannot work: expected {expected}.")


def require_choice(name: str, found: str, choices: Collection[str]) -> None:
    """Refuses a setting that is none of `choices`.

    Raises:
        UsageError: it is not.
    """
    require(found in choices, name, found, f"one of {', '.join(sorted(choices))}")
