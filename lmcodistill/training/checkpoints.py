"""Checkpoints: everything a student needs to go on as if nothing had happened.

Weights, optimizer slots, carried state of every lane, and the teachers with
their weights, versions and states; the step is the name. What the next step
reads follows from the step, so no data position is saved. Published by the same
protocol as exports.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.storage import layout, publication, tensors

FORMAT_VERSION = 1
PREFIX = layout.CHECKPOINT
_BUNDLE = "tensors/bundle"


def save(
    folder: pathlib.Path,
    step: int,
    values: Mapping[str, np.ndarray | tf.Tensor],
    manifest: dict[str, Any],
    keep: int,
) -> None:
    """Writes a checkpoint and removes the oldest ones beyond `keep`.

    Args:
        folder: The student's folder of checkpoints.
        step: After how many updates.
        values: All tensors by name.
        manifest: What must be known before the tensors are read.
        keep: How many checkpoints stay.
    """

    def write(path: pathlib.Path) -> None:
        (path / _BUNDLE).parent.mkdir()
        tensors.write(path / _BUNDLE, values)

    manifest = {"format_version": FORMAT_VERSION, "kind": "checkpoint", **manifest}
    publication.publish(folder, PREFIX, step, write, manifest)
    publication.keep_newest(folder, PREFIX, keep)


def newest_step(folder: pathlib.Path) -> int | None:
    """Returns the step of the newest checkpoint that is whole, if there is one.

    Raises:
        SnapshotError: there are checkpoints, and none can be used.
    """
    found = publication.committed(folder, PREFIX)
    reasons = []
    for snapshot in reversed(found):
        try:
            publication.check_files(snapshot, snapshot.manifest())
        except errors.SnapshotError as error:
            reasons.append(str(error))
            continue
        return snapshot.step
    if reasons:
        raise errors.SnapshotError(
            f"None of the {len(found)} checkpoints in {folder} can be used: "
            + " ".join(reasons)
            + " Remove the folder to start from the beginning."
        )
    return None


def load(
    folder: pathlib.Path, step: int
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads a checkpoint that `newest_step` found whole.

    Returns:
        Its tensors by name, and its manifest.

    Raises:
        SnapshotError: it is of another format.
    """
    snapshot = publication.at_step(folder, PREFIX, step)
    manifest = snapshot.manifest()
    if manifest.get("format_version") != FORMAT_VERSION:
        raise errors.SnapshotError(
            f"{snapshot.path} has format {manifest.get('format_version')!r}; this "
            f"program reads {FORMAT_VERSION}. Go on with the version that wrote it."
        )
    return tensors.read(snapshot.path / _BUNDLE), manifest
