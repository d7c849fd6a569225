"""What `configs explain`, `configs diff` and `configs check` show."""

import json
import textwrap
from collections.abc import Iterator

from lmcodistill import errors
from lmcodistill.config import explain as explain_lib
from lmcodistill.config import loading, reader, shipped
from lmcodistill.model import registry
from lmcodistill.settings import classes as settings_classes
from lmcodistill.settings import model, planning, prep
from lmcodistill.storage import places

_WIDTH = 80
_OF_TRAIN, _OF_PREP = "defaults/train.gin", "defaults/prep.gin"
_STUDENTS = 2  # What `--students` is if it is not given.


def _classes() -> list[type]:
    """Returns every settings class that a gin file can bind."""
    return [
        *registry.configs().values(),
        *(cls for cls in settings_classes.ALL if cls is not model.ModelConfig),
    ]


def explain(name: str, as_json: bool) -> None:
    """Says what a knob, a field or a class of settings means."""
    fields = {
        field.name: field for cls in _classes() for field in explain_lib.fields(cls)
    }
    knobs = [knob for knob in explain_lib.knobs() if knob.name == name]
    named = [f for full, f in fields.items() if name in (full, *full.split("."))]
    if not (knobs or named):
        every = [part for full in fields for part in (full, *full.split("."))]
        if name.isupper():
            every = [knob.name for knob in explain_lib.knobs()]
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


def _knob_lines(
    knob: explain_lib.Knob, fields: dict[str, explain_lib.Field]
) -> Iterator[str]:
    default = f"default {knob.default}" if knob.default else "to be given"
    yield f"{knob.name}: a knob of {knob.command}, {default}"
    yield from _wrapped(knob.remark)
    for name in knob.sets:
        yield from _field_lines(fields[name], "sets ")
    if users := explain_lib.users_of(knob.name):
        yield from _wrapped(
            "Set by " + ", ".join(f"{file} ({value})" for file, value in users.items())
        )
    yield from _wrapped(
        f"Give --gin.{knob.name}=VALUE, or {knob.name} = VALUE in a file"
    )


def _field_lines(field: explain_lib.Field, before: str = "") -> Iterator[str]:
    default = f"default {field.default}" if field.default else "to be given"
    yield f"{before}{field.name}: {field.expected}; {default}"
    yield from _wrapped(field.text)
    if field.may_change:
        yield from _wrapped("A run may go on with another value.")


def _wrapped(text: str) -> list[str]:
    margin = "  "
    return textwrap.wrap(text, _WIDTH, initial_indent=margin, subsequent_indent=margin)


def diff(first: str, second: str, as_json: bool) -> None:
    """Shows in which settings two configurations differ."""
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
    path = _path(name)
    trained = tuple(settings_classes.TRAIN.values())
    classes, default = (*trained, *planning.PLAN_SETTINGS), _OF_TRAIN
    if _is_for_prep(path):
        classes, default = prep.PREP_SETTINGS, _OF_PREP
    found = loading.resolved(
        [path], [], classes, default, registry.configs(), may_be_blank=True
    )
    return {
        f"{cls.__name__}.{field}": (repr(setting.value), setting.where)
        for cls, fields in found.items()
        for field, setting in fields.items()
    }


def check(*names: str, as_json: bool) -> None:
    """Says whether a run, or prep, could begin with a configuration.

    Args:
        names: Shipped files, gin files or runs' folders; later ones win.
        as_json: Whether programs read it.

    Raises:
        UsageError: it could not, and why.
    """
    paths = [_path(name) for name in names]
    if any(map(_is_for_prep, paths)):
        command = "prep"
        loaded = loading.load(paths, [], prep.PREP_SETTINGS, _OF_PREP)
    else:
        # Only this action needs NumPy.
        from lmcodistill.commands import run_checks
        from lmcodistill.training import job as job_lib

        command = "train"
        loaded = job_lib.load(paths, [])
        run_checks.check_settings(loaded, _STUDENTS)
    if as_json:
        print(json.dumps({"command": command, "settings": loaded.literals}))
        return
    print(
        f"{' and '.join(names)}: {len(loaded.literals)} settings, all in order for "
        f"`lmcodistill {command}`."
    )


def _path(name: str) -> str:
    """Returns the gin file that is meant, for a run's folder its own."""
    folder = places.expanded(name)
    return str(folder / "config.gin") if folder.is_dir() else name


def _is_for_prep(path: str) -> bool:
    """Returns whether a gin file sets anything of `prep`."""
    first = shipped.root() / _OF_TRAIN
    of_prep = {cls.__name__ for cls in prep.PREP_SETTINGS}
    return any(
        statement.target.partition(".")[0] in of_prep
        for statement in reader.read_file(reader.find_file(path), first)
    )
