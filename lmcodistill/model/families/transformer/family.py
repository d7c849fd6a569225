"""What the registry knows of the Transformer language model; see `contract.Family`."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from lmcodistill.model import contract, initialisers
from lmcodistill.settings import model as settings


def _weight_specs(
    config: settings.Transformer, vocab_size: int
) -> Iterator[contract.WeightSpec]:
    """Yields the weights, in the order that they are drawn in."""
    width, hidden = config.width, config.feed_forward_width
    # GPT-2's fixed 0.02 is about this at its own width; at a width of 64 it ended 0.3
    # nats higher after 600 steps of runs/codistill_transformer (2026-11-30).
    deviation = config.init_scale * (2 / (5 * width)) ** 0.5
    drawn = initialisers.normal(deviation)
    # As many sums of equal variance reach the end of the residual stream.
    added = initialisers.normal(deviation / (2 * config.num_layers) ** 0.5)
    parts = {
        "attention": (_qkv_heads(config) * config.head_width, width),
        "feed_forward": (2 * hidden, hidden),
    }
    yield contract.WeightSpec("embedding", (vocab_size, width), drawn, 1)
    for layer in range(config.num_layers):
        for part, (into, out) in parts.items():
            prefix = f"layer_{layer}/{part}/"
            yield contract.WeightSpec(prefix + "gain", (width,), initialisers.ones)
            yield contract.WeightSpec(prefix + "input", (width, into), drawn, 0)
            yield contract.WeightSpec(prefix + "output", (out, width), added, 0)
    yield contract.WeightSpec("norm/gain", (width,), initialisers.ones)
    if not config.tie_embeddings:
        yield contract.WeightSpec("projection/kernel", (vocab_size, width), drawn, 1)


def _qkv_heads(config: settings.Transformer) -> int:
    """Returns A + 2G: heads of queries, of keys and of values."""
    return config.num_heads + 2 * config.key_value_heads


def _forward(
    config: settings.Transformer, vocab_size: int, streams: int, window: int
) -> contract.Operations:
    """Returns the operations of a forward pass over [streams, window] tokens.

    Scores of what the mask hides are counted: they are computed.
    """
    positions, keys = streams * window, config.memory + window
    width, hidden = config.width, config.feed_forward_width
    head_width, groups = config.head_width, streams * config.key_value_heads
    queries = config.num_heads // config.key_value_heads * window
    of_layer = [
        contract.Matmul(positions, width, _qkv_heads(config) * head_width),
        contract.Matmul(queries, head_width, keys, groups),
        contract.Matmul(queries, keys, head_width, groups),
        contract.Matmul(positions, width, width),
        contract.Matmul(positions, width, 2 * hidden),
        contract.Matmul(positions, hidden, width),
    ]
    of_layer = [m._replace(times=m.times * config.num_layers) for m in of_layer]
    head = contract.Matmul(positions, width, vocab_size)
    stored = config.num_layers * 2 * groups * head_width
    # Of both norms input, normalised and scaled; queries and what heads found; per
    # head a probability of each key; two products, a sigmoid and two of its products.
    of_layer_and_position = 8 * width + config.num_heads * keys + 5 * hidden
    in_layers = positions * config.num_layers * of_layer_and_position
    # Recomputed, the residual stream before each layer, and one layer at a time.
    before = positions * config.num_layers * width
    return contract.Operations(
        [*of_layer, head],
        activations=sum(m.rows * m.columns * m.times for m in of_layer),
        kept=in_layers + stored * keys,
        carried=(stored + streams) * config.memory,
        kept_recomputed=before
        + (in_layers + stored * keys) // config.num_layers
        + stored * config.memory,
    )


def _smallest(config: settings.Transformer) -> settings.Transformer:
    """Returns one layer of the same kind, of a size that costs nothing."""
    return dataclasses.replace(
        config,
        width=8,
        num_layers=1,
        num_heads=1,
        num_key_value_heads=None,
        feed_forward_width=8,
        memory=min(config.memory, 8),
    )


def _build(
    config: settings.Transformer,
    vocab_size: int,
    values: Mapping[str, np.ndarray],
    *,
    trainable: bool,
    recompute: bool = False,
) -> contract.Model:
    from lmcodistill.model.families.transformer import model

    specs = _weight_specs(config, vocab_size)
    return model.Decoder(
        config, vocab_size, specs, values, trainable=trainable, recompute=recompute
    )


FAMILY = contract.Family(
    config=settings.Transformer,
    weight_specs=_weight_specs,
    forward=_forward,
    smallest=_smallest,
    build=_build,
)
