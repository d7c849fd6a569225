"""What all settings share: their refusals, and which fields may change in a run.

A field says beside its default which values can work, and `Checked` refuses others.
"""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any

from lmcodistill import errors


@dataclasses.dataclass(frozen=True)
class Checked:
    """Settings that refuse values that cannot work, before a run starts.

    A class that has to compare fields does so in its own `__post_init__`.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if "is_sound" in field.metadata:
                is_sound = bool(field.metadata["is_sound"](getattr(self, field.name)))
                self._require(field.name, is_sound, field.metadata["expected"])

    def _require(self, field: str, condition: bool, expected: str) -> None:
        """Refuses the settings for a field's value; as `require`."""
        name = f"{type(self).__name__}.{field}"
        require(condition, name, getattr(self, field), expected)


def limited(
    default: Any,
    is_sound: Callable[[Any], object],
    expected: str,
    **metadata: bool | str,
) -> Any:
    """Returns a field of a `Checked`.

    Args:
        default: Its default; `dataclasses.MISSING` for none.
        is_sound: Whether a value can work.
        expected: Which values can, in words.
        **metadata: `may_change`: two starts of the same run may differ in it;
            `follows`: name of a field, `Class.field`, that it may change with, having
            its value before and after; `later`: see `prep.later_settings`.
    """
    checks = {"is_sound": is_sound, "expected": expected}
    return dataclasses.field(default=default, metadata=checks | metadata)


def positive(default: Any, **metadata: bool) -> Any:
    """Returns a field for a number above 0; see `limited`."""
    return limited(default, lambda value: value > 0, "a positive number", **metadata)


def not_negative(default: Any, **metadata: bool | str) -> Any:
    """Returns a field for a number that is 0 or more; see `limited`."""
    return limited(default, lambda value: value >= 0, "0 or more", **metadata)


def share(default: float) -> Any:
    """Returns a field for a share; see `limited`."""
    return limited(default, lambda x: 0.0 <= x <= 1.0, "a share between 0 and 1")


def choice(default: str, choices: Collection[str], **metadata: bool) -> Any:
    """Returns a field for one of some words; see `limited`."""
    expected = f"one of {', '.join(sorted(choices))}"
    return limited(default, lambda value: value in choices, expected, **metadata)


def may_change(cls: type, name: str) -> bool:
    """Returns whether a run may go on with another value of a dataclass's field."""
    return any(
        field.name == name and field.metadata.get("may_change", False)
        for field in dataclasses.fields(cls)
    )


def follows(cls: type, name: str) -> str | None:
    """Returns the field, `Class.field`, that a dataclass's field may change with."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    return fields[name].metadata.get("follows")


def require(condition: bool, name: str, value: object, expected: str) -> None:
    """Refuses a setting whose value cannot work.

    Raises:
        UsageError: `condition` is false.
    """
    if not condition:
        shown = repr(value)
        shown = shown if len(shown) <= 100 else f"{shown[:97]}..."
        raise errors.UsageError(f"{name} = {shown} cannot work: expected {expected}.")
