"""From gin files and bindings to the settings of one command.

    settings = loading.load(gin_files, bindings, classes, "defaults/train.gin")
    batches = settings.get(training.Batches)

`reader` turns files into statements, `resolve` statements into values; gin
itself then reads the flat text of the result, the same that a run keeps as its
`config.gin`, and fills the dataclasses from it.
"""

# gin 0.5.0 uses importlib.util without importing it.
import importlib.util  # noqa: F401
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import gin

from lmcodistill import errors
from lmcodistill.config import reader, resolve, shipped
from lmcodistill.settings import (
    codistillation,
    model,
    planning,
    prep,
    schedules,
    training,
)

TRAIN_SETTINGS = (
    model.LanguageModel,
    schedules.LearningRate,
    schedules.DistillationWeight,
    training.Batches,
    training.Optimizer,
    training.Training,
    codistillation.Distillation,
    codistillation.Exchange,
)

_KNOWN = {
    cls.__name__: cls
    for cls in (*TRAIN_SETTINGS, *prep.PREP_SETTINGS, *planning.PLAN_SETTINGS)
}
for _cls in _KNOWN.values():
    gin.external_configurable(_cls, name=_cls.__name__)

_HEAD = """\
# Every setting of a run, with all includes and knobs resolved. Written by
# lmcodistill; repeat the run with --gin_file=THIS_FILE.
"""

Settings = TypeVar("Settings")


class Difference(NamedTuple):
    """A setting that two configurations disagree on, as gin text.

    Attributes:
        name: `Class.field`.
        old: None where the old text does not set it.
        new: None where the new text does not set it.
    """

    name: str
    old: str | None
    new: str | None


class Config:
    """The settings of one command.

    Attributes:
        text: All of them as a flat gin file, `Class.field = literal`, sorted.
        origins: Where each `Class.field` was set: `runs/quickstart.gin:12`,
            `--gin.SEED=3` or `default`.
    """

    def __init__(self, found: dict[type, dict[str, resolve.Setting]]):
        """Fills the dataclasses.

        Args:
            found: The setting of every field of every class.

        Raises:
            UsageError: a class refuses its values.
        """
        settings = {
            f"{cls.__name__}.{name}": setting
            for cls, fields in found.items()
            for name, setting in fields.items()
        }
        self.origins = {name: settings[name].where for name in sorted(settings)}
        lines = [f"{name} = {settings[name].value!r}\n" for name in self.origins]
        self.text = _HEAD + "".join(lines)
        for cls, fields in found.items():
            self._refuse_what_cannot_work(cls, fields)
        self._instances = _filled_by_gin(self.text, list(found))

    def get(self, cls: type[Settings]) -> Settings:
        """Returns the filled dataclass `cls`, one of those given to `load`."""
        return self._instances[cls]

    def _refuse_what_cannot_work(
        self, cls: type, fields: dict[str, resolve.Setting]
    ) -> None:
        try:
            cls(**{name: setting.value for name, setting in fields.items()})
        except errors.UsageError as error:
            # The refusal begins with the field; the operator also needs the place.
            where = self.origins.get(str(error).partition(" ")[0], "default")
            place = "" if where == "default" else f"{where}: "
            raise errors.UsageError(f"{place}{error}") from None


def load(
    gin_files: Sequence[str],
    bindings: Sequence[str],
    classes: Sequence[type],
    default: str,
) -> Config:
    """Reads a command's settings; what comes later wins.

    Args:
        gin_files: Paths, or names of shipped files.
        bindings: `NAME=VALUE` of each `--gin.NAME=VALUE`.
        classes: The dataclasses that the command reads.
        default: The shipped file that is read first, `defaults/train.gin`.

    Raises:
        UsageError: something in them cannot be used, is read by nothing, or is
            left blank.
    """
    first = shipped.root() / default
    statements = reader.read_file(first, first)
    for name in gin_files:
        statements.extend(reader.read_file(reader.find_file(name), first))
    statements.extend(reader.read_binding(binding) for binding in bindings)
    return Config(resolve.resolve(statements, classes, _KNOWN))


def differences(old_text: str, new_text: str) -> list[Difference]:
    """Returns the settings that differ between two texts of `Config.text`.

    Raises:
        UsageError: a text is damaged.
    """
    old, new = reader.read_flat(old_text), reader.read_flat(new_text)
    return [
        Difference(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _filled_by_gin(text: str, classes: Sequence[type]) -> dict[type, Any]:
    # gin's configuration is global; nothing of one load may reach the next.
    gin.clear_config()
    try:
        gin.parse_config(text)
        return {cls: gin.get_configurable(cls.__name__)() for cls in classes}
    finally:
        gin.clear_config()
