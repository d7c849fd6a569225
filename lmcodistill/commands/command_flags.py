"""absl's functions that define a flag, for the flags of one command.

What a flag may be is said where it is defined, and refused where it is read: numbers
have limits, and a path is the same in every command.
"""

import difflib
import functools
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from lmcodistill import errors
from lmcodistill.storage import places

# What to do where a data folder's URL was given.
COPY_IT = "Its shards are mapped into memory: copy the folder to a local disk first."
# More would be refused by any machine, in the middle of starting them.
MOST_PROCESSES = 4_096
# Of a text that is read or written at once; memory is what ends it earlier.
MOST_ROWS, MOST_TOKENS = 1 << 16, 1 << 24
# More of anything would be a slip of the key: memory and processes end before.
_MOST = 2**53


class CommandFlags(flags.FlagValues):
    """Reads what was typed, and no files of further flags beside it.

    Attributes:
        headings: Of the groups of flags in the help, each before the flag whose
            number in the order of definition is given.
        required: Names of flags that must be given.
    """

    headings: dict[int, str]
    required: list[str]

    def __init__(self) -> None:
        super().__init__()
        # absl takes every attribute that is set in the usual way for a flag.
        self.__dict__.update(headings={}, required=[])

    def groups(self) -> dict[str, list[flags.Flag]]:
        """Returns the flags by their headings, all in the order of definition."""
        found: dict[str, list[flags.Flag]] = {}
        heading = "Flags"
        for index, name in enumerate(self):
            heading = self.headings.get(index, heading)
            found.setdefault(heading, []).append(self[name])
        return found

    def refuse_missing(self) -> None:
        """Refuses to go on without a flag that must be given.

        Raises:
            UsageError: there is one.
        """
        missing = [f"--{name}" for name in self.required if not self[name].value]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            raise errors.UsageError(
                f"{' and '.join(missing)} {verb} missing; `--help` has examples."
            )

    def read_flags_from_files(
        self, argv: Sequence[str], force_gnu: bool = True
    ) -> list[str]:
        return list(argv)


class Definer:
    """Defines flags among those of one command, and nowhere else.

    Every function takes a name, the default and the help text; `integer` and
    `float` may be given the least and the highest value as well. `path` and
    `place` have no default; nothing need be there.
    """

    def __init__(self, flag_values: CommandFlags):
        """Takes the flags of the command."""
        self._flag_values = flag_values
        self.string = functools.partial(flags.DEFINE_string, flag_values=flag_values)
        self.strings = functools.partial(
            flags.DEFINE_multi_string, flag_values=flag_values
        )
        self.list = functools.partial(flags.DEFINE_list, flag_values=flag_values)

    def heading(self, text: str) -> None:
        """Lets the help show the flags that follow under a heading."""
        self._flag_values.headings[len(self._flag_values)] = text

    def require(self, *names: str) -> None:
        """Lets the command refuse to run without these flags."""
        self._flag_values.required.extend(names)

    def bool(self, name: str, default: bool, text: str) -> None:
        """Defines a switch."""
        flags.DEFINE_bool(name, default, text, flag_values=self._flag_values)
        self._flag_values[name].parser = _SwitchParser()

    def enum(self, name: str, default: str, values: list[str], text: str) -> None:
        """Defines a choice among values."""
        flags.DEFINE_enum(name, default, values, text, flag_values=self._flag_values)
        self._flag_values[name].parser = _ChoiceParser(values)

    def integer(
        self,
        name: str,
        default: int | None,
        text: str,
        least: int | None = None,
        most: int = _MOST,
    ) -> None:
        """Defines a whole number within limits."""
        self._define(_WholeParser(least, most), name, default, text)

    def float(
        self,
        name: str,
        default: float | None,
        text: str,
        least: float | None = None,
        most: float | None = None,
    ) -> None:
        """Defines a finite number within limits."""
        parser = _FiniteParser(least, most)
        self._define(parser, name, default, text)

    def place(self, name: str, text: str) -> None:
        """Defines a path or a URL; its value is a `places.Place`."""
        self._define(_PlaceParser(name), name, None, text)

    def path(self, name: str, text: str, instead: str = "") -> None:
        """Defines a path; `instead` says what to do with a URL."""
        self._define(_PathParser(name, instead), name, None, text)

    def _define(
        self, parser: flags.ArgumentParser[Any], name: str, default: Any, text: str
    ) -> None:
        flags.DEFINE(
            parser,
            name,
            default,
            text,
            self._flag_values,
            flags.ArgumentSerializer(),
        )


class _WholeParser(flags.IntegerParser):
    """Says in our own words what it expected, as the next three do."""

    def parse(self, argument: Any) -> int:
        try:
            return super().parse(argument)
        except (TypeError, ValueError):
            raise ValueError(_expected("a whole number", self)) from None


class _FiniteParser(flags.FloatParser):
    """Neither infinity nor what is no number can be compared with limits."""

    def parse(self, argument: Any) -> float:
        try:
            value = super().parse(argument)
            is_finite = math.isfinite(value)
        except (TypeError, ValueError):
            is_finite = False
        if not is_finite:
            raise ValueError(_expected("a finite number", self))
        return value


class _SwitchParser(flags.BooleanParser):
    """True or false."""

    def parse(self, argument: Any) -> bool:
        try:
            return super().parse(argument)
        except (TypeError, ValueError):
            raise ValueError("expected true or false") from None


class _ChoiceParser(flags.EnumParser):
    """One of some values."""

    def parse(self, argument: str) -> str:
        try:
            return super().parse(argument)
        except ValueError:
            near = difflib.get_close_matches(argument.lower(), self.enum_values, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            expected = ", ".join(self.enum_values)
            raise ValueError(f"expected one of {expected}{hint}") from None


def _expected(kind: str, parser: flags.FloatParser | flags.IntegerParser) -> str:
    """Returns which numbers a parser takes, in words."""
    least, most = parser.lower_bound, parser.upper_bound
    words = f"expected {kind}"
    if least is not None and most not in (None, _MOST):
        return f"{words} from {least} to {most}"
    return words if least is None else f"{words}, {least} or more"


class _PlaceParser(flags.ArgumentParser[Any]):
    """Text becomes a place; none is as if the flag were not there."""

    def __init__(self, name: str):
        self._name = name

    def parse(self, argument: Any) -> Any:
        if isinstance(argument, str):
            return self._parse(argument) if argument else None
        return argument  # A default.

    def flag_type(self) -> str:
        return "path"

    def _parse(self, text: str) -> Any:
        try:
            return self._find(text)
        except errors.UsageError as error:
            raise errors.UsageError(f"--{self._name}: {error}") from error

    def _find(self, text: str) -> places.Place:
        return places.place(text)


class _PathParser(_PlaceParser):
    """As its base, without URLs."""

    def __init__(self, name: str, instead: str):
        super().__init__(name)
        self._instead = instead

    def _find(self, text: str) -> pathlib.Path:
        return places.local(text, self._instead)
