"""What the system says of a process on this machine; Linux only, else nothing."""

import pathlib


def name_and_state(pid: int | str) -> tuple[str, str]:
    """Returns a process's id with the time it began, and the letter of its state.

    Two empty texts where there is none, or the system does not tell. `T` and `t`
    are processes that a signal or a debugger has stopped.
    """
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return "", ""
    # The name has brackets and may have blanks: id (name) state ... 22nd: start.
    number, _, rest = status.partition(" ")
    fields = rest.rpartition(")")[2].split()
    return f"{number} {fields[19]}", fields[0]


def is_stopped(pid: int) -> bool:
    """Returns whether a signal has stopped a process."""
    return name_and_state(pid)[1] in ("T", "t")
