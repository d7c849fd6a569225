"""What was meant by a flag or a word of the command line that means nothing here.

Imported where something was mistyped, and not before: it reads the shipped files.
"""

import difflib
import types
from collections.abc import Sequence

from lmcodistill import errors
from lmcodistill.commands import catalogue
from lmcodistill.config import other_words

# What other programs call our flags. Of the names, the first that a command has is
# meant.
_OTHER_FLAGS = {
    "checkpoint": ("export",),
    "config": ("gin_file",),
    "data": ("data_dir", "input"),
    "data_path": ("data_dir", "input"),
    "dataset": ("data_dir", "input"),
    "debug": ("log",),
    "destination": ("output_dir",),
    "force": ("accept_changed_config",),
    "gin": ("gin_file",),
    "gpus": ("gpus_per_worker", "workers_per_student"),
    "jobs": ("num_workers", "workers_per_student"),
    "logdir": ("run_dir",),
    "model": ("export",),
    "model_dir": ("run_dir", "export"),
    "out": ("output_dir", "output", "run_dir"),
    "out_dir": ("output_dir", "run_dir"),
    "output": ("output_dir", "run_dir"),
    "output_dir": ("run_dir",),
    "save_dir": ("run_dir", "output_dir"),
    "text": ("input", "prompt"),
    "verbose": ("log",),
    "workers": ("num_workers", "workers_per_student"),
}
# What other programs call our commands.
_OTHER_COMMANDS = {
    "chat": "generate",
    "config": "configs",
    "dashboard": "report",
    "diff": "configs",
    "doctor": "check",
    "estimate": "plan",
    "finetune": "train",
    "infer": "generate",
    "monitor": "status",
    "perplexity": "evaluate",
    "predict": "generate",
    "preprocess": "prep",
    "resume": "train",
    "sample": "generate",
    "serve": "export",
    "test": "evaluate",
    "tokenize": "prep",
    "tune": "compare",
    "validate": "check",
    "verify": "inspect",
    "watch": "status",
}
_TRUTHS = ("true", "false", "yes", "no", "on", "off", "0", "1")


def unknown_command(name: str) -> errors.UsageError:
    """Returns the refusal of a command that there is not."""
    meant = difflib.get_close_matches(name, catalogue.COMMANDS, 1)
    if name.lower() in _OTHER_COMMANDS:
        meant = [_OTHER_COMMANDS[name.lower()]]
    hint = f"Did you mean {meant[0]}? " if meant else ""
    return errors.UsageError(
        f"there is no command {name}. {hint}Commands: {', '.join(catalogue.COMMANDS)}."
    )


def unknown_flag(
    name: str, value: str, command: str, module: types.ModuleType
) -> errors.UsageError:
    """Returns the refusal of a flag that the command does not have.

    Args:
        name: Without dashes.
        value: What it was given; empty if nothing was.
        command: The command.
        module: Of the command.
    """
    known = sorted(set(catalogue.flags_of(module)) - {"gin_bindings"})
    settings = _settings(command) if catalogue.reads_gin(module) else []
    meant = _meant(name.strip("-").replace("-", "_"), known, settings)
    if meant in settings:
        hint = f"It is a setting: write --gin.{meant}={_value(value)}."
    elif meant:
        hint = f"Did you mean --{meant}?"
    else:
        hint = f"`lmcodistill {command} --help` lists those there are."
    shown = f"--{name}" if name else "--"
    return errors.UsageError(f"there is no flag {shown}. {hint}")


def unused_word(
    word: str, arguments: Sequence[str], command: str, module: types.ModuleType
) -> errors.UsageError:
    """Returns the refusal of a word that belongs to no flag, of those arguments."""
    flag_values = catalogue.flags_of(module)
    before = arguments[arguments.index(word) - 1] if arguments.index(word) else ""
    name, equals, value = word.partition("=")
    meant = ""
    reads_gin = catalogue.reads_gin(module)
    if equals and reads_gin and (name.isupper() or name in _settings(command)):
        meant = f"Write --gin.{word}"
    elif equals and name in flag_values:
        meant = f"Write --{word}"
    elif word.startswith(("\u2013", "\u2014", "\u2212")):
        meant = f"Its dash is another sign: write --{word[1:].lstrip('-')}"
    elif before.lstrip("-") in flag_values and word.lower() in _TRUTHS:
        meant = f"Write {before}={word.lower()}"
    elif reads_gin and _is_gin_file(word):
        meant = f"Write --gin_file={word}"
    elif word in flag_values:
        meant = f"Write --{word}"
    if not meant:
        meant = "A value with spaces or stars needs quotes"
    return errors.UsageError(
        f"{word!r} belongs to no flag, and {command} takes flags only. {meant}."
    )


def unbound(name: str, following: Sequence[str]) -> errors.UsageError:
    """Returns the refusal of a `--gin.NAME` without a value, and what follows it."""
    value = ""
    if following and not following[0].startswith("-"):
        value = following[0]
    if name.lower() in ("file", "gin_file", "files", "config"):
        hint = f"write --gin_file={_value(value)}"
    else:
        hint = f"write --gin.{name}={_value(value)}"
    return errors.UsageError(f"--gin.{name}: its value is missing; {hint}.")


def _value(text: str) -> str:
    return f"'{text}'" if " " in text else text or "VALUE"


def _meant(name: str, known: Sequence[str], settings: Sequence[str]) -> str:
    """Returns the flag or setting that a name stands for; empty if nobody knows."""
    by_key = {s.rpartition(".")[2].lower(): s for s in reversed(settings)}
    by_key |= {word: x for word, x in other_words.KNOBS.items() if x in settings}
    for word, others in _OTHER_FLAGS.items():
        for meant in reversed([x for x in others if x in known]):
            by_key[word] = meant
    by_key |= {flag: flag for flag in known}
    if name.lower() in by_key:
        return by_key[name.lower()]
    near = difflib.get_close_matches(name.lower(), by_key, 1, 0.7)
    # Of `partitions`, say, the flag that has it for a part.
    near += [flag for flag in known if name in flag.split("_")]
    near += difflib.get_close_matches(name.lower(), by_key, 1, 0.6)
    return by_key[near[0]] if near else ""


def _settings(command: str) -> list[str]:
    """Returns every knob of a command, and every `Class.field` that it may bind."""
    from lmcodistill.config import explain
    from lmcodistill.settings import classes, model, prep

    knobs_of, classes_of = "train", {*classes.TRAIN.values(), model.LanguageModel}
    if command == "prep":
        knobs_of, classes_of = "prep", {*prep.PREP_SETTINGS}
    knobs = [knob.name for knob in explain.knobs() if knob.command == knobs_of]
    bound = sorted(classes_of - {model.ModelConfig}, key=lambda cls: cls.__name__)
    return knobs + [field.name for cls in bound for field in explain.fields(cls)]


def _is_gin_file(word: str) -> bool:
    from lmcodistill.config import shipped

    return word.endswith(".gin") or shipped.find(word) is not None
