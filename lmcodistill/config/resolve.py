"""From statements to the value of every field, and to every refusal.

The last statement about a name wins, as in gin, but nothing is dropped in
silence: a name nobody knows, a knob nobody reads, a blank nobody filled and a
value of the wrong type each stop the program, and say where they stand.
"""

import dataclasses
import difflib
import itertools
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmcodistill import errors
from lmcodistill.config import other_words, reader, shipped, values
from lmcodistill.settings import model, planning, prep

# A knob that holds another twice, and so on, doubles with each line.
MAX_VALUES = 10_000
MAX_STATEMENTS = 1_000
_MAX_LINES = 4  # Of a refusal that names several mistakes.

Statements = Sequence[reader.Statement]


@dataclasses.dataclass(frozen=True)
class Setting:
    """The value of one field.

    Attributes:
        value: As the dataclass takes it.
        where: Where it was written; "default" if nowhere.
    """

    value: Any
    where: str


def resolve(
    statements: Statements,
    classes: Sequence[type],
    known: Mapping[str, type],
    families: Mapping[str, type],
    may_be_blank: bool = False,
) -> dict[type, dict[str, Setting]]:
    """Returns the setting of every field of `classes`, which the command reads.

    `known` has every dataclass that gin files may bind, `families` the configurations
    of the model families, by name. The statements are in the order of reading.
    A field that was left blank is missing where it `may_be_blank`.

    Raises:
        UsageError: a statement cannot be used, or a blank is left that may not be.
    """
    if len(statements) > MAX_STATEMENTS:
        raise errors.UsageError(
            f"{statements[MAX_STATEMENTS].where}: more than {MAX_STATEMENTS:,} "
            "settings, which is far more than there are fields."
        )
    last = {s.target: s for s in statements}
    macros = {target: s for target, s in last.items() if "." not in target}
    bindings = {target: s for target, s in last.items() if "." in target}
    for statement in statements:
        for name in _mentions(statement.value):
            if name not in macros:
                hint = shipped.did_you_mean(name, list(macros))
                raise errors.UsageError(
                    f"{statement.where}: %{name} is set nowhere{hint}."
                )
    if model.ModelConfig in classes:
        chosen = _chosen_family(bindings, macros, families)
        others = [cls for cls in classes if cls is not model.ModelConfig]
        classes = [model.ModelFamily, chosen, *others]
    read_names = {cls.__name__ for cls in classes}
    for statement in statements:
        if "." in statement.target:
            _check_target(statement, read_names, known)
    live = [s for s in bindings.values() if s.target.rpartition(".")[0] in read_names]
    _refuse_unread(statements, live, macros)
    return _Expansion(macros, may_be_blank).settings(classes, bindings)


def _chosen_family(
    bindings: Mapping[str, reader.Statement],
    macros: Mapping[str, reader.Statement],
    families: Mapping[str, type],
) -> type:
    """Returns the configuration of the model family that is asked for."""
    family = model.ModelFamily
    setting = _Expansion(macros).settings([family], bindings)[family]["name"]
    if setting.value not in families:
        hint = shipped.did_you_mean(setting.value, list(families))
        raise errors.UsageError(
            f"{setting.where}: there is no model family {setting.value!r}{hint}; "
            f"expected one of {', '.join(sorted(families))}."
        )
    return families[setting.value]


def defaults(cls: Any) -> dict[str, Setting]:
    """Returns the settings of those fields of a class that have a default."""
    return {
        field.name: Setting(field.default, "default")
        for field in dataclasses.fields(cls)
        if field.default is not dataclasses.MISSING
    }


def _check_target(
    binding: reader.Statement, read_names: set[str], known: Mapping[str, type]
) -> None:
    """Refuses a field that there is not, or that the command does not read."""
    class_name, _, field = binding.target.rpartition(".")
    fault = ""
    if class_name not in known:
        # A class that has the field is the likelier one.
        having = [name for name, cls in known.items() if field in _fields_of(cls)]
        near = difflib.get_close_matches(class_name, having, 1, 0.0)
        hint = shipped.did_you_mean(class_name, list(known))
        hint = f" (did you mean {near[0]}?)" if near else hint
        fault = f"there is no settings class {class_name}{hint}."
    elif field not in (fields := _fields_of(known[class_name])):
        hint = shipped.did_you_mean(field, fields)
        fault = f"{class_name} has no field {field}{hint}."
    # The command's own defaults may serve other commands too.
    elif class_name not in read_names and not binding.is_default:
        fault = f"this command does not read {class_name}, which is "
        if _is_family(class_name, known) and any(
            _is_family(n, known) for n in read_names
        ):
            fault += (
                "another family's than MODEL_FAMILY says. Remove the binding, or set "
                "MODEL_FAMILY beside it."
            )
        else:
            fault += (
                f"for `lmcodistill {_reader_of(class_name)}`. Remove the binding, or "
                "give a file for this command; it reads "
                f"{', '.join(sorted(read_names))}."
            )
    if fault:
        raise errors.UsageError(f"{binding.where}: {fault}")


def _is_family(class_name: str, known: Mapping[str, type]) -> bool:
    return issubclass(known.get(class_name, object), model.ModelConfig)


def _reader_of(class_name: str) -> str:
    """Returns the command whose settings a class has."""
    commands = {"prep": prep.PREP_SETTINGS, "plan": planning.PLAN_SETTINGS}
    for command, settings in commands.items():
        if class_name in (cls.__name__ for cls in settings):
            return command
    return "train"


