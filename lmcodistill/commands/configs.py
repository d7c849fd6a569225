"""List, show, copy, check, compare and explain configurations.

  list              every shipped file with what it is for
  show NAME         the text of one
  copy NAME [DEST]  a copy to change, here or at DEST; never over another file
  check NAME ...    whether they can be used together: every name, value and
                    limit, without any data; NAME: a shipped file, a gin file or
                    a run's folder
                    (what one leaves open, as NUM_TRAIN_STEPS, another sets)
  explain NAME      what a knob, a field or a class of settings means
  diff A B          the settings in which two configurations differ, and where
                    each was set

Examples:
  lmcodistill configs list
  lmcodistill configs show runs/quickstart
  lmcodistill configs copy runs/quickstart my_run.gin
  lmcodistill configs check runs/quickstart
  lmcodistill configs explain BURN_IN_STEPS
  lmcodistill configs explain Optimizer.clip_norm
  lmcodistill configs diff runs/quickstart my_run.gin
"""

import json
import pathlib
import shutil
import textwrap

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags
from lmcodistill.config import shipped
from lmcodistill.storage import places

ARGUMENTS = "ACTION [NAME ...]"
READS_GIN = False

_ALIASES = {"ls": "list", "cp": "copy", "cat": "show"}
# Least and most.
_ARGUMENTS = {
    **{"list": (0, 0), "show": (1, 1), "copy": (1, 2)},
    **{"explain": (1, 1), "diff": (2, 2), "check": (1, 100)},
}
_WIDTH = 80


def define_flags(define: command_flags.Definer) -> None:
    """Defines none beyond those of every command."""


def run(flag_values: flags.FlagValues, arguments: list[str]) -> None:
    """Lists, shows or copies."""
    action, names = _checked(arguments or ["list"])
    if action == "list":
        _list(flag_values.json)
    elif action in ("explain", "diff", "check"):
        # These read all settings, which takes longer than to list files.
        from lmcodistill.commands import settings_in_words

        show = getattr(settings_in_words, action)
        show(*names, as_json=flag_values.json)
    else:
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
    if action not in _ARGUMENTS:
        hint = shipped.did_you_mean(action, list(_ARGUMENTS))
        raise errors.UsageError(
            f"there is no action {action}{hint}. Actions: list, show NAME, "
            "copy NAME [DEST], check NAME ..., explain NAME, diff A B."
        )
    least, most = _ARGUMENTS[action]
    if len(names) > most:
        raise errors.UsageError(f"{action} does not take {names[-1]!r}.")
    if len(names) < least:
        wanted = {
            "explain": "the name of a knob, a field or a class",
            "diff": "two configurations",
            "check": "a gin file, the name of a shipped one, or a run's folder",
        }.get(
            action, "the name of a shipped file; `lmcodistill configs list` shows them"
        )
        raise errors.UsageError(f"{action} needs {wanted}.")
    return action, names


def _list(as_json: bool) -> None:
    descriptions = {
        name: shipped.description(shipped.root() / f"{name}.gin")
        for name in shipped.names()
    }
    if as_json:
        print(json.dumps({"configs": descriptions}))
        return
    width = max(map(len, descriptions)) + 2
    for name, description in descriptions.items():
        print(
            textwrap.fill(
                f"{name:<{width}}{description}",
                _WIDTH,
                subsequent_indent=" " * width,
                break_long_words=False,
            )
        )


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
