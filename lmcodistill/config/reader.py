"""From gin files and command-line bindings to a flat list of statements.

Uses gin's own parser and keeps the place of every statement, which gin forgets.
Here ends everything that makes a gin file a program: imports, references to
callables, scopes, and includes that leave the two allowed folders are refused,
and so is what would take the parser more than a moment.
"""

import contextlib
import dataclasses
import io
import os
import pathlib
import re
import tokenize
from collections.abc import Iterator, Sequence

from gin import config_parser

from lmcodistill import errors
from lmcodistill.config import shipped

MAX_BYTES = 32 * 1024  # Of a file, and of all that it includes.
MAX_INCLUDE_DEPTH = 8
MAX_FILES = 64
MAX_NESTING = 100
MAX_NAME, MAX_STRING = 100, 4_096  # Characters; numbers are as short as names.
# gin's parser evaluates 'a' 'b' 'c' anew with each piece.
MAX_PIECES = 100

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z")
_TOO_DEEP = "the value nests too deeply."
_TOO_LONG = (
    f"a word or number has more than {MAX_NAME} characters, or a string more than "
    f"{MAX_STRING:,}."
)
_IMPORT_REFUSED = (
    "imports are refused, because a gin file describes and runs no code. Remove "
    "the line; every settings class is known by its bare name."
)


@dataclasses.dataclass(frozen=True)
class Macro:
    """A reference to a knob, `%NAME`, inside a value."""

    name: str


@dataclasses.dataclass(frozen=True)
class BareWord:
    """A command-line value that is no literal; a string if one is wanted."""

    text: str


class Required:
    """`%gin.REQUIRED`: a blank that the operator must fill."""

    def __repr__(self) -> str:
        return "%gin.REQUIRED"


REQUIRED = Required()


@dataclasses.dataclass(frozen=True)
class Statement:
    """One binding as it was written.

    Attributes:
        target: `NAME` of a knob, or `Class.field`.
        value: The literal, with `Macro`, `BareWord` and `REQUIRED` inside.
        where: `runs/quickstart.gin:12`, or `--gin.SEED=3`.
        is_default: Whether it stands in the command's own default file.
    """

    target: str
    value: object
    where: str
    is_default: bool = False


class _Delegate(config_parser.ParserDelegate):
    """Keeps references as plain values; nothing is looked up or called."""

    def __init__(self) -> None:
        self.callables: list[str] = []

    def configurable_reference(
        self, scoped_configurable_name: str, evaluate: bool
    ) -> None:
        self.callables.append(scoped_configurable_name)

    def macro(self, macro_name: str) -> Macro | Required:
        return REQUIRED if macro_name == "gin.REQUIRED" else Macro(macro_name)


def find_file(name: str) -> pathlib.Path:
    """Returns the file that `--gin_file=name` means: a path, or a shipped name.

    Raises:
        UsageError: there is no such file.
    """
    path = pathlib.Path(name)
    if os.path.isfile(path):  # False, not an error, for impossible names.
        return path
    found = shipped.find(name)
    if found is None:
        raise errors.UsageError(
            f"--gin_file={name}: no such file, and no shipped file of that "
            f"name{shipped.nearest(name)}. `lmcodistill configs list` lists them."
        )
    return found


def read_file(path: pathlib.Path, default: pathlib.Path) -> list[Statement]:
    """Returns the statements of a file and of all it includes, in order.

    Including `default`, which was read before any other file, changes nothing;
    to read it again would undo the files before this one.

    Raises:
        UsageError: anything in it cannot be used.
    """
    return list(_Files(path, default).statements(path, []))


