"""What the registry knows of the LSTM language model; see `contract.Family`."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from lmcodistill.model import contract, initialisers
from lmcodistill.settings import model as settings


def _weight_specs(
    config: settings.LanguageModel, vocab_size: int
) -> Iterator[contract.WeightSpec]:
    """Yields the weights, in the order that they are drawn in."""

    def matrix(
        name: str, shape: tuple[int, int], fans: tuple[int, int], summed_axis: int
    ) -> contract.WeightSpec:
        width = config.init_scale
        if config.initializer == "glorot":
            width = initialisers.glorot(width, *fans)
        return contract.WeightSpec(
            name, shape, initialisers.uniform(width), summed_axis
        )

    embedding, hidden = config.embedding_size, config.hidden_size
    # A row is an output of the embedding, and of the projection to logits; a row's
    # fans count its own width, not the vocabulary.
    yield matrix("embedding", (vocab_size, embedding), (embedding, embedding), 1)
    for layer in range(config.num_layers):
        prefix, width = f"layer_{layer}/", embedding if layer == 0 else hidden
        gates = (4 * hidden,)
        # A gate's fan-out is H, not the 4H of the four side by side.
        for name, rows in (("input_kernel", width), ("recurrent_kernel", hidden)):
            yield matrix(prefix + name, (rows, *gates), (rows, hidden), 0)
        yield contract.WeightSpec(prefix + "shift", gates, initialisers.zeros)
        if config.layer_norm:
            yield contract.WeightSpec(prefix + "gain", gates, initialisers.ones)
    if not config.tie_embeddings:
        yield matrix("projection/kernel", (vocab_size, hidden), (hidden, hidden), 1)
    yield contract.WeightSpec("projection/bias", (vocab_size,), initialisers.zeros)


def _forward(
    config: settings.LanguageModel, vocab_size: int, streams: int, window: int
) -> contract.Operations:
    """Returns the operations of a forward pass over [streams, window] tokens."""
    hidden, positions = config.hidden_size, streams * window
    matmuls = []
    for layer in range(config.num_layers):
        width = config.embedding_size if layer == 0 else hidden
        matmuls.append(contract.Matmul(positions, width, 4 * hidden))
        matmuls.append(contract.Matmul(streams, hidden, 4 * hidden, window, True))
    matmuls.append(contract.Matmul(positions, hidden, vocab_size))
    units = config.num_layers * hidden
    # Inputs, and what `layer` keeps of a step for its backward pass: c and tanh(c),
    # four gates and, if there are any, four normalised sums; besides, its outputs.
    inputs = config.embedding_size + (config.num_layers - 1) * hidden
    of_position = inputs + (11 if config.layer_norm else 7) * units
    # Recomputed, the inputs of all layers, and besides of one layer at a time.
    at_once = (of_position - inputs) // config.num_layers
    return contract.Operations(
        matmuls,
        activations=positions * 4 * units,
        kept=positions * of_position,
        carried=streams * 2 * units,
        kept_recomputed=positions * (inputs + at_once),
    )


def _smallest(config: settings.LanguageModel) -> settings.LanguageModel:
    """Returns one layer of the same kind, of a size that costs nothing."""
    return dataclasses.replace(config, embedding_size=8, num_layers=1, hidden_size=8)


def _build(
    config: settings.LanguageModel,
    vocab_size: int,
    values: Mapping[str, np.ndarray],
    *,
    trainable: bool,
    recompute: bool = False,
) -> contract.Model:
    from lmcodistill.model.families.lstm import model

    specs = _weight_specs(config, vocab_size)
    return model.Lstm(
        config, vocab_size, specs, values, trainable=trainable, recompute=recompute
    )


FAMILY = contract.Family(
    config=settings.LanguageModel,
    weight_specs=_weight_specs,
    forward=_forward,
    smallest=_smallest,
    build=_build,
)
