"""List, show and copy the gin files that come with the program.

  list             every shipped file with what it is for
  show NAME        the text of one
  copy NAME [DEST] a copy to change, here or at DEST; never over another file

Examples:
  lmcodistill configs list
  lmcodistill configs show runs/quickstart
  lmcodistill configs copy runs/quickstart my_run.gin
"""

import json
import pathlib
import shutil

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags
from lmcodistill.config import shipped
from lmcodistill.storage import places

ARGUMENTS = "ACTION [NAME] [DEST]"
READS_GIN = False

_ALIASES = {"ls": "list", "cp": "copy", "cat": "show"}
_MOST_ARGUMENTS = {"list": 0, "show": 1, "copy": 2}


def define_flags(define: command_flags.Definer) -> None:
    """Defines none beyond those of every command."""


def run(flag_values: flags.FlagValues, arguments: list[str]) -> None:
    """Lists, shows or copies."""
    action, names = _checked(arguments or ["list"])
    if action == "list":
        _list(flag_values.json)
        return
    source = shipped.find(names[0])
    if source is None:
        raise errors.UsageError(
            f"no shipped file is called {names[0]}{shipped.nearest(names[0])}. "
            "`lmcodistill configs list` shows them."
        )
    if action == "show":
        _show(source, flag_values.json)
    else:
        target = places.local(names[1]) if names[1:] else pathlib.Path(source.name)
        _copy(source, target, flag_values.json)


def _checked(arguments: list[str]) -> tuple[str, list[str]]:
    action = _ALIASES.get(arguments[0], arguments[0])
    names = arguments[1:]
    if action not in _MOST_ARGUMENTS:
        hint = shipped.did_you_mean(action, list(_MOST_ARGUMENTS))
        raise errors.UsageError(
            f"there is no action {action}{hint}. Actions: list, show NAME, "
            "copy NAME [DEST]."
        )
    if len(names) > _MOST_ARGUMENTS[action]:
        raise errors.UsageError(f"{action} does not take {names[-1]!r}.")
    if action != "list" and not names:
        raise errors.UsageError(
            f"{action} needs the name of a shipped file; `lmcodistill configs "
            "list` shows them."
        )
    return action, names


def _list(as_json: bool) -> None:
    descriptions = {
        name: shipped.description(shipped.root() / f"{name}.gin")
        for name in shipped.names()
    }
    if as_json:
        print(json.dumps({"configs": descriptions}))
        return
    width = max(map(len, descriptions))
    for name, description in descriptions.items():
        print(f"{name:<{width}}  {description}")


def _show(source: pathlib.Path, as_json: bool) -> None:
    text = source.read_text(encoding="utf-8")
    print(json.dumps({"text": text}) if as_json else text.rstrip())


def _copy(source: pathlib.Path, target: pathlib.Path, as_json: bool) -> None:
    if target.is_dir():
        target = target / source.name
    if not target.parent.is_dir():
        raise errors.UsageError(f"{target.parent} is no folder; create it first.")
    try:
        # "x" refuses what exists, also what appeared a moment ago.
        with open(source, "rb") as reading, open(target, "xb") as writing:
            shutil.copyfileobj(reading, writing)
    except FileExistsError:
        raise errors.UsageError(
            f"{target} exists and is not overwritten; name another file."
        ) from None
    except OSError as error:
        raise errors.UsageError(f"{target} cannot be written: {error}.") from error
    print(json.dumps({"path": str(target)}) if as_json else f"Wrote {target}")
