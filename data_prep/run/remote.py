"""A data folder on an object store: made in a local folder, and then put there.

The manifest is put last, as it is written last in a local folder: a reader that
requires it never opens half a data folder. While the others are put, an object
says that the folder is unfinished.
"""

import pathlib
from typing import TYPE_CHECKING

from data_prep import progress
from lmcodistill import errors
from lmcodistill.storage import files, layout, places

if TYPE_CHECKING:
    import upath

# As the work folder of a local one is called.
_UNFINISHED = ".work"


def refuse_other(target: "upath.UPath") -> None:
    """Refuses a place that holds something else than a data folder.

    Raises:
        UsageError: it does.
        OSError: storage failed.
    """
    names = set(places.names_in(target))
    if names and not names & {layout.DataLayout.MANIFEST, _UNFINISHED}:
        raise errors.UsageError(
            f"--output_dir {target} holds other files and no data folder begun by "
            "prep. Give an empty or a new place."
        )


def publish(
    folder: pathlib.Path, target: "upath.UPath", display: progress.Display
) -> None:
    """Puts a finished data folder to its place, and removes the local one.

    Raises:
        OSError: storage failed; the same again puts all anew.
    """
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    # What an attempt that was killed had put may be of other settings.
    places.remove_tree(target)
    files.write_bytes(target / _UNFINISHED, b"unfinished")
    with display.stage("publish", total, "B") as stage:
        places.put_tree(
            folder,
            target,
            layout.DataLayout.MANIFEST,
            lambda size: stage.update(stage.done + size),
        )
    sweep(target)
    places.remove_tree(folder)


def sweep(target: "upath.UPath") -> None:
    """Removes what says that a finished folder is not."""
    places.remove_file(target / _UNFINISHED)
