"""The operations of the LSTM language model, for plans."""

import dataclasses

from lmcodistill.model.contract import Matmul, Operations
from lmcodistill.settings import model as settings

_SMALLEST = 8


def forward(
    config: settings.LanguageModel, vocab_size: int, streams: int, window: int
) -> Operations:
    """Returns the operations of a forward pass over [streams, window] tokens."""
    hidden, positions = config.hidden_size, streams * window
    matmuls = []
    for layer in range(config.num_layers):
        width = config.embedding_size if layer == 0 else hidden
        matmuls.append(Matmul(positions, width, 4 * hidden))
        matmuls.append(Matmul(streams, hidden, 4 * hidden, window, True))
    matmuls.append(Matmul(positions, hidden, vocab_size))
    return Operations(matmuls, positions * config.num_layers * 4 * hidden)


def smallest(config: settings.LanguageModel) -> settings.LanguageModel:
    """Returns one layer of the same kind, of a size that costs nothing."""
    return dataclasses.replace(
        config, embedding_size=_SMALLEST, num_layers=1, hidden_size=_SMALLEST
    )
