"""Names for the tensors of a carried state, which may be any nest."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from lmcodistill.model import contract


def by_path(state: contract.State) -> dict[str, Any]:
    """Returns the leaves of a nest by their path in it, parts joined by a slash.

    They are in the order of `tf.nest.flatten`.
    """
    if isinstance(state, Mapping):
        children = {str(key): state[key] for key in sorted(state)}
    elif hasattr(state, "_asdict"):
        children = state._asdict()
    elif isinstance(state, tuple | list):
        children = {str(index): inner for index, inner in enumerate(state)}
    else:
        return {"": state}
    return {
        f"{name}/{path}" if path else name: leaf
        for name, inner in children.items()
        for path, leaf in by_path(inner).items()
    }


def like(state: contract.State, leaves: Mapping[str, Any]) -> contract.State:
    """Returns a nest of the structure of `state` with other leaves, given by path."""
    flat = [leaves[path] for path in by_path(state)]
    return tf.nest.pack_sequence_as(state, flat)
