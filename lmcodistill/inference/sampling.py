"""Text from one model or from an ensemble: one token at a time."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from lmcodistill.data import text_forms
from lmcodistill.data import vocabulary as vocabulary_lib
from lmcodistill.model import contract, scoring
from lmcodistill.settings import checks


class Sampler:
    """Continues texts; the compiled function is kept from one to the next."""

    def __init__(
        self,
        models: Sequence[contract.Model],
        vocabulary: vocabulary_lib.Vocabulary,
    ):
        """Takes what predicts, one model or several, and their vocabulary."""
        self._models, self._vocabulary = models, vocabulary
        self._next_logits = tf.function(
            functools.partial(scoring.next_mean_logits, models),
            autograph=False,
            reduce_retracing=True,
        )

    def continuations(
        self,
        prompt: str,
        *,
        num_samples: int = 1,
        num_tokens: int = 64,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> list[str]:
        """Returns texts that begin with `prompt`, cleaned as training text is.

        Args:
            prompt: Read after `</s>`, as every document is.
            num_samples: How many texts, B.
            num_tokens: Most tokens to add to each; a text also ends at `</s>`.
            temperature: Divides the logits; 0.0 takes the most likely token.
            seed: Of the draws.

        Raises:
            UsageError: a number cannot work.
        """
        checks.require(num_samples > 0, "num_samples", num_samples, "1 or more")
        checks.require(num_tokens > 0, "num_tokens", num_tokens, "1 or more")
        is_sound = math.isfinite(temperature) and temperature >= 0.0
        checks.require(is_sound, "temperature", temperature, "0 or more, and finite")
        checks.require(seed >= 0, "seed", seed, "0 or more")
        generator = np.random.Generator(np.random.PCG64(seed))
        end_id = self._vocabulary.end_id
        prompt = text_forms.clean(prompt)
        begin = self._vocabulary.encode_prompt(prompt)
        read = np.asarray([end_id, *begin], np.int32)
        tokens = np.tile(read, (num_samples, 1))
        # Only `</s>` at the very beginning starts from zero; a text that has ended
        # is not read on.
        is_start = np.zeros(tokens.shape, bool)
        is_start[:, 0] = True
        states = tuple(m.initial_state(num_samples) for m in self._models)
        chosen: list[list[int]] = [[] for _ in range(num_samples)]
        ended = np.zeros(num_samples, bool)
        for _ in range(num_tokens):
            logits, states = self._next_logits(tokens, is_start, states)
            drawn = _draw(logits.numpy().astype(np.float64), temperature, generator)
            ended |= drawn == end_id
            for ids, token, is_over in zip(chosen, drawn, ended, strict=True):
                if not is_over:
                    ids.append(int(token))
            if ended.all():
                break
            tokens = drawn[:, None].astype(np.int32)
            is_start = np.zeros(tokens.shape, bool)
        added = (self._vocabulary.continuation(begin, ids) for ids in chosen)
        return [prompt + text for text in added]


def _draw(
    logits: np.ndarray, temperature: float, generator: np.random.Generator
) -> np.ndarray:
    """Returns a token per row of [B, V] logits: [B] int64."""
    if temperature != 0.0:
        # The Gumbel maximum: an exact draw without normalising.
        logits = logits - logits.max(-1, keepdims=True)
        with np.errstate(over="ignore"):  # So far down, nothing is drawn.
            logits = logits / temperature
        logits = logits + generator.gumbel(size=logits.shape)
    return logits.argmax(-1)
