"""From the names of exports to what predicts. Importing it imports no TensorFlow."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lmcodistill import tf_environment
from lmcodistill.exports import lookup
from lmcodistill.storage import publication

if TYPE_CHECKING:
    from lmcodistill.inference import predictor as predictor_lib


def load(
    path: str | os.PathLike[str],
    *more: str | os.PathLike[str],
    key: bytes | None = None,
) -> "predictor_lib.Predictor":
    """Loads trained students: one, or several as an ensemble.

    Nothing of an export is run: its tensors are read, verified against its
    manifest, and put into a model that is built here.

    Args:
        path: An export's folder, a student's, whose newest export is meant, or a
            run's, whose students are all meant; or the URL of one.
        *more: Others, whose probabilities are averaged with those of the first.
        key: What the exports are signed with: the content of `--export_key_file`;
            None where nothing is signed.

    Raises:
        SnapshotError: there is no export, it is damaged, not signed with the key,
            or of another vocabulary than the first.
        UsageError: a URL that cannot be used.
    """
    names = [os.fspath(name) for name in (path, *more)]
    return read([x for name in names for x in lookup.find_all(name, key)])


def read(snapshots: Sequence[publication.Snapshot]) -> "predictor_lib.Predictor":
    """Imports TensorFlow, reads exports, and builds their models; see `load`."""
    tf_environment.start()
    from lmcodistill.inference import predictor

    return predictor.Predictor.read(snapshots)
