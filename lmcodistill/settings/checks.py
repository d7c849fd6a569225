"""What all settings share: their refusals, and which fields may change in a run."""

import dataclasses
from collections.abc import Collection
from typing import Any

from lmcodistill import errors

# Metadata of a field that may differ between two starts of the same run.
MAY_CHANGE = {"may_change": True}


def changeable(default: Any) -> Any:
    """Returns a field that may differ between two starts of the same run."""
    return dataclasses.field(default=default, metadata=MAY_CHANGE)


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


def require_field(settings: object, field: str, condition: bool, expected: str) -> None:
    """Refuses settings of which a field cannot work; as `require`."""
    name = f"{type(settings).__name__}.{field}"
    require(condition, name, getattr(settings, field), expected)


def require_choice(settings: object, field: str, choices: Collection[str]) -> None:
    """Refuses settings of which a field is none of `choices`; as `require`."""
    is_one = getattr(settings, field) in choices
    require_field(settings, field, is_one, f"one of {', '.join(sorted(choices))}")


def require_positive(settings: object, *fields: str) -> None:
    """Refuses settings of which one of the fields is not above 0; as `require`."""
    for field in fields:
        is_positive = getattr(settings, field) > 0
        require_field(settings, field, is_positive, "a positive number")


def require_none_negative(settings: object, *fields: str) -> None:
    """Refuses settings of which one of the fields is below 0; as `require`."""
    for field in fields:
        require_field(settings, field, getattr(settings, field) >= 0, "0 or more")


def require_shares(settings: object, *fields: str) -> None:
    """Refuses settings of which one of the fields is no share; as `require`."""
    for field in fields:
        is_share = 0.0 <= getattr(settings, field) <= 1.0
        require_field(settings, field, is_share, "a share between 0 and 1")
