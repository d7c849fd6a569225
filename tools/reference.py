"""Writes docs/guide/reference.md: every knob, field and flag, from the code.

python -m tools.reference
"""

import argparse
import importlib
import pathlib
from collections.abc import Iterator

from absl import flags

from lmcodistill import cli
from lmcodistill.config import explain
from lmcodistill.model import registry
from lmcodistill.settings import classes, model

PATH = pathlib.Path(__file__).resolve().parents[1] / "docs/guide/reference.md"

_HEAD = """\
# Reference

Every knob, field and flag. Written by `python -m tools.reference` from the code;
[configuration.md](configuration.md) says how they are used, and
`lmcodistill configs explain NAME` shows one of them.
"""


def text() -> str:
    """Returns the page."""
    return "\n".join([_HEAD, *_knobs(), *_fields(), *_flags()])


def _knobs() -> Iterator[str]:
    for command in ("train", "prep"):
        yield f"## Knobs of `{command}`\n"
        yield from ("| knob | default | what it sets | fields |", "|---|---|---|---|")
        for knob in explain.knobs():
            if knob.command == command:
                default = f"`{knob.default}`" if knob.default else "to be given"
                fields = ", ".join(f"`{name}`" for name in knob.sets)
                yield f"| `{knob.name}` | {default} | {knob.remark} | {fields} |"
        yield ""


def _fields() -> Iterator[str]:
    yield "## Fields\n"
    every = [cls for cls in classes.ALL if cls is not model.ModelConfig]
    built_in = [family.config for family in registry.BUILT_IN.values()]
    for cls in sorted((*every, *built_in), key=lambda cls: cls.__name__):
        yield f"### {cls.__name__}\n\n{explain.summary(cls)}\n"
        yield from ("| field | default | values | what it sets |", "|---|---|---|---|")
        for field in explain.fields(cls):
            default = f"`{field.default}`" if field.default else "to be given"
            name = field.name.partition(".")[2]
            what = field.text.replace("|", "\\|")
            if field.may_change:
                what += " A run may go on with another value."
            yield f"| `{name}` | {default} | {field.expected} | {what} |"
        yield ""


def _flags() -> Iterator[str]:
    yield "## Flags\n"
    yield "Every command has `--help` and `--json`; those that read gin have"
    yield "`--gin_file` and `--gin.NAME=VALUE`.\n"
    for command in cli.COMMANDS:
        module = importlib.import_module(f"lmcodistill.commands.{command}")
        own = cli.flags_of(module)
        names = sorted(set(own) - {"json", "gin_file", "gin_bindings"})
        yield f"### lmcodistill {command}\n\n{cli.COMMANDS[command]}\n"
        if names:
            yield from ("| flag | default | what it does |", "|---|---|---|")
            yield from (_row(own[name]) for name in names)
            yield ""


def _row(flag: flags.Flag) -> str:
    default = flag.default_as_str if flag.default not in (None, [], "") else None
    what = cli.help_of(flag).replace("|", "\\|").replace("\n", " ")
    return f"| `--{flag.name}` | {f'`{default}`' if default else ''} | {what} |"


def main() -> None:
    """Writes the page."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    PATH.write_text(text())
    print(f"Wrote {PATH}")


if __name__ == "__main__":
    main()
