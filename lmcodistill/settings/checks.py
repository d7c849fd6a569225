"""What all settings share: two refusals, and which fields may change in a run."""

import dataclasses
from collections.abc import Collection

from lmcodistill import errors

# Metadata of a field that may differ between two starts of the same run.
MAY_CHANGE = {"may_change": True}


def may_change(cls: type, name: str) -> bool:
    """Returns whether a run may go on with another value of a dataclass's field."""
    return any(
        field.name == name and field.metadata.get("may_change", False)
        for field in dataclasses.fields(cls)
    )


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Refuses a setting whose value cannot work.

    Raises:
        UsageError: `condition` is false.
    """
    if not condition:
        shown = repr(value)
        shown = shown if len(shown) <= 100 else f"{shown[:97]}..."
        raise errors.UsageError(f"{name} = {shown} cannot work: expected {expected}.")


def require_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Refuses a setting that is none of `choices`.

    Raises:
        UsageError: it is not.
    """
    require(value in choices, name, value, f"one of {', '.join(sorted(choices))}")
