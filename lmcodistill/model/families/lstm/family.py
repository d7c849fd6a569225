"""The LSTM language model as a family."""

from collections.abc import Mapping

import numpy as np

from lmcodistill.model import contract
from lmcodistill.model.families.lstm import operations
from lmcodistill.model.families.lstm import weights as lstm_weights
from lmcodistill.settings import model as settings


def _build(
    config: settings.LanguageModel,
    vocab_size: int,
    weights: Mapping[str, np.ndarray],
    *,
    trainable: bool = True,
) -> contract.Model:
    from lmcodistill.model.families.lstm import model

    return model.Lstm(config, vocab_size, weights, trainable=trainable)


FAMILY = contract.Family(
    config=settings.LanguageModel,
    weight_specs=lstm_weights.specs,
    forward=operations.forward,
    smallest=operations.smallest,
    build=_build,
)
