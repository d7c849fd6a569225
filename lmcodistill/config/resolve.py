"""From statements to the value of every field, and to every refusal.

The last statement about a name wins, as in gin, but nothing is dropped in
silence: a name nobody knows, a knob nobody reads, a blank nobody filled and a
value of the wrong type each stop the program, and say where they stand.
"""

import dataclasses
import difflib
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmcodistill import errors
from lmcodistill.config import reader, shipped, values

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
    statements: Statements, classes: Sequence[type], known: Mapping[str, type]
) -> dict[type, dict[str, Setting]]:
    """Returns the setting of every field of `classes`.

    Args:
        statements: In the order of reading.
        classes: The dataclasses that the command reads.
        known: Every dataclass that gin files may bind, by name.

    Raises:
        UsageError: a statement cannot be used, or a blank is left.
    """
    if len(statements) > MAX_STATEMENTS:
        raise errors.UsageError(
            f"{statements[MAX_STATEMENTS].where}: more than {MAX_STATEMENTS:,} "
            "settings; nobody meant them all."
        )
    read_names = {cls.__name__ for cls in classes}
    for statement in statements:
        _check_target(statement, read_names, known)
    macros = {s.target: s for s in statements if _is_macro(s.target)}
    bound = {s.target: s for s in statements if not _is_macro(s.target)}
    for statement in statements:
        for name in _mentions(statement.value):
            if name not in macros:
                hint = shipped.did_you_mean(name, list(macros))
                raise errors.UsageError(
                    f"{statement.where}: %{name} is set nowhere{hint}."
                )
    bindings = [s for s in bound.values() if _class_of(s.target) in read_names]
    _refuse_unread(statements, bindings, macros)
    return _Reader(bound, macros).read(classes)


def defaults(cls: Any) -> dict[str, Setting]:
    """Returns the settings of those fields of a class that have a default."""
    return {
        field.name: Setting(field.default, "default")
        for field in dataclasses.fields(cls)
        if field.default is not dataclasses.MISSING
    }


def _check_target(
    statement: reader.Statement, read_names: set[str], known: Mapping[str, type]
) -> None:
    if _is_macro(statement.target):
        return
    class_name, field = statement.target.rpartition(".")[::2]
    if class_name not in known:
        # A class that has the field is the likelier one.
        having = [n for n, cls in known.items() if field in _fields_of(cls)]
        near = difflib.get_close_matches(class_name, having, 1, 0.0)
        hint = shipped.did_you_mean(class_name, list(known))
        hint = f" (did you mean {near[0]}?)" if near else hint
        raise errors.UsageError(
            f"{statement.where}: there is no settings class {class_name}{hint}."
        )
    fields = _fields_of(known[class_name])
    if field not in fields:
        hint = shipped.did_you_mean(field, list(fields))
        raise errors.UsageError(
            f"{statement.where}: {class_name} has no field {field}{hint}."
        )
    # The command's own defaults may serve other commands too.
    if class_name not in read_names and not statement.is_default:
        raise errors.UsageError(
            f"{statement.where}: this command does not read {class_name}. Remove "
            f"the binding; this command reads {', '.join(sorted(read_names))}."
        )


def _refuse_unread(
    statements: Statements,
    bindings: Statements,
    macros: Mapping[str, reader.Statement],
) -> None:
    """Refuses knobs that decide nothing: usually a typing mistake.

    A later binding of a field may make a knob idle, which is how a field is
    overridden. A knob that is set after such a binding was meant to decide.
    """
    reads = _reads(statements)
    live = _closure(bindings, reads)
    order = {id(s): index for index, s in enumerate(statements)}
    final = {s.target: s for s in bindings}
    closures = [(s, _closure([s], reads)) for s in statements if s.target in final]
    lines: list[str] = []
    for name, macro in macros.items():
        if name in live or macro.is_default or len(lines) == _MAX_LINES:
            continue
        readers = [s.target for s, closure in closures if name in closure]
        overriding = [
            final[t] for t in readers if order[id(final[t])] < order[id(macro)]
        ]
        if overriding:
            target = overriding[0].target
            lines.append(
                f"{macro.where}: decides nothing, because {overriding[0].where} sets "
                f"{target} itself; give --gin.{target}=... instead."
            )
        elif not readers:
            hint = shipped.did_you_mean(name, [n for n in live if n in macros])
            lines.append(f"{macro.where}: nothing reads {name}{hint}.")
    if lines:
        raise errors.UsageError("\n  ".join(lines))


def _reads(statements: Statements) -> dict[str, set[str]]:
    """Returns which knobs each knob reads itself, by any of its statements."""
    reads: dict[str, set[str]] = {}
    for statement in statements:
        if _is_macro(statement.target):
            reads.setdefault(statement.target, set()).update(_mentions(statement.value))
    return reads


