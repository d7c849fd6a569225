"""absl's functions that define a flag, for the flags of one command.

What a flag may be is said where it is defined, and refused where it is read: numbers
have limits, and a path is the same in every command.
"""

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
    """Reads what was typed, and no files of further flags beside it."""

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

    def __init__(self, flag_values: flags.FlagValues):
        """Takes the flags of the command."""
        self._flag_values = flag_values
        self.bool = functools.partial(flags.DEFINE_bool, flag_values=flag_values)
        self.enum = functools.partial(flags.DEFINE_enum, flag_values=flag_values)
        self.string = functools.partial(flags.DEFINE_string, flag_values=flag_values)
        self.strings = functools.partial(
            flags.DEFINE_multi_string, flag_values=flag_values
        )
        self.list = functools.partial(flags.DEFINE_list, flag_values=flag_values)

    def integer(
        self,
        name: str,
        default: int | None,
        text: str,
        least: int | None = None,
        most: int = _MOST,
    ) -> None:
        """Defines a whole number within limits."""
        flags.DEFINE_integer(
            name, default, text, least, most, flag_values=self._flag_values
        )

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


class _FiniteParser(flags.FloatParser):
    """Neither infinity nor what is no number can be compared with limits."""

    def convert(self, argument: Any) -> float:
        value = super().convert(argument)
        if not math.isfinite(value):
            raise ValueError("expected a finite number")
        return value


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
