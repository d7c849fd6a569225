"""Print what makes a shell complete commands, flags and shipped files.

Examples:
  lmcodistill completion bash >> ~/.bashrc
  lmcodistill completion zsh >> ~/.zshrc
  lmcodistill completion fish > ~/.config/fish/completions/lmcodistill.fish
"""

import importlib
import shlex
from collections.abc import Iterator

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import catalogue, command_flags
from lmcodistill.config import shipped

ARGUMENTS = "SHELL"
READS_GIN = False

_BASH = """\
_lmcodistill() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words=
  if ((COMP_CWORD == 1)); then
    words={commands}
  elif [[ $before == --gin_file || ${{COMP_WORDS[COMP_CWORD-2]}} == --gin_file ]]; then
    word=${{word#=}} words={files}
  elif [[ ${{COMP_WORDS[1]}} == configs && COMP_CWORD -eq 3 ]]; then
    words={files}
  elif [[ $word == -* ]]; then
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _lmcodistill lmcodistill
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def define_flags(define: command_flags.Definer) -> None:
    """Defines none beyond those of every command."""


def run(flag_values: flags.FlagValues, arguments: list[str]) -> None:
    """Prints the shell's own text."""
    texts = {"bash": _bash, "zsh": lambda: _ZSH + _bash(), "fish": _fish}
    if len(arguments) != 1 or arguments[0] not in texts:
        raise errors.UsageError(
            f"found {' '.join(arguments) or 'no shell'}, expected one of "
            f"{', '.join(texts)}, as in `source <(lmcodistill completion bash)`."
        )
    print(texts[arguments[0]](), end="")


def _bash() -> str:
    cases = [
        f"      {command}) words={shlex.quote(' '.join(names))} ;;"
        for command, names in _flags_of_all().items()
    ]
    return _BASH.format(
        commands=shlex.quote(" ".join(_flags_of_all())),
        files=shlex.quote(" ".join(shipped.names())),
        cases="\n".join(cases),
    )


def _fish() -> str:
    return "\n".join(_fish_lines()) + "\n"


def _fish_lines() -> Iterator[str]:
    files = " ".join(shipped.names())
    for command, text in catalogue.COMMANDS.items():
        yield (
            "complete -c lmcodistill -n __fish_use_subcommand -f -a "
            f"{command} -d {shlex.quote(text)}"
        )
    for command, names in _flags_of_all().items():
        for name in names:
            values = f" -x -a {shlex.quote(files)}" if name == "--gin_file" else ""
            yield (
                f"complete -c lmcodistill -n '__fish_seen_subcommand_from {command}' "
                f"-l {name.removeprefix('--')}{values}"
            )


def _flags_of_all() -> dict[str, list[str]]:
    """Returns the flags of every command, as they are typed."""
    found = {}
    for command in catalogue.COMMANDS:
        module = importlib.import_module(f"lmcodistill.commands.{command}")
        names = sorted(set(catalogue.flags_of(module)) - {"gin_bindings"})
        found[command] = [f"--{name}" for name in (*names, "help")]
    return found