def _refuse_unread(
    statements: Statements,
    bindings: Statements,
    macros: Mapping[str, reader.Statement],
) -> None:
    """Refuses knobs that decide nothing: usually a typing mistake.

    A later binding of a field may make a knob idle, which is how a field is
    overridden. A knob that is set after such a binding was meant to decide.
    """
    # Which knobs each knob reads itself, by any of its statements.
    reads: dict[str, set[str]] = {}
    for statement in statements:
        reads.setdefault(statement.target, set()).update(_mentions(statement.value))

    def closure(start: Statements) -> set[str]:
        """Returns the knobs that `start` reads, directly or through other knobs."""
        names: set[str] = set()
        todo = [name for s in start for name in _mentions(s.value)]
        while todo:
            name = todo.pop()
            if name not in names:
                names.add(name)
                todo.extend(reads.get(name, ()))
        return names

    live = closure(bindings)
    order = {id(s): index for index, s in enumerate(statements)}
    final = {s.target: s for s in bindings}
    closures = [
        (final[s.target], closure([s])) for s in statements if s.target in final
    ]
    lines: list[str] = []
    for name, macro in macros.items():
        if name in live or macro.is_default or len(lines) == _MAX_LINES:
            continue
        readers = [binding for binding, names in closures if name in names]
        overriding = [b for b in readers if order[id(b)] < order[id(macro)]]
        if overriding:
            target = overriding[0].target
            lines.append(
                f"{macro.where}: decides nothing, because {overriding[0].where} sets "
                f"{target} itself; give --gin.{target}=... instead."
            )
        elif not readers:
            meant = other_words.KNOBS.get(name.lower(), name)
            hint = shipped.did_you_mean(meant, [n for n in live if n in macros])
            lines.append(f"{macro.where}: nothing reads {name}{hint}.")
    if lines:
        raise errors.UsageError("\n  ".join(lines))


class _Expansion:
    """Follows knobs to their values, and collects the blanks that are left."""

    def __init__(
        self, macros: Mapping[str, reader.Statement], may_be_blank: bool = False
    ):
        self._macros = macros
        self._may_be_blank = may_be_blank
        self._blanks: list[str] = []
        self._count = 0

    def settings(
        self, classes: Sequence[Any], bindings: Mapping[str, reader.Statement]
    ) -> dict[type, dict[str, Setting]]:
        settings = {cls: defaults(cls) for cls in classes}
        for cls, fields in settings.items():
            annotations = typing.get_type_hints(cls)
            for name in _fields_of(cls):
                target = f"{cls.__name__}.{name}"
                blanks = len(self._blanks)
                if target in bindings:
                    setting = self._expand(
                        bindings[target].value, (target,), bindings[target]
                    )
                    if len(self._blanks) == blanks:
                        fields[name] = _conformed(
                            bindings[target], setting, annotations[name]
                        )
                elif name not in fields:
                    self._blank(target)
        if self._blanks and not self._may_be_blank:
            lines = list(dict.fromkeys(self._blanks))
            if len(lines) > _MAX_LINES:
                lines[_MAX_LINES:] = [f"And {len(lines) - _MAX_LINES} more."]
            raise errors.UsageError("\n  ".join(lines))
        return settings

    def _expand(
        self, value: object, chain: tuple[str, ...], origin: reader.Statement
    ) -> Setting:
        """Returns a value with all knobs replaced, and where it was written.

        It stands in `origin`, to which the field and the knobs of `chain` led.
        """
        self._count += 1
        if self._count > MAX_VALUES:
            raise errors.UsageError(
                f"{origin.where}: {chain[0]} comes to more than {MAX_VALUES:,} values."
            )
        if len(chain) > reader.MAX_NESTING:
            raise errors.UsageError(f"{origin.where}: {chain[0]} nests too deeply.")
        if value == reader.REQUIRED:
            self._blank(chain[-1], f" ({origin.where} leaves it open)")
        elif isinstance(value, reader.Macro):
            if value.name in chain:
                loop = " -> ".join((*chain[chain.index(value.name) :], value.name))
                raise errors.UsageError(f"{origin.where}: {loop} reads itself.")
            inner = self._macros[value.name]
            return self._expand(inner.value, (*chain, value.name), inner)
        elif isinstance(value, tuple | list):
            value = type(value)(self._expand(v, chain, origin).value for v in value)
        return Setting(value, origin.where)

    def _blank(self, name: str, left_open: str = "") -> None:
        self._blanks.append(
            f"{name} must be given: add --gin.{name}=... or a gin file that "
            f"sets it{left_open}."
        )


def _conformed(binding: reader.Statement, setting: Setting, annotation: Any) -> Setting:
    try:
        return Setting(values.conform(setting.value, annotation), setting.where)
    except values.MismatchError:
        knob = ""
        if setting.where != binding.where:
            knob = f" (which reads the knob at {binding.where})"
        raise errors.UsageError(
            f"{setting.where}: {binding.target}{knob} needs "
            f"{values.describe(annotation)}, found {values.in_words(setting.value)}."
        ) from None


def _fields_of(cls: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _mentions(value: object) -> Iterator[str]:
    """Yields the names of the knobs inside a value."""
    if isinstance(value, reader.Macro):
        if value != reader.REQUIRED:
            yield value.name
    elif isinstance(value, tuple | list | dict):
        items = itertools.chain(*value.items()) if isinstance(value, dict) else value
        for item in items:
            yield from _mentions(item)
