"""The LSTM language model as a family."""

from collections.abc import Mapping

import numpy as np

from lmcodistill.model import contract
from lmcodistill.model.families.lstm import operations, weights
from lmcodistill.settings import model as settings


def _build(
    config: settings.LanguageModel,
    vocab_size: int,
    values: Mapping[str, np.ndarray],
    *,
    trainable: bool,
) -> contract.Model:
    from lmcodistill.model.families.lstm import model

    specs = weights.specs(config, vocab_size)
    return model.Lstm(config, vocab_size, specs, values, trainable=trainable)


FAMILY = contract.Family(
    config=settings.LanguageModel,
    weight_specs=weights.specs,
    forward=operations.forward,
    smallest=operations.smallest,
    build=_build,
)
