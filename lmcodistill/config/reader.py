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
from lmcodistill.storage import places

MAX_BYTES = 32 * 1024  # Of a file, and of all that it includes.
MAX_INCLUDE_DEPTH = 8
MAX_FILES = 64
MAX_NESTING = 100
MAX_NAME, MAX_STRING = 100, 4_096  # Characters; numbers are as short as names.
# gin's parser evaluates 'a' 'b' 'c' anew with each piece.
MAX_PIECES = 100

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z")
_OTHER_LANGUAGES = {
    r"[\w.-]+:( |$)|- |---": "YAML",
    r"[{}]|\"[^\"]*\"\s*:": "JSON",
    r"\[[^]=]*\]\s*$": "TOML or INI",
    r"export |set ": "a command of the shell",
    r"--": "a flag of the command line",
    r"(def|class|if|for|return) |\w+\(": "Python",
}
_STATEMENTS = "NAME = value, Class.field = value or include 'FILE'"
_VALUES = "one number, 'string', True, False, None, tuple, list or %NAME"
_TOO_DEEP = "the value nests too deeply."


@dataclasses.dataclass(frozen=True)
class Macro:
    """A reference to a knob, `%NAME`, inside a value."""

    name: str

    def __repr__(self) -> str:
        return f"%{self.name}"


# A blank that the operator must fill.
REQUIRED = Macro("gin.REQUIRED")


@dataclasses.dataclass(frozen=True)
class BareWord:
    """A command-line value that is no literal; a string if one is wanted."""

    text: str


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

    def macro(self, macro_name: str) -> Macro:
        return Macro(macro_name)


def find_file(name: str) -> pathlib.Path:
    """Returns the file that `--gin_file=name` means: a path, or a shipped name.

    Raises:
        UsageError: there is no such file.
    """
    given = places.expanded(name)
    if os.path.isfile(given):  # False, not an error, for impossible names.
        places.local(name)  # Refuses one that could not be written down.
        return given
    path = shipped.find(name)
    if path is None and os.path.isdir(given):
        raise errors.UsageError(
            f"--gin_file={name} is a folder. Give a gin file in it."
        )
    if path is None:
        raise errors.UsageError(
            f"--gin_file={name}: no such file, and no shipped file of that "
            f"name{shipped.nearest(name)}. `lmcodistill configs list` lists them."
        )
    return path


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
    fault = ""
    if not _NAME.match(target) or not equals:
        fault = "expected --gin.NAME=VALUE or --gin.Class.field=VALUE."
    elif not text:
        fault = f"the value is missing; an empty string is --gin.{target}=\"''\"."
    elif len(text) > MAX_BYTES:
        fault = f"has more than {MAX_BYTES:,} characters."
    if fault:
        raise errors.UsageError(f"{where}: {fault}")
    try:
        statements = list(_parse(f"{target} = {text}", where))
    except errors.UsageError:
        if text[0] in "'\"([{%@" or "\n" in text:
            raise
        return Statement(target, BareWord(text), where)
    if [type(statement) for statement in statements] != [
        config_parser.BindingStatement
    ]:
        raise errors.UsageError(f"{where}: expected one value and nothing else.")
    return Statement(target, statements[0].value, where)


def read_flat(text: str) -> dict[str, str]:
    """Returns the literals of a flat text, by name, as gin text.

    Raises:
        UsageError: the text is damaged.
    """
    literals = {}
    for statement in _parse(text, "config.gin", "config.gin"):
        if not isinstance(statement, config_parser.BindingStatement):
            line = statement.location.line_num
            raise errors.UsageError(
                f"config.gin:{line}: expected Class.field = literal."
            )
        literals[f"{statement.selector}.{statement.arg_name}"] = repr(statement.value)
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
        self._default = default.resolve()
        self._count = 0
        self._bytes_left = MAX_BYTES

    def statements(
        self, path: pathlib.Path, including: Sequence[pathlib.Path]
    ) -> Iterator[Statement]:
        is_default = path.resolve() == self._default
        if including and is_default:
            return
        name = shipped.label(path)
        self._count += 1
        if self._count > MAX_FILES or len(including) > MAX_INCLUDE_DEPTH:
            raise errors.UsageError(
                f"{name}: included too often or too deep; at most {MAX_FILES} files, "
                f"{MAX_INCLUDE_DEPTH} deep."
            )
        lines: dict[str, int] = {}  # Where this file has set what.
        for statement in _parse(self._read_text(path, name), name, name):
            line = statement.location.line_num
            where = f"{name}:{line}"
            if isinstance(statement, config_parser.IncludeStatement):
                files = (*including, path)
                included = self._included(statement.filename, where)
                if included.resolve() in (file.resolve() for file in files):
                    shown = shortened(repr(statement.filename))
                    raise errors.UsageError(f"{where}: {shown} includes itself.")
                yield from self.statements(included, files)
            elif isinstance(statement, config_parser.BindingStatement):
                parts = filter(None, (statement.selector, statement.arg_name))
                target = ".".join(parts)
                if lines.setdefault(target, line) != line:
                    raise errors.UsageError(
                        f"{where}: {target} was set on line {lines[target]} already; "
                        "remove one of the two."
                    )
                yield Statement(target, statement.value, where, is_default)

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
        relative, home = pathlib.PurePath(name), self._roots[0]
        if relative.is_absolute() or ".." in relative.parts:
            fault = f"leaves its folder. Name a file below {home} or a shipped one."
        else:
            near = shipped.nearest(name).replace("?)", ".gin?)")
            fault = f"is neither below {home} nor a shipped file{near}."
            for folder in self._roots:
                path = folder / relative
                if os.path.isfile(path):
                    if path.resolve().is_relative_to(folder):
                        return path
                    fault = f"is a link that leaves {folder}."
                    break
        raise errors.UsageError(f"{where}: include {shortened(repr(name))} {fault}")