def _closure(start: Statements, reads: Mapping[str, set[str]]) -> set[str]:
    """Returns the knobs that `start` reads, directly or through other knobs."""
    found: set[str] = set()
    todo = [name for s in start for name in _mentions(s.value)]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo.extend(reads.get(name, ()))
    return found


class _Reader:
    """Reads fields, following knobs to their values."""

    def __init__(
        self,
        bound: Mapping[str, reader.Statement],
        macros: Mapping[str, reader.Statement],
    ):
        self._bound = bound
        self._macros = macros
        self._blanks: list[str] = []
        self._expanded = 0

    def read(self, classes: Sequence[type]) -> dict[type, dict[str, Setting]]:
        found = {cls: self._read_class(cls) for cls in classes}
        if self._blanks:
            lines = list(dict.fromkeys(self._blanks))
            if len(lines) > _MAX_LINES:
                lines[_MAX_LINES:] = [f"And {len(lines) - _MAX_LINES} more."]
            raise errors.UsageError("\n  ".join(lines))
        return found

    def _read_class(self, cls: type) -> dict[str, Setting]:
        annotations = typing.get_type_hints(cls)
        found = defaults(cls)
        for field in _fields_of(cls).values():
            target = f"{cls.__name__}.{field.name}"
            binding = self._bound.get(target)
            if binding is not None:
                setting = self._follow(target, binding)
                if setting is not None:
                    found[field.name] = _conformed(
                        target, binding, setting, annotations[field.name]
                    )
            elif field.name not in found:
                self._blank(target)
        return found

    def _follow(self, target: str, binding: reader.Statement) -> Setting | None:
        """Returns what a binding comes to, or None when a blank is left."""
        origin = binding
        value = binding.value
        chain = [target]
        while isinstance(value, reader.Macro):
            if value.name in chain:
                loop = " -> ".join((*chain[chain.index(value.name) :], value.name))
                raise errors.UsageError(f"{origin.where}: {loop} reads itself.")
            chain.append(value.name)
            origin = self._macros[value.name]
            value = origin.value
        if value is reader.REQUIRED:
            self._blank(chain[-1], origin.where)
            return None
        blanks = len(self._blanks)
        expanded = self._expand(value, tuple(chain), origin)
        if len(self._blanks) > blanks:
            return None
        return Setting(expanded, origin.where)

    def _expand(
        self, value: object, chain: tuple[str, ...], origin: reader.Statement
    ) -> object:
        """Returns a literal with the knobs inside it replaced."""
        self._expanded += 1
        if self._expanded > MAX_VALUES:
            raise errors.UsageError(
                f"{origin.where}: {chain[0]} comes to more than {MAX_VALUES:,} values."
            )
        if len(chain) > reader.MAX_NESTING:
            raise errors.UsageError(f"{origin.where}: {chain[0]} nests too deeply.")
        if isinstance(value, tuple | list):
            return type(value)(self._expand(v, chain, origin) for v in value)
        if isinstance(value, dict):
            return {k: self._expand(v, chain, origin) for k, v in value.items()}
        if isinstance(value, reader.Macro):
            if value.name in chain:
                raise errors.UsageError(f"{origin.where}: {value.name} reads itself.")
            inner = self._macros[value.name]
            return self._expand(inner.value, (*chain, value.name), inner)
        if value is reader.REQUIRED:
            self._blank(chain[-1], origin.where)
        return value

    def _blank(self, name: str, where: str = "") -> None:
        left_open = f" ({where} leaves it open)" if where else ""
        self._blanks.append(f"{name} must be given: add --gin.{name}=...{left_open}.")


def _conformed(
    target: str, binding: reader.Statement, setting: Setting, annotation: Any
) -> Setting:
    try:
        return Setting(values.conform(setting.value, annotation), setting.where)
    except values.MismatchError:
        knob = ""
        if setting.where != binding.where:
            knob = f" (which reads the knob at {binding.where})"
        raise errors.UsageError(
            f"{setting.where}: {target}{knob} needs {values.describe(annotation)}, "
            f"found {values.found(setting.value)}."
        ) from None


def _is_macro(target: str) -> bool:
    return "." not in target


def _class_of(target: str) -> str:
    return target.rpartition(".")[0]


def _fields_of(cls: Any) -> dict[str, dataclasses.Field]:
    return {field.name: field for field in dataclasses.fields(cls)}


def _mentions(value: object) -> Iterator[str]:
    """Yields the names of the knobs inside a value."""
    if isinstance(value, reader.Macro):
        yield value.name
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _mentions(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _mentions(key)
            yield from _mentions(item)
