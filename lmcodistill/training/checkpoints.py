"""Checkpoints: everything a student needs to go on as if nothing had happened.

Weights, optimizer slots, carried state of every stream, and the teachers with
their weights, versions and states; the step is the name. What the next step
reads follows from the step, so no data position is saved. Published by the same
protocol as exports.

The newest stay, to go on from, and those that scored best, to be used.
"""

import logging
import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from lmcodistill import errors
from lmcodistill.settings import training
from lmcodistill.storage import layout, places, publication, scratch, tensors
from lmcodistill.training import cluster

FORMAT_VERSION = 2
PREFIX = layout.CHECKPOINT
_FORMAT_1 = re.compile(r"ckpt-\d{9,18}")
_FOLDER = "tensors/"
_BUNDLE = "bundle"

log = logging.getLogger("lmcodistill")


class Scored(NamedTuple):
    """What decides whether a checkpoint stays.

    Attributes:
        generation: The owner's that wrote it.
        step: After how many updates.
        validation: Its validation cross entropy; None where it has none.
    """

    generation: int
    step: int
    validation: float | None


def best_of(checkpoints: Sequence[Scored], count: int) -> list[Scored]:
    """Returns the `count` checkpoints that scored best; of equals, the earlier.

    What an earlier generation left at the newest one's step or beyond was given
    up, perhaps because it was damaged; it is none of them.
    """
    newest = max(checkpoints, key=lambda s: (s.generation, s.step), default=None)
    scored = [
        (s.validation, s.step, s)
        for s in checkpoints
        if s.validation is not None and math.isfinite(s.validation)
        if newest is None or s is newest or s.step < newest.step
    ]
    return [s for _, _, s in sorted(scored)[:count]]


def save(
    folder: places.Place,
    step: int,
    values: Mapping[str, np.ndarray | tf.Tensor],
    manifest: dict[str, Any],
    settings: training.Training,
    *,
    owner: publication.Owner,
    validation: float | None = None,
) -> None:
    """Writes a checkpoint and removes those that need not stay.

    The manifest is what must be known before the tensors, `values`, are read;
    `validation` is the model's validation cross entropy, if it was evaluated.

    Raises:
        GroupLostError: another process took over; nothing is visible.
        OSError: storage failed; the checkpoints before are as they were.
    """

    def write(path: pathlib.Path) -> None:
        (path / _FOLDER).mkdir()
        tensors.write(path / _FOLDER / _BUNDLE, values)

    manifest = {
        "format_version": FORMAT_VERSION,
        "kind": "checkpoint",
        **manifest,
        "validation_cross_entropy": validation,
    }
    publication.publish(folder, PREFIX, step, write, manifest, owner)
    best = _best(folder, settings.keep_best_checkpoints, owner.key)
    publication.keep_newest(folder, PREFIX, settings.keep_checkpoints, protected=best)


def _best(
    folder: places.Place, count: int, key: bytes | None
) -> list[publication.Snapshot]:
    """Returns the checkpoints that stay for their validation cross entropy."""
    if not count:
        return []
    scored: dict[Scored, publication.Snapshot] = {}
    for snapshot in publication.committed(folder, PREFIX, key):
        try:
            score = snapshot.manifest().get("validation_cross_entropy")
        except errors.SnapshotError:  # Of no use to anybody.
            score = None
        score = float(score) if isinstance(score, int | float) else None
        scored[Scored(snapshot.generation, snapshot.step, score)] = snapshot
    return [scored[choice] for choice in best_of(list(scored), count)]


def newest(
    folder: places.Place, key: bytes | None = None
) -> publication.Snapshot | None:
    """Returns the newest checkpoint that is whole, if there is one.

    Raises:
        SnapshotError: there are checkpoints, and none can be used.
        GroupLostError: storage failed, so nobody knows.
    """
    snapshots = publication.committed(folder, PREFIX, key)
    if not snapshots:
        _refuse_format_1(folder)
    reasons = []
    for snapshot in reversed(snapshots):
        try:
            publication.verify(snapshot, snapshot.manifest())
        except errors.SnapshotError as error:
            if error.reason == "storage":  # It may be whole: going back would lose it.
                raise errors.GroupLostError(str(error)) from error
            log.warning("event=checkpoint_refused reason=%s", error)
            reasons.append(str(error))
            continue
        return snapshot
    if reasons:
        raise errors.SnapshotError(
            f"None of the {len(snapshots)} checkpoints in {folder} can be used: "
            + " ".join(reasons)
            + " Remove the folder to start from the beginning.",
            reason="none_usable",
        )
    return None


def _refuse_format_1(folder: places.Place) -> None:
    """Refuses to begin anew where an earlier version's checkpoints are."""
    names = [n for n in places.names_in(folder) if _FORMAT_1.fullmatch(n)]
    if names:
        raise errors.SnapshotError(
            f"{folder} has checkpoints of format 1, such as {names[0]}; this program "
            f"reads {FORMAT_VERSION}. Go on with the version that wrote them, or give "
            "another --run_dir.",
            reason="format",
        )


def newest_of_group(
    group: cluster.Group, folder: places.Place, key: bytes | None
) -> publication.Snapshot | None:
    """Returns the chief's `newest` on every worker; raises as it. Collective."""
    snapshot = newest(folder, key) if group.is_chief else None
    version = group.broadcast_json(snapshot.version if snapshot else None)
    if version is None:
        return None
    generation, step = version
    path = folder / publication.name_of(PREFIX, step, generation)
    return publication.Snapshot(path, step, generation, key)


def load(
    snapshot: publication.Snapshot,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads a checkpoint that `newest` found whole.

    Returns:
        Its tensors by name, and its manifest.

    Raises:
        SnapshotError: it is of another format, or was damaged since.
    """
    manifest = snapshot.manifest()
    if manifest.get("format_version") != FORMAT_VERSION:
        raise errors.SnapshotError(
            f"{snapshot.path} has format {manifest.get('format_version')!r}; this "
            f"program reads {FORMAT_VERSION}. Go on with the version that wrote it.",
            reason="format",
        )
    if places.is_local(snapshot.path):
        return tensors.read(snapshot.path / _FOLDER / _BUNDLE), manifest
    with scratch.folder() as local:
        publication.verify(snapshot, manifest, _FOLDER, local)
        return tensors.read(local / _BUNDLE), manifest