def _parse(
    text: str, where: str, file: str = ""
) -> Iterator[config_parser.BindingStatement]:
    """Yields gin's own statements; `where` or `file`:line begins every refusal."""

    def refusal(line: int | None, message: str) -> errors.UsageError:
        place = f"{file}:{line}" if file and line else where
        return errors.UsageError(f"{place}: {message}")

    if "\0" in text:
        # Python 3.12 and 3.13 fall over themselves when they meet one.
        raise refusal(text[: text.index("\0")].count("\n") + 1, "holds a NUL byte.")
    delegate = _Delegate()
    line = 1
    try:
        for bomb in _bombs(text):
            raise refusal(*bomb)
        parser = config_parser.ConfigParser(text, delegate)
        # Not iteration: gin's parser leaks StopIteration from the tokenizer,
        # which would end a loop quietly in the middle of a file.
        while (statement := parser.parse_statement()) is not None:
            line, fault = statement.location.line_num, ""
            if isinstance(statement, config_parser.ImportStatement):
                fault = (
                    "imports are refused, because a gin file describes and runs no "
                    "code. Remove the line; every settings class is known by its bare "
                    "name."
                )
            elif delegate.callables:
                fault = (
                    f"@{delegate.callables[0]} refers to something to call; values "
                    "here are literals and %NAMES."
                )
            elif getattr(statement, "scope", ""):
                fault = f"scopes ({statement.scope}/...) are not used here."
            if fault:
                raise refusal(line, fault)
            yield statement
    except errors.UsageError:
        raise
    except RecursionError:
        raise refusal(line, _TOO_DEEP) from None
    # gin's parser raises whatever Python's tokenizer does, and that changes from
    # one Python to the next.
    except Exception as error:
        raise refusal(*_explained(error, line, text)) from error


def _tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    """Yields tokens as long as there are any; the parser explains better why not."""
    with contextlib.suppress(SyntaxError, tokenize.TokenError):
        yield from tokenize.generate_tokens(io.StringIO(text).readline)


def _bombs(text: str) -> Iterator[tuple[int, str]]:
    """Yields the line and the kind of whatever is too long to be meant."""
    pieces = name = 0
    for token in _tokens(text):
        if token.type in (tokenize.NL, tokenize.COMMENT):
            continue
        length = len(token.string.strip())
        pieces = pieces + 1 if token.type == tokenize.STRING else 0
        is_part = token.type == tokenize.NAME or token.string in (".", "/")
        name = name + length if is_part else 0
        if length > (MAX_STRING if pieces else MAX_NAME) or name > MAX_NAME:
            yield (
                token.start[0],
                f"a word or number has more than {MAX_NAME} characters, or a string "
                f"more than {MAX_STRING:,}.",
            )
        if pieces > MAX_PIECES:
            yield token.start[0], "a string of too many pieces."


def _other_language(line: str) -> str:
    """Returns in which other language a line is written, as far as that shows."""
    for pattern, language in _OTHER_LANGUAGES.items():
        if re.match(pattern, line):
            return language
    return ""


def _explained(error: Exception, line: int, text: str) -> tuple[int, str]:
    """Returns the line and the cause of what gin's parser raised."""
    at = (error.lineno or line) if isinstance(error, SyntaxError) else line
    lines = text.splitlines()
    shown = shortened(lines[at - 1]) if 0 < at <= len(lines) else ""
    if other := _other_language(shown):
        return at, f"{shown!r} is {other}; gin has NAME = value."
    if isinstance(error, SyntaxError):
        cause = str(error.msg).rpartition("\n")[2].strip()
        word = re.search(r"Failed to parse token '(.*)'", cause, re.DOTALL)
        if word:
            shown = shortened(word[1])
            fault = f"{shown} is no value; a string needs quotes: '{shown}'"
            if word[1].lower() in ("true", "false", "none"):
                fault += f"; otherwise write {word[1].capitalize()}"
            return at, f"{fault}."
        name, _, value = shown.partition("=")
        if cause.startswith("Expected indentation"):
            return at, "the fields of a block are indented; put two spaces before it."
        if not _NAME.match(name.strip()) or value.startswith("="):
            return at, f"found {shown!r}, expected {_STATEMENTS}."
        return at, f"{value.strip()!r} is no value; expected {_VALUES}."
    opened: list[int] = []  # The lines of brackets that are not closed.
    for token in _tokens(text):
        if token.string in ("(", "[", "{"):
            opened.append(token.start[0])
        elif token.string in (")", "]", "}") and opened:
            opened.pop()
    if len(opened) > MAX_NESTING:
        return opened[0], _TOO_DEEP
    if opened:
        return opened[0], "the bracket that opens here is never closed."
    return line, f"cannot be read: {error}"
