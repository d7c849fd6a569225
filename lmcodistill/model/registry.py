"""The model families there are, by name and by the class of their configuration.

A family of another package is registered by that package's metadata, under the
entry points `lmcodistill.families`: `gru = my_package.gru:FAMILY`.
"""

import functools
import importlib.metadata
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

from lmcodistill import errors
from lmcodistill.model import contract
from lmcodistill.model.families.lstm import family as lstm
from lmcodistill.model.families.transformer import family as transformer
from lmcodistill.settings import model as settings

BUILT_IN = {"lstm": lstm.FAMILY, "transformer": transformer.FAMILY}
_GROUP = "lmcodistill.families"
# The family of descriptions that name none, as the first programs wrote them.
_UNNAMED = "lstm"
_SCALARS = {bool, int, float, str, int | None, float | None, str | None}


@functools.cache
def families() -> Mapping[str, contract.Family]:
    """Returns every family by name.

    Raises:
        UsageError: an installed package's family cannot be used.
    """
    every = dict(BUILT_IN)
    for entry in importlib.metadata.entry_points(group=_GROUP):
        package = entry.dist.name if entry.dist else entry.value
        try:
            family = entry.load()
            _refuse_unfit(entry.name, family, every)
        except Exception as error:
            raise errors.UsageError(
                f"The model family {entry.name!r} of the package {package} cannot be "
                f"used: {error!r}. Repair the package or uninstall it."
            ) from error
        every[entry.name] = family
    return every


def _refuse_unfit(
    name: str, family: contract.Family, others: Mapping[str, contract.Family]
) -> None:
    """Refuses a family whose configurations gin and JSON cannot hold, or mix up."""
    if not isinstance(family, contract.Family):
        raise TypeError(f"{family!r} is no lmcodistill.model.contract.Family")
    if name in others:
        raise ValueError(f"there is another family {name!r}")
    if family.config.__name__ in {other.config.__name__ for other in others.values()}:
        raise ValueError(f"there is another {family.config.__name__}")
    for field, kind in typing.get_type_hints(family.config).items():
        if kind not in _SCALARS:
            raise TypeError(f"{family.config.__name__}.{field} is of type {kind}")


def configs() -> dict[str, type[settings.ModelConfig]]:
    """Returns the class of every family's configurations, by the family's name."""
    return {name: family.config for name, family in families().items()}


def family_of(config: settings.ModelConfig) -> contract.Family:
    """Returns the family of a configuration."""
    return families()[_name_of(config)]


def _name_of(config: settings.ModelConfig) -> str:
    for name, family in families().items():
        if family.config is type(config):
            return name
    raise TypeError(f"{type(config).__name__} is the configuration of no family")


def build(
    config: settings.ModelConfig,
    vocab_size: int,
    weights: Mapping[str, np.ndarray],
    *,
    trainable: bool = True,
    recompute: bool = False,
) -> contract.Model:
    """Makes a model; see `contract.Family`."""
    more = {"recompute": True} if recompute else {}
    return family_of(config).build(
        config, vocab_size, weights, trainable=trainable, **more
    )


def to_json(config: settings.ModelConfig) -> dict[str, Any]:
    """Returns a configuration as descriptions carry it: `model`, `model_family`."""
    name = _name_of(config)
    family = {} if name == _UNNAMED else {"model_family": name}
    return {"model": config.to_json(), **family}


def described_family(description: Mapping[str, Any]) -> contract.Family | None:
    """Returns the family that a description names; None where there is no such."""
    name = description.get("model_family", _UNNAMED)
    return families().get(name) if isinstance(name, str) else None


def from_json(description: Mapping[str, Any]) -> settings.ModelConfig:
    """Returns the configuration of a description that this program made.

    Raises:
        SnapshotError: its family is not installed here.
    """
    family = described_family(description)
    if family is None:
        raise errors.SnapshotError(
            f"a model of the family {description['model_family']!r} is described, "
            "which is not installed here. Install its package.",
            reason="model",
        )
    return family.config(**description["model"])
