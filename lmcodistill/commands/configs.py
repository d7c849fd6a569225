"""List, show, copy, compare and explain configurations.

  list              every shipped file with what it is for
  show NAME         the text of one
  copy NAME [DEST]  a copy to change, here or at DEST; never over another file
  explain NAME      what a knob, a field or a class of settings means
  diff A B          the settings in which two configurations differ, and where each
                    was set; A and B are shipped files, gin files or runs' folders

Examples:
  lmcodistill configs list
  lmcodistill configs show runs/quickstart
  lmcodistill configs copy runs/quickstart my_run.gin
  lmcodistill configs explain BURN_IN_STEPS
  lmcodistill configs explain Optimizer.clip_norm
  lmcodistill configs diff runs/quickstart my_run.gin
"""

import json
import pathlib
import shutil
import textwrap
from collections.abc import Iterator

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags
from lmcodistill.config import explain, loading, reader, shipped
from lmcodistill.model import registry
from lmcodistill.settings import classes as settings_classes
from lmcodistill.settings import model, planning, prep
from lmcodistill.storage import places

ARGUMENTS = "ACTION [NAME] [DEST]"
READS_GIN = False

_ALIASES = {"ls": "list", "cp": "copy", "cat": "show"}
# Least and most.
_ARGUMENTS = {
    **{"list": (0, 0), "show": (1, 1), "copy": (1, 2)},
    **{"explain": (1, 1), "diff": (2, 2)},
}
_WIDTH = 80


def define_flags(define: command_flags.Definer) -> None:
    """Defines none beyond those of every command."""


def run(flag_values: flags.FlagValues, arguments: list[str]) -> None:
    """Lists, shows or copies."""
    action, names = _checked(arguments or ["list"])
    if action == "list":
        _list(flag_values.json)
    elif action == "explain":
        _explain(names[0], flag_values.json)
    elif action == "diff":
        first, second = names
        _diff(first, second, flag_values.json)
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
            "copy NAME [DEST], explain NAME, diff A B."
        )
    least, most = _ARGUMENTS[action]
    if len(names) > most:
        raise errors.UsageError(f"{action} does not take {names[-1]!r}.")
    if len(names) < least:
        wanted = {
            "explain": "the name of a knob, a field or a class",
            "diff": "two configurations",
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


def _classes() -> list[type]:
    """Returns every settings class that a gin file can bind."""
    return [
        *registry.configs().values(),
        *(cls for cls in settings_classes.ALL if cls is not model.ModelConfig),
    ]


def _explain(name: str, as_json: bool) -> None:
    fields = {field.name: field for cls in _classes() for field in explain.fields(cls)}
    knobs = [knob for knob in explain.knobs() if knob.name == name]
    named = [f for full, f in fields.items() if name in (full, *full.split("."))]
    if not (knobs or named):
        every = [part for full in fields for part in (full, *full.split("."))]
        if name.isupper():
            every = [knob.name for knob in explain.knobs()]
        hint = shipped.did_you_mean(name, every)
        raise errors.UsageError(
            f"there is no knob, field or class of settings called {name}{hint}. "
            "`lmcodistill configs show defaults/train` has the knobs."
        )
    if as_json:
        found = {
            "knobs": [knob._asdict() for knob in knobs],
            "fields": [field._asdict() for field in named],
        }
        print(json.dumps(found))
        return
    entries = [
        *("\n".join(_knob_lines(knob, fields)) for knob in knobs),
        *("\n".join(_field_lines(field)) for field in named),
    ]
    print("\n\n".join(entries))


def _knob_lines(knob: explain.Knob, fields: dict[str, explain.Field]) -> Iterator[str]:
    default = f"default {knob.default}" if knob.default else "to be given"
    yield f"{knob.name}: a knob of {knob.command}, {default}"
    yield from _wrapped(knob.remark)
    for name in knob.sets:
        yield from _field_lines(fields[name], "sets ")
    if users := explain.users_of(knob.name):
        yield from _wrapped(
            "Set by " + ", ".join(f"{file} ({value})" for file, value in users.items())
        )
    yield from _wrapped(
        f"Give --gin.{knob.name}=VALUE, or {knob.name} = VALUE in a file"
    )


def _field_lines(field: explain.Field, before: str = "") -> Iterator[str]:
    default = f"default {field.default}" if field.default else "to be given"
    yield f"{before}{field.name}: {field.expected}; {default}"
    yield from _wrapped(field.text)
    if field.may_change:
        yield from _wrapped("A run may go on with another value.")


def _wrapped(text: str) -> list[str]:
    margin = "  "
    return textwrap.wrap(text, _WIDTH, initial_indent=margin, subsequent_indent=margin)


def _diff(first: str, second: str, as_json: bool) -> None:
    one, other = _settings(first), _settings(second)
    nothing = "", "not there"
    changed = {
        name: (one.get(name, nothing), other.get(name, nothing))
        for name in sorted(one.keys() | other.keys())
        if one.get(name, nothing)[0] != other.get(name, nothing)[0]
    }
    if as_json:
        print(json.dumps({"differences": changed}))
        return
    if not changed:
        print(f"{first} and {second} have the same settings.")
    for name, both in changed.items():
        print(name)
        for value, where in both:
            print(f"  {value or '-'}  ({where})")


def _settings(name: str) -> dict[str, tuple[str, str]]:
    """Returns the value of every setting, and where it was set.

    Args:
        name: A shipped file, a gin file, or the folder of a run.
    """
    folder = places.expanded(name)
    path = str(folder / "config.gin") if folder.is_dir() else name
    train = "defaults/train.gin"
    statements = reader.read_file(reader.find_file(path), shipped.root() / train)
    of_prep = {cls.__name__ for cls in prep.PREP_SETTINGS}
    if any(s.target.partition(".")[0] in of_prep for s in statements):
        classes, default = prep.PREP_SETTINGS, "defaults/prep.gin"
    else:
        trained = tuple(settings_classes.TRAIN.values())
        classes, default = (*trained, *planning.PLAN_SETTINGS), train
    found = loading.resolved(
        [path], [], classes, default, registry.configs(), may_be_blank=True
    )
    return {
        f"{cls.__name__}.{field}": (repr(setting.value), setting.where)
        for cls, fields in found.items()
        for field, setting in fields.items()
    }
