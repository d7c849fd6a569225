"""Names for the tensors of a carried state, which may be any nest."""

from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from lmcodistill.model import contract


def by_path(state: contract.State) -> dict[str, Any]:
    """Returns the leaves of a nest by their path in it, parts joined by a slash."""
    return dict(_walk(state, ()))


def like(state: contract.State, leaves: Mapping[str, Any]) -> contract.State:
    """Returns a nest of the structure of `state` with other leaves, given by path."""
    flat = [leaves[path] for path in by_path(state)]
    return tf.nest.pack_sequence_as(state, flat)


def _walk(nest: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yields path and leaf, in the order of `tf.nest.flatten`."""
    if isinstance(nest, Mapping):
        children = [(str(key), nest[key]) for key in sorted(nest)]
    elif hasattr(nest, "_asdict"):
        children = list(nest._asdict().items())
    elif isinstance(nest, tuple | list):
        children = [(str(index), inner) for index, inner in enumerate(nest)]
    else:
        yield "/".join(path), nest
        return
    for name, inner in children:
        yield from _walk(inner, (*path, name))
