"""The files of a folder and of the folders in it, linked ones too, each once."""

import os
import pathlib
import stat
from collections.abc import Mapping

from lmcodistill import errors

# What is in a folder and not read, by why.
HIDDEN, NO_FILE, LINKED_AGAIN = "hidden", "no_file", "linked_again"


def files_of(
    folder: pathlib.Path, left_out: Mapping[str, set[pathlib.Path]]
) -> list[pathlib.Path]:
    """Returns the files in a folder, at any depth, by the path that leads there.

    A linked folder is entered as others are, unless it was entered already, so
    that a circle of links ends.

    Args:
        folder: Where to begin; its own name may begin with a dot.
        left_out: Receives what is not read: `HIDDEN` files and folders, whose
            names begin with a dot; what is `NO_FILE` (sockets, pipes, devices);
            folders that are `LINKED_AGAIN`.

    Raises:
        DataError: a folder or a link in it cannot be read.
    """
    files: list[pathlib.Path] = []
    folders, links = [folder], list[pathlib.Path]()
    entered: set[str] = set()
    while folders or links:
        # Links come last: what lies in the tree itself is called by its own path.
        path = folders.pop() if folders else links.pop(0)
        identity = os.path.realpath(path)
        if identity in entered:
            left_out[LINKED_AGAIN].add(path)
            continue
        entered.add(identity)
        for entry in _entries(path):
            if entry.name.startswith("."):
                left_out[HIDDEN].add(entry)
                continue
            mode = mode_of(entry)
            if stat.S_ISDIR(mode):
                (links if entry.is_symlink() else folders).append(entry)
            elif stat.S_ISREG(mode):
                files.append(entry)
            else:
                left_out[NO_FILE].add(entry)
    return files


def mode_of(path: pathlib.Path) -> int:
    """Returns the mode of what a path leads to.

    Raises:
        DataError: it leads nowhere, or may not be looked at.
    """
    try:
        return path.stat().st_mode
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: pathlib.Path, error: OSError) -> errors.DataError:
    """Returns the refusal of a path that would otherwise be missing in silence."""
    shown = errors.printable(str(path), kept="")
    if path.is_symlink():
        target = errors.printable(os.readlink(path), kept="")
        shown += f", a link to {target},"
    return errors.DataError(
        f"{shown} cannot be read: {error.strerror}. Make it readable, or leave it out "
        "of --input."
    )


def _entries(folder: pathlib.Path) -> list[pathlib.Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise unreadable(folder, error) from error
