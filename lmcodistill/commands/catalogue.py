"""The commands there are, and the flags of each."""

import types

from absl import flags

from lmcodistill.commands import command_flags

COMMANDS = {
    "quickstart": "Run the whole program on a small real text, in minutes.",
    "prep": "Turn web text into token shards, one partition per student.",
    "split": "Deal a data folder's training text out to more students, or fewer.",
    "inspect": "Show what a data folder holds, and prove that it is whole.",
    "train": "Train students that teach each other, here or on many machines.",
    "check": "Try everything that a run needs, before it begins.",
    "launch": "Write what starts a run on Slurm or Kubernetes, or a Dockerfile.",
    "evaluate": "Report the held-out cross entropy of exports.",
    "generate": "Continue texts with an export.",
    "score": "Say how probable texts are to an export.",
    "export": "Write a model that takes text and answers with text.",
    "compare": "Train in several ways and say which is better for your data.",
    "churn": "Say how much predictions differ between retrained models.",
    "plan": "Predict what a run will take: time, devices, traffic.",
    "status": "Show how the students of a run are doing.",
    "report": "Write a page about a run: curves, peers, restarts, configuration.",
    "configs": "List, show, copy, check, compare and explain configurations.",
    "completion": "Print what makes a shell complete commands and flags.",
    "env": "Show what a report of a fault should tell of this machine.",
}

# What stands in the help for a value of a type that absl has a name for.
_VALUES = {
    "comma separated list of strings": "A,B,...",
    "float": "NUMBER",
    "int": "N",
    "path": "PATH",
}
# What absl adds to the help of a flag that may be given more than once.
_ABSL_REPEATED = ";\n    repeat this option to specify a list of values"


def flags_of(module: types.ModuleType) -> command_flags.CommandFlags:
    """Returns the flags of a command, those of all commands included."""
    flag_values = command_flags.CommandFlags()
    # Flags may follow positional arguments.
    flag_values.set_gnu_getopt(True)
    define = command_flags.Definer(flag_values)
    module.define_flags(define)
    if reads_gin(module):
        define.heading("Configuration")
        define.strings(
            "gin_file",
            [],
            "A gin file, or the name of a shipped one. Later files win, and "
            "--gin.NAME=VALUE wins over files.",
        )
        define.strings("gin_bindings", [], "NAME=VALUE.")
    define.heading("Of every command")
    define.bool(
        "json", False, "Print one JSON object on standard output, for programs."
    )
    return flag_values


def reads_gin(module: types.ModuleType) -> bool:
    """Returns whether a command takes gin files and bindings."""
    return getattr(module, "READS_GIN", True)


def help_of(flag: flags.Flag) -> str:
    """Returns what a flag does, for people."""
    text = flag.help.replace(_ABSL_REPEATED, " May be given again.")
    if isinstance(flag, flags.EnumFlag):
        text = text.removeprefix(f"<{'|'.join(flag.parser.enum_values)}>: ")
    return text


def typed(flag: flags.Flag) -> str:
    """Returns how a flag is written, with what stands for its value."""
    if flag.boolean:
        return f"--{flag.name}"
    value = _VALUES.get(flag.parser.flag_type(), "VALUE")
    if isinstance(flag, flags.EnumFlag):
        value = "|".join(flag.parser.enum_values)
    return f"--{flag.name} {value}"
