"""What knobs and fields mean, read from where they are defined.

A knob is explained by the remark beside its default, a field by the docstring of
its class. `lmcodistill configs explain` and the reference in the guide show it.
"""

import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lmcodistill.config import reader, shipped, values
from lmcodistill.settings import checks

_FIRST_FILES = ("train", "prep")
_KNOB = re.compile(r"([A-Z][A-Z0-9_]*) = (.*?)(?:  # (.*))?")
_ENTRY = re.compile(r"(\w+): (.*)")


class Field(NamedTuple):
    """A field of a settings class.

    Attributes:
        name: `Class.field`.
        default: As gin text; empty where it must be given.
        expected: Its type, and which values can work, in words.
        may_change: Whether a run may go on with another value.
        text: What it sets.
    """

    name: str
    default: str
    expected: str
    may_change: bool
    text: str


class Knob(NamedTuple):
    """A name in capitals that a command's first gin file defines.

    Attributes:
        name: The knob.
        command: `train` or `prep`.
        default: As gin text; empty where it must be given.
        remark: What it sets, in a few words; may be empty.
        sets: The fields that read it, directly or through other knobs.
    """

    name: str
    command: str
    default: str
    remark: str
    sets: tuple[str, ...]


def fields(cls: type) -> list[Field]:
    """Returns the fields of a settings class, in order."""
    texts = _attributes(cls)
    annotations = typing.get_type_hints(cls)
    return [
        Field(
            f"{cls.__name__}.{field.name}",
            "" if field.default is dataclasses.MISSING else repr(field.default),
            _expected(annotations[field.name], field.metadata.get("expected", "")),
            checks.may_change(cls, field.name),
            texts.get(field.name, ""),
        )
        for field in dataclasses.fields(typing.cast(typing.Any, cls))
    ]


def summary(cls: type) -> str:
    """Returns the first paragraph of a class's docstring as one line."""
    first, _, _ = inspect.cleandoc(cls.__doc__ or "").partition("\n\n")
    return " ".join(first.split())


def knobs() -> list[Knob]:
    """Returns every knob of every command, in the order of their files."""
    return [knob for command in _FIRST_FILES for knob in _knobs_of(command)]


def users_of(name: str) -> dict[str, str]:
    """Returns the shipped files, but the first ones, that set a name, and to what."""
    assignment = re.compile(rf"{re.escape(name)} = (.*?)(?:  #.*)?")
    found = {}
    for file in shipped.names():
        text = (shipped.root() / f"{file}.gin").read_text(encoding="utf-8")
        lines = list(filter(None, map(assignment.fullmatch, text.splitlines())))
        if lines and not file.startswith("defaults/"):
            found[file] = lines[-1][1]
    return found


def _knobs_of(command: str) -> Iterator[Knob]:
    path = shipped.root() / f"defaults/{command}.gin"
    statements = reader.read_file(path, path)
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := _KNOB.fullmatch(line):
            name, default, remark = match.groups("")
            default = "" if default == repr(reader.REQUIRED) else default
            sets = tuple(_readers(name, statements))
            yield Knob(name, command, default, remark, sets)


def _readers(name: str, statements: Sequence[reader.Statement]) -> Iterator[str]:
    """Yields the fields whose value is a knob, or a knob that is this one."""
    for statement in statements:
        if statement.value == reader.Macro(name):
            if "." in statement.target:
                yield statement.target
            else:
                yield from _readers(statement.target, statements)


def _expected(annotation: typing.Any, limits: str) -> str:
    kind = values.describe(annotation)
    return f"{kind}: {limits}" if limits else kind


def _attributes(cls: type) -> dict[str, str]:
    """Returns what a docstring says under `Attributes:`, by the field's name."""
    _, _, part = inspect.cleandoc(cls.__doc__ or "").partition("\nAttributes:\n")
    found: dict[str, list[str]] = {}
    words: list[str] = []
    for line in textwrap.dedent(part).splitlines():
        if match := _ENTRY.fullmatch(line):
            words = found.setdefault(match[1], [match[2]])
        elif line.startswith(" "):
            words.append(line.strip())
    return {name: " ".join(lines) for name, lines in found.items()}