def read_binding(binding: str) -> Statement:
    """Returns the statement of one `--gin.NAME=VALUE`, given as `NAME=VALUE`.

    A VALUE that is no literal is kept as a `BareWord`, so that a string needs
    no second pair of quotes in the shell.

    Raises:
        UsageError: it is not one binding.
    """
    target, equals, text = (part.strip() for part in binding.partition("="))
    where = shortened(f"--gin.{target}={text}")
    if not _NAME.match(target) or not equals:
        raise errors.UsageError(
            f"{where}: expected --gin.NAME=VALUE or --gin.Class.field=VALUE."
        )
    if not text:
        raise errors.UsageError(
            f"{where}: the value is missing; an empty string is --gin.{target}=\"''\"."
        )
    if len(text) > MAX_BYTES:
        raise errors.UsageError(f"{where}: has more than {MAX_BYTES:,} characters.")
    try:
        found = list(_parse(f"{target} = {text}", where, ""))
    except errors.UsageError:
        if text[0] in "'\"([{%@" or "\n" in text:
            raise
        return Statement(target, BareWord(text), where)
    if len(found) != 1 or not isinstance(found[0], config_parser.BindingStatement):
        raise errors.UsageError(f"{where}: expected one value and nothing else.")
    return Statement(target, found[0].value, where)


def read_flat(text: str) -> dict[str, str]:
    """Returns the literals of a flat text, by name, as gin text.

    Raises:
        UsageError: the text is damaged.
    """
    literals = {}
    for found in _parse(text, "config.gin", "config.gin"):
        if not isinstance(found, config_parser.BindingStatement):
            raise errors.UsageError(
                f"config.gin:{found.location.line_num}: expected Class.field = literal."
            )
        literals[f"{found.selector}.{found.arg_name}"] = repr(found.value)
    return literals


def shortened(text: str) -> str:
    """Returns a text that fits on the one line of a message."""
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


class _Files:
    """Reads one file and its includes, inside the folders it may include from."""

    def __init__(self, path: pathlib.Path, default: pathlib.Path):
        self._roots = [shipped.root().resolve()]
        if not path.resolve().is_relative_to(self._roots[0]):
            self._roots.insert(0, path.resolve().parent)
        self._default = default
        self._count = 0
        self._bytes_left = MAX_BYTES

    def statements(
        self, path: pathlib.Path, including: Sequence[pathlib.Path]
    ) -> Iterator[Statement]:
        is_default = path.resolve() == self._default.resolve()
        if including and is_default:
            return
        name = shipped.label(path)
        self._count += 1
        if self._count > MAX_FILES or len(including) > MAX_INCLUDE_DEPTH:
            raise errors.UsageError(
                f"{name}: included too often or too deep; at most {MAX_FILES} files, "
                f"{MAX_INCLUDE_DEPTH} deep."
            )
        for found in _parse(self._read_text(path, name), name, name):
            where = f"{name}:{found.location.line_num}"
            if isinstance(found, config_parser.IncludeStatement):
                target = self._included(found.filename, where)
                if target.resolve() in (p.resolve() for p in (*including, path)):
                    raise errors.UsageError(
                        f"{where}: {shortened(repr(found.filename))} includes itself."
                    )
                yield from self.statements(target, (*including, path))
            elif isinstance(found, config_parser.BindingStatement):
                target_name = ".".join(filter(None, (found.selector, found.arg_name)))
                yield Statement(target_name, found.value, where, is_default)

    def _read_text(self, path: pathlib.Path, name: str) -> str:
        try:
            # A FIFO or a device must neither block nor fill the memory.
            with open(path, "rb") as file:
                content = file.read(MAX_BYTES + 1)
            text = content.decode("utf-8-sig")
        except (OSError, ValueError) as error:
            message = f"{name}: is not a readable text file: {error}"
            raise errors.UsageError(message) from error
        self._bytes_left -= len(content)
        if self._bytes_left < 0:
            together = "" if len(content) > MAX_BYTES else ", with all files read here,"
            raise errors.UsageError(
                f"{name}: has{together} more than {MAX_BYTES:,} bytes; it is not a gin "
                "file."
            )
        return text

    def _included(self, name: str, where: str) -> pathlib.Path:
        relative, shown = pathlib.PurePath(name), shortened(repr(name))
        if relative.is_absolute() or ".." in relative.parts:
            raise errors.UsageError(
                f"{where}: include {shown} leaves its folder. Name a file below "
                f"{self._roots[0]} or a shipped one."
            )
        for folder in self._roots:
            path = folder / relative
            if not os.path.isfile(path):
                continue
            if not path.resolve().is_relative_to(folder):
                raise errors.UsageError(
                    f"{where}: include {shown} is a link that leaves {folder}."
                )
            return path
        raise errors.UsageError(
            f"{where}: include {shown} is neither below {self._roots[0]} nor a "
            f"shipped file{_with_suffix(shipped.nearest(name))}."
        )


