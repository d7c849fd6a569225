"""Writes docs/guide/reference.md: every knob, field and flag, from the code.

python -m tools.reference
"""

import argparse
import importlib
import pathlib
from collections.abc import Iterator

from absl import flags

import lmcodistill
from lmcodistill.commands import catalogue
from lmcodistill.config import explain
from lmcodistill.model import registry
from lmcodistill.settings import classes, model

_DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"

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
    for command in catalogue.COMMANDS:
        module = importlib.import_module(f"lmcodistill.commands.{command}")
        own = catalogue.flags_of(module)
        names = sorted(set(own) - {"json", "gin_file", "gin_bindings"})
        yield f"### lmcodistill {command}\n\n{catalogue.COMMANDS[command]}\n"
        if names:
            yield from ("| flag | default | what it does |", "|---|---|---|")
            yield from (_row(own[name], name in own.required) for name in names)
            yield ""


def _row(flag: flags.Flag, is_required: bool) -> str:
    default = flag.default_as_str if flag.default not in (None, [], "") else None
    shown = "required" if is_required else f"`{default}`" if default else ""
    what = catalogue.help_of(flag).replace("|", "\\|").replace("\n", " ")
    typed = catalogue.typed(flag).replace("|", "\\|")
    return f"| `{typed}` | {shown} | {what} |"


def man_page() -> str:
    """Returns the manual page, for troff."""
    return "\n".join(_roff()) + "\n"


def _roff() -> Iterator[str]:
    yield f'.TH LMCODISTILL 1 "" "lmcodistill {lmcodistill.__version__}"'
    yield from (".SH NAME", "lmcodistill \\- codistillation of language models")
    yield from (".SH SYNOPSIS", ".B lmcodistill", ".I COMMAND", "[flags]")
    yield ".SH COMMANDS"
    for command, text in catalogue.COMMANDS.items():
        yield from (".TP", f".B {command}", _plain(text))
    for command in catalogue.COMMANDS:
        module = importlib.import_module(f"lmcodistill.commands.{command}")
        positional = getattr(module, "ARGUMENTS", "")
        yield f'.SH "LMCODISTILL {command.upper()} {positional}"'
        yield from (".nf", *map(_plain, (module.__doc__ or "").splitlines()), ".fi")
        own = catalogue.flags_of(module)
        for name in sorted(set(own) - {"gin_bindings"}):
            what = catalogue.help_of(own[name]).replace("\n", " ")
            typed = _plain(catalogue.typed(own[name]))
            yield from (".TP", f".B {typed}", _plain(what))
    yield from (
        *(".SH EXIT STATUS", ".nf"),
        *("0 done", "2 a flag or a setting cannot be used", "3 data cannot be used"),
        *("4 an export or a checkpoint cannot be used", "5 training diverged"),
        *("75 a worker was lost", "130 interrupted", "143 stopped after saving"),
        ".fi",
    )


def _plain(text: str) -> str:
    """Returns a line in which troff sees no request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


PAGES = {_DOCS / "guide/reference.md": text, _DOCS / "lmcodistill.1": man_page}


def main() -> None:
    """Writes the pages."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    for path, page in PAGES.items():
        path.write_text(page())
        print(f"Wrote {path}")


if __name__ == "__main__":
    main()
