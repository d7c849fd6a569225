"""`lmcodistill <command> [flags]`: finds the command, reads its flags, runs it.

Imports nothing heavy: help, `--version` and `configs` answer at once. Every
command has flags of its own, which absl reads from a set of their own, and these:
`--gin_file`, `--gin.NAME=VALUE`, `--json`, `--help`. Errors that people can act
on become one message and an exit code here, and nowhere else.
"""

import importlib
import io
import json
import os
import re
import sys
import types
from collections.abc import Sequence

from absl import flags

import lmcodistill
from lmcodistill import errors, tf_environment
from lmcodistill.commands import catalogue, command_flags

_EXAMPLES = """\
Examples:
  lmcodistill prep --input texts --output_dir DATA --gin.NUM_PARTITIONS=2
  lmcodistill train --gin_file runs/quickstart --data_dir DATA --run_dir RUN
  lmcodistill status RUN
  lmcodistill configs show runs/quickstart

`lmcodistill <command> --help` shows the flags of a command.
"""

_GIN_HELP = (
    "  --gin.NAME=VALUE",
    "      Sets a knob, or a field: Class.field. What one means:",
    "      `lmcodistill configs explain NAME`.",
)

_INTERRUPTED = 130
_HELP = ("--help", "-help", "-h")
_VERSION = ("--version", "-version", "version")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command, by default the process's own, and returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    tf_environment.prepare()
    _escape_what_stdout_cannot_show()
    who = "lmcodistill"
    wants_json = bool({"--json", "-json"} & set(arguments))
    try:
        code = 0
        arguments = _in_order(arguments)
        if not arguments or arguments[0] in _HELP:
            print(_overview())
        elif arguments[0] in _VERSION:
            print(f"lmcodistill {lmcodistill.__version__}")
        else:
            command = _command(arguments[0])
            who = f"lmcodistill {command}"
            code = _run(command, arguments[1:])
        # Here and not when Python ends, where nothing could answer a broken pipe.
        sys.stdout.flush()
        return code
    except errors.LmcodistillError as error:
        return _say(who, error, wants_json)
    except KeyboardInterrupt:
        print(f"{who}: interrupted.", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader, `head` for one, has seen enough. Python would complain
        # once more when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        known = errors.of_system(error)
        if known is None:
            raise
        return _say(who, known, wants_json)


def _in_order(arguments: list[str]) -> list[str]:
    """Returns `help COMMAND` and `COMMAND help` as the same question."""
    if arguments[:1] == ["help"]:
        return [*arguments[1:2], "--help"]
    if arguments[1:] == ["help"] and arguments[0] in catalogue.COMMANDS:
        return [arguments[0], "--help"]
    return arguments


def _say(who: str, error: errors.LmcodistillError, as_json: bool) -> int:
    """Says what went wrong, and returns the exit code."""
    print(f"{who}: {error}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": str(error), "exit_code": error.exit_code}))
    return error.exit_code


def _escape_what_stdout_cannot_show() -> None:
    """Escapes what the terminal's encoding lacks, as Python does on standard error."""
    stdout = sys.stdout
    if isinstance(stdout, io.TextIOWrapper) and stdout.errors == "strict":
        stdout.reconfigure(errors="backslashreplace")


def _command(name: str) -> str:
    if name in catalogue.COMMANDS:
        return name
    if name.startswith("-"):
        raise errors.UsageError(
            f"{name}: the command comes first: lmcodistill <command> [flags]. "
            f"Commands: {', '.join(catalogue.COMMANDS)}."
        )
    from lmcodistill.commands import mistakes

    raise mistakes.unknown_command(name)


def _run(command: str, arguments: list[str]) -> int:
    module = importlib.import_module(f"lmcodistill.commands.{command}")
    flag_values = catalogue.flags_of(module)
    before_dashes = arguments[: (arguments + ["--"]).index("--")]
    if set(_HELP) & set(before_dashes):
        print(_help(command, module, flag_values))
        return 0
    rest = _parsed(command, module, flag_values, arguments)
    takes_words = hasattr(module, "ARGUMENTS")
    if rest and not takes_words:
        from lmcodistill.commands import mistakes

        raise mistakes.unused_word(rest[0], arguments, command, module)
    return module.run(*((flag_values, rest) if takes_words else (flag_values,))) or 0


