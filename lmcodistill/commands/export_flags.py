"""Flags of the commands that read exports: which ones, and what signs them."""

import stat

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags
from lmcodistill.storage import files, places

_MIN_KEY_BYTES, _MAX_KEY_BYTES = 16, 4_096
_HOW = "Make one: head -c 32 /dev/urandom > KEY; chmod 600 KEY"


def define_export(define: command_flags.Definer) -> None:
    """Defines --export, for one."""
    define.string(
        "export",
        None,
        "An export's folder, or a student's, whose newest export is meant; or the "
        "URL of one.",
    )


def define_exports(define: command_flags.Definer) -> None:
    """Defines --export, for several."""
    define.strings(
        "export",
        [],
        "An export's folder, a student's, whose newest export is meant, or a run's, "
        "whose students are all meant; or the URL of one.",
    )


def define_key(define: command_flags.Definer) -> None:
    """Defines --export_key_file."""
    define.place(
        "export_key_file",
        "A file of 16 bytes or more that only the run's owner can read. Exports and "
        "checkpoints are signed with it, and what is not signed with it is refused.",
    )


def key(flag_values: flags.FlagValues) -> bytes | None:
    """Returns the key that --export_key_file names, if it names one.

    Raises:
        UsageError: the file cannot be a key, or everybody can read it.
    """
    if not flag_values.export_key_file:
        return None
    path = flag_values.export_key_file
    try:
        content = files.read_limited(path, _MAX_KEY_BYTES)
    except errors.DataError as error:
        raise errors.UsageError(f"--export_key_file: {error} {_HOW}") from error
    if len(content) < _MIN_KEY_BYTES:
        raise errors.UsageError(
            f"--export_key_file={path} has {len(content)} bytes; a key has at least "
            f"{_MIN_KEY_BYTES}. {_HOW}"
        )
    if places.is_local(path) and path.stat().st_mode & stat.S_IROTH:
        raise errors.UsageError(
            f"--export_key_file={path} can be read by everybody on this machine, so "
            f"it proves nothing. chmod 600 {path}"
        )
    return content