def _with_suffix(hint: str) -> str:
    return hint.replace("?)", ".gin?)")


def _parse(
    text: str, where: str, file: str
) -> Iterator[config_parser.BindingStatement]:
    """Yields gin's own statements; `where` or `file`:line begins every refusal."""

    def refuse(line: int | None, message: str) -> errors.UsageError:
        place = f"{file}:{line}" if file and line else where
        return errors.UsageError(f"{place}: {message}")

    if "\0" in text:
        # Python 3.12 and 3.13 fall over themselves when they meet one.
        raise refuse(text[: text.index("\0")].count("\n") + 1, "holds a NUL byte.")
    delegate = _Delegate()
    line = 1
    try:
        bomb = next(_bombs(text), None)
        if bomb:
            raise refuse(*bomb)
        parser = config_parser.ConfigParser(text, delegate)
        # Not iteration: gin's parser leaks StopIteration from the tokenizer,
        # which would end a loop quietly in the middle of a file.
        while (statement := parser.parse_statement()) is not None:
            line = statement.location.line_num
            if isinstance(statement, config_parser.ImportStatement):
                raise refuse(line, _IMPORT_REFUSED)
            if delegate.callables:
                raise refuse(
                    line,
                    f"@{delegate.callables[0]} refers to something to call; values "
                    "here are literals and %NAMES.",
                )
            if getattr(statement, "scope", ""):
                raise refuse(line, f"scopes ({statement.scope}/...) are not used here.")
            yield statement
    except errors.UsageError:
        raise
    except RecursionError:
        raise refuse(line, _TOO_DEEP) from None
    # gin's parser raises whatever Python's tokenizer does, and that changes from
    # one Python to the next.
    except Exception as error:
        raise refuse(*_explained(error, line, text)) from error


def _bombs(text: str) -> Iterator[tuple[int, str]]:
    """Yields the line and the kind of whatever is too long to be meant."""
    pieces = name = 0
    # What cannot be tokenized, the parser refuses with a better word.
    with contextlib.suppress(SyntaxError, tokenize.TokenError):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.NL, tokenize.COMMENT):
                continue
            length = len(token.string.strip())
            pieces = pieces + 1 if token.type == tokenize.STRING else 0
            is_part = token.type == tokenize.NAME or token.string in (".", "/")
            name = name + length if is_part else 0
            if length > (MAX_STRING if pieces else MAX_NAME) or name > MAX_NAME:
                yield token.start[0], _TOO_LONG
            if pieces > MAX_PIECES:
                yield token.start[0], "a string of too many pieces."


def _explained(error: Exception, line: int, text: str) -> tuple[int, str]:
    """Returns the line and the cause of what gin's parser raised."""
    if isinstance(error, SyntaxError):
        cause = str(error.msg).rpartition("\n")[2].strip()
        word = re.search(r"Failed to parse token '(.*)'", cause, re.DOTALL)
        if word:
            shown = shortened(word[1])
            cause = f"{shown} is no value; a string needs quotes: '{shown}'"
            if word[1].lower() in ("true", "false", "none"):
                cause += f"; otherwise write {word[1].capitalize()}"
        return error.lineno or line, f"{cause.rstrip('.')}."
    opened = _open_brackets(text)
    if len(opened) > MAX_NESTING:
        return opened[0], _TOO_DEEP
    if opened:
        return opened[0], "the bracket that opens here is never closed."
    return line, f"cannot be read: {error}"


def _open_brackets(text: str) -> list[int]:
    """Returns the lines of the brackets that a text opens and never closes."""
    opened: list[int] = []
    # The end of the text inside a bracket is itself one of these errors.
    with contextlib.suppress(SyntaxError, tokenize.TokenError):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.string in ("(", "[", "{"):
                opened.append(token.start[0])
            elif token.string in (")", "]", "}") and opened:
                opened.pop()
    return opened
