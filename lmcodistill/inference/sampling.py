"""Text from an export: one token at a time."""

import functools

import numpy as np
import tensorflow as tf

from lmcodistill.data import vocabulary as vocabulary_lib
from lmcodistill.model import contract, scoring


def continuations(
    model: contract.Model,
    vocabulary: vocabulary_lib.Vocabulary,
    prompt: str,
    *,
    num_samples: int,
    num_tokens: int,
    temperature: float,
    seed: int,
) -> list[str]:
    """Returns texts that begin with `prompt`.

    Args:
        model: What predicts.
        vocabulary: Its vocabulary.
        prompt: Read after `</s>`, as every document is.
        num_samples: How many texts, B.
        num_tokens: Most tokens to add to each; a text also ends at `</s>`.
        temperature: Divides the logits; 0.0 takes the most likely token.
        seed: Of the draws.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    next_logits = tf.function(
        functools.partial(scoring.next_logits, model),
        autograph=False,
        reduce_retracing=True,
    )
    begin = [vocabulary.end_id, *vocabulary.encode(prompt)]
    tokens = np.tile(np.asarray(begin, np.int32), (num_samples, 1))
    # Only `</s>` at the very beginning starts from zero; a text that has ended
    # is not read on.
    is_start = np.zeros(tokens.shape, bool)
    is_start[:, 0] = True
    state = model.initial_state(num_samples)
    chosen: list[list[int]] = [list(begin[1:]) for _ in range(num_samples)]
    ended = np.zeros(num_samples, bool)
    for _ in range(num_tokens):
        logits, state = next_logits(tokens, is_start, state)
        scores = logits.numpy().astype(np.float64)
        if temperature != 0.0:
            # The Gumbel maximum: an exact draw without normalising.
            scores -= scores.max(-1, keepdims=True)
            with np.errstate(over="ignore"):  # So far down, nothing is drawn.
                scores = scores / temperature
            scores += generator.gumbel(size=scores.shape)
        drawn = scores.argmax(-1)
        ended |= drawn == vocabulary.end_id
        for ids, token, is_over in zip(chosen, drawn, ended, strict=True):
            if not is_over:
                ids.append(int(token))
        if ended.all():
            break
        tokens = drawn[:, None].astype(np.int32)
        is_start = np.zeros(tokens.shape, bool)
    return [vocabulary.decode(ids) for ids in chosen]
