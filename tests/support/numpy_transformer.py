"""The Transformer once more in NumPy: every query, key and head by itself.

Tests compare the model with it. Rotations are products of complex numbers here, and
what a token may see is listed token by token.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lmcodistill.settings import model as settings

Array = Any


def norm(x: Array, gain: Array) -> Array:
    """Returns each row over the root of its mean square."""
    return np.stack([row / np.sqrt((row @ row) / len(row) + 1e-5) for row in x]) * gain


def turned(x: Array, position: int, base: float) -> Array:
    """Returns one vector [W], turned by its position."""
    half = len(x) // 2
    pairs = x[:half] + 1j * x[half:]
    pairs = pairs * np.exp(1j * position * base ** (-np.arange(half) / half))
    return np.concatenate([pairs.real, pairs.imag])


def attention(
    queries: Array,
    keys: Array,
    values: Array,
    document: Array,
    *,
    memory: int,
    base: float,
) -> Array:
    """Returns what the last T of S tokens find: [T, A, W].

    Args:
        queries: [T, A, W].
        keys: [S, G, W].
        values: [S, G, W].
        document: [S], a number that tokens of one document share.
        memory: Tokens before it that a token sees; 0: all.
        base: Of the wavelengths.
    """
    found = np.zeros(queries.shape)
    before, share = len(keys) - len(queries), queries.shape[1] // keys.shape[1]
    for t, a in np.ndindex(*queries.shape[:2]):
        now = before + t
        seen = [
            s
            for s in range(now + 1)
            if document[s] == document[now] and (not memory or now - s <= memory)
        ]
        query = turned(queries[t, a], now, base)
        scores = [query @ turned(keys[s, a // share], s, base) for s in seen]
        weights = np.exp(np.asarray(scores) / np.sqrt(len(query)))
        weights /= weights.sum()
        for weight, s in zip(weights, seen, strict=True):
            found[t, a] += weight * values[s, a // share]
    return found


def layer(
    x: Array,
    weights: Mapping[str, Array],
    document: Array,
    *,
    heads: int,
    groups: int,
    memory: int,
    base: float,
) -> Array:
    """Returns [T, D] of one layer over a text from its beginning.

    `weights` are by the names of `layer.LayerWeights`; the rest is as in `attention`.
    """
    normalised = norm(x, weights["attention_gain"])
    qkv = normalised @ weights["attention_input"]
    qkv = qkv.reshape(len(x), heads + 2 * groups, -1)
    queries, keys, values = np.split(qkv, [heads, heads + groups], axis=1)
    found = attention(queries, keys, values, document, memory=memory, base=base)
    x = x + found.reshape(len(x), -1) @ weights["attention_output"]
    gate, linear = np.split(
        norm(x, weights["feed_forward_gain"]) @ weights["feed_forward_input"], 2, 1
    )
    return x + (gate * linear / (1.0 + np.exp(-gate))) @ weights["feed_forward_output"]


def hidden_states(
    config: settings.Transformer,
    weights: Mapping[str, Array],
    tokens: Array,
    is_start: Array,
) -> Array:
    """Returns [T, D] of one text [T], read from its beginning without a memory."""
    document = np.cumsum(is_start)
    x = np.asarray(weights["embedding"], np.float64)[np.asarray(tokens)]
    for index in range(config.num_layers):
        prefix = f"layer_{index}/"
        of_layer = {
            name.removeprefix(prefix).replace("/", "_"): np.asarray(value, np.float64)
            for name, value in weights.items()
            if name.startswith(prefix)
        }
        x = layer(
            x,
            of_layer,
            document,
            heads=config.num_heads,
            groups=config.num_key_value_heads or config.num_heads,
            memory=config.memory,
            base=config.rotary_base,
        )
    return norm(x, weights["norm/gain"])