def _parsed(
    command: str,
    module: types.ModuleType,
    flag_values: flags.FlagValues,
    arguments: list[str],
) -> list[str]:
    """Sets the flags; returns what is left of the arguments.

    Raises:
        UsageError: a flag is unknown, or has a value that it cannot have.
    """
    try:
        return flag_values([command, *_rewritten(arguments, module)])[1:]
    except flags.UnrecognizedFlagError as error:
        from lmcodistill.commands import mistakes

        name = error.flagname
        _, _, value = str(error.flagvalue or "").partition("=")
        raise mistakes.unknown_flag(name, value, command, module) from error
    except flags.Error as error:
        words = str(error).removeprefix("flag ")
        name = words.removeprefix("Missing value for flag ")
        if name != words:
            words = f"{name}: its value is missing; write {name}=VALUE"
        raise errors.UsageError(f"{words}.".replace("..", ".")) from error
    except ValueError as error:  # What absl raises of --noNAME=VALUE.
        flag, _, _ = str(error).partition(" ")
        raise errors.UsageError(
            f"{flag}: a switch that begins with `no` takes no value; write "
            f"{flag.partition('=')[0]}."
        ) from error


def _rewritten(arguments: list[str], module: types.ModuleType) -> list[str]:
    """Returns the arguments with --gin.NAME=VALUE as a flag that absl knows."""
    rewritten: list[str] = []
    for index, argument in enumerate(arguments):
        if argument == "--":
            return rewritten + arguments[index:]
        binding = re.sub(r"\A--?gin\.", "--gin_bindings=", argument)
        if binding != argument and not catalogue.reads_gin(module):
            raise errors.UsageError(f"this command reads no gin; remove {argument}.")
        if binding != argument and "=" not in argument:
            from lmcodistill.commands import mistakes

            name = binding.removeprefix("--gin_bindings=")
            raise mistakes.unbound(name, arguments[index + 1 :])
        rewritten.append(binding)
    return rewritten


def _overview() -> str:
    """Returns the help of the program."""
    width = max(map(len, catalogue.COMMANDS))
    commands = "\n".join(
        f"  {n:<{width}}  {text}" for n, text in catalogue.COMMANDS.items()
    )
    return (
        f"{lmcodistill.__doc__.splitlines()[0]}\n\n"
        "Usage: lmcodistill <command> [flags]\n\n"
        f"Commands:\n{commands}\n\n{_EXAMPLES}"
    ).rstrip()


def _help(
    command: str, module: types.ModuleType, flag_values: command_flags.CommandFlags
) -> str:
    """Returns the help of one command: its docstring and its flags by group."""
    positional = getattr(module, "ARGUMENTS", "")
    usage = " ".join(filter(None, ("lmcodistill", command, positional, "[flags]")))
    lines = [f"Usage: {usage}", "", (module.__doc__ or "").strip()]
    for heading, group in flag_values.groups().items():
        lines += ["", f"{heading}:"]
        for flag in group:
            if flag.name == "gin_bindings":
                lines += _GIN_HELP
            else:
                lines += _flag_help(flag, flag.name in flag_values.required)
    lines += ["  --help", "      Show this."]
    return "\n".join(lines)


def _flag_help(flag: flags.Flag, is_required: bool) -> list[str]:
    text = catalogue.help_of(flag)
    if flag.default_as_str is not None and flag.default not in ([], ""):
        text += f" (default: {flag.default_as_str.strip(chr(39))})"
    wrapped = flags.text_wrap(text, length=80, indent="      ")
    typed = f"--[no]{flag.name}" if flag.boolean else catalogue.typed(flag)
    required = " (required)" if is_required else ""
    return [f"  {typed}{required}", *wrapped.splitlines()]
