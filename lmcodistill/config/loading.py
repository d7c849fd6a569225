"""From gin files and bindings to the settings of one command.

    settings = loading.load(gin_files, bindings, classes, "defaults/train.gin")
    batches = settings.get(training.Batches)

`reader` turns files into statements with gin's parser, `resolve` statements into
values, and each dataclass is built from its values, once. A run keeps the same
values as its `config.gin`.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from lmcodistill import errors
from lmcodistill.config import reader, resolve, shipped
from lmcodistill.settings import checks, model
from lmcodistill.settings import classes as settings_classes

_HEAD = """\
# Every setting of a run, with all includes and knobs resolved, and where each was
# set. Written by lmcodistill; repeat the run with --gin_file=THIS_FILE.
"""

Settings = TypeVar("Settings")


class Config:
    """The settings of one command.

    Attributes:
        text: All of them as a flat gin file, `Class.field = literal  # where it was
            set`, sorted.
        literals: The value of each `Class.field` as gin text.
        origins: Where each was set: `runs/quickstart.gin:12`, `--gin.SEED=3` or
            `default`.
    """

    def __init__(self, fields_by_class: Mapping[type, Mapping[str, resolve.Setting]]):
        """Builds the dataclasses; raises UsageError where one refuses its values."""
        settings = {
            f"{cls.__name__}.{name}": setting
            for cls, fields in fields_by_class.items()
            for name, setting in fields.items()
        }
        self.origins = {name: settings[name].where for name in sorted(settings)}
        self.literals = {name: repr(settings[name].value) for name in self.origins}
        lines = [
            f"{name} = {literal}  # {self.origins[name]}\n"
            for name, literal in self.literals.items()
        ]
        self.text = _HEAD + "".join(lines)
        self._instances: list[Any] = [
            self._build(cls, fields) for cls, fields in fields_by_class.items()
        ]

    def get(self, cls: type[Settings]) -> Settings:
        """Returns the filled dataclass `cls`, one of those given to `load`."""
        return next(x for x in self._instances if isinstance(x, cls))

    def _build(
        self, cls: type[Settings], fields: Mapping[str, resolve.Setting]
    ) -> Settings:
        try:
            return cls(**{name: setting.value for name, setting in fields.items()})
        except errors.UsageError as error:
            # The refusal begins with the field; the operator also needs the place.
            where = self.origins.get(str(error).partition(" ")[0], "default")
            place = "" if where == "default" else f"{where}: "
            raise errors.UsageError(f"{place}{error}") from None

    def refused_changes(
        self, old_text: str
    ) -> list[tuple[str, str | None, str | None]]:
        """Returns the settings that were others when a run was begun, and must not be.

        A schedule's end that was the end of training, and is, is none of them. A
        setting that the old text lacks had its default: an older version, which
        did not know it yet, wrote that text.

        Returns:
            Of each `Class.field`, the value of then and of now as gin text; None
            where the old text does not set it and it has no default, or where there
            is no such setting now.

        Raises:
            UsageError: it is damaged.
        """
        return [
            (name, *values)
            for name, values in self._changes(old_text).items()
            if name not in self.moved_ends(old_text)
        ]

    def moved_ends(self, old_text: str) -> dict[str, tuple[str | None, str | None]]:
        """Returns the ends of schedules that move with the end of training.

        Of each `Class.field`, the value of then and of now; see `refused_changes`.
        """
        old = self._old(old_text)
        followed = {
            f"{cls.__name__}.{field.name}": target
            for cls in map(type, self._instances)
            for field in dataclasses.fields(cls)
            if (target := checks.follows(cls, field.name))
        }
        return {
            name: values
            for name, values in self._changes(old_text).items()
            if (target := followed.get(name))
            and values == (old.get(target), self.literals.get(target))
        }

    def _changes(self, old_text: str) -> dict[str, tuple[str | None, str | None]]:
        """Returns the old and the new value of settings that may not simply change."""
        old = self._old(old_text)
        may_change = {
            f"{cls.__name__}.{field.name}"
            for cls in map(type, self._instances)
            for field in dataclasses.fields(cls)
            if checks.may_change(cls, field.name)
        }
        return {
            name: (old.get(name), self.literals.get(name))
            for name in sorted((old.keys() | self.literals.keys()) - may_change)
            if old.get(name) != self.literals.get(name)
        }

    def _old(self, text: str) -> dict[str, str]:
        """Returns the settings of the run, which had defaults where it has none."""
        old: dict[str, str] = {}
        for cls in map(type, self._instances):
            for field in dataclasses.fields(cls):
                name = f"{cls.__name__}.{field.name}"
                if field.default is not dataclasses.MISSING:
                    old[name] = repr(field.default)
        return old | reader.read_flat(text)


def load(
    gin_files: Sequence[str],
    bindings: Sequence[str],
    classes: Sequence[type],
    default: str,
    families: Mapping[str, type] = model.BUILT_IN,
) -> Config:
    """Reads a command's settings; what comes later wins.

    Args:
        gin_files: Paths, or names of shipped files.
        bindings: `NAME=VALUE` of each `--gin.NAME=VALUE`.
        classes: The dataclasses that the command reads; for `ModelConfig` that of
            the chosen family.
        default: The shipped file that is read first, `defaults/train.gin`.
        families: The configurations of the model families that there are, by name;
            commands that build no model need no others than the built-in ones.

    Raises:
        UsageError: something in them cannot be used, is read by nothing, or is
            left blank.
    """
    return Config(resolved(gin_files, bindings, classes, default, families))


def resolved(
    gin_files: Sequence[str],
    bindings: Sequence[str],
    classes: Sequence[type],
    default: str,
    families: Mapping[str, type] = model.BUILT_IN,
    may_be_blank: bool = False,
) -> dict[type, dict[str, resolve.Setting]]:
    """Returns what `load` builds the settings from; see `resolve.resolve`."""
    first = shipped.root() / default
    statements = reader.read_file(first, first)
    for name in gin_files:
        read = reader.read_file(reader.find_file(name), first)
        _refuse_other_command(name, read, default)
        statements.extend(read)
    statements.extend(reader.read_binding(binding) for binding in bindings)
    every = {*settings_classes.ALL, *classes, *families.values()}
    known = {cls.__name__: cls for cls in every - {model.ModelConfig}}
    return resolve.resolve(statements, classes, known, families, may_be_blank)


def _refuse_other_command(
    name: str, statements: Sequence[reader.Statement], default: str
) -> None:
    """Refuses a file that begins with other defaults than those of the command."""
    for statement in statements:
        file = pathlib.PurePath(statement.where.rpartition(":")[0])
        is_first = file.parent.name == "defaults" and shipped.find(str(file))
        if is_first and not statement.is_default:
            raise errors.UsageError(
                f"--gin_file={name} is for `lmcodistill {file.stem}`, whose defaults "
                f"it includes; this command begins with {default}. `lmcodistill "
                "configs list` says what each file is for."
            )
