"""How probable a text is to a model, in the units that people compare.

Cross entropy in nats is what is measured. Perplexity per token depends on the
vocabulary; perplexity per word and bits per byte do not.
"""

import dataclasses
import math
from collections.abc import Sequence

from lmcodistill.report import units


@dataclasses.dataclass(frozen=True)
class TokenScore:
    """One token of a text.

    Attributes:
        piece: How the vocabulary writes it; U+2581 stands for a space.
        nats: Its cross entropy.
    """

    piece: str
    nats: float


@dataclasses.dataclass(frozen=True)
class _Summed:
    """What every text's score has: the loss of its tokens, all together.

    Attributes:
        nats: Cross entropy of all that was scored.
        num_tokens: How many tokens that are.
    """

    nats: float
    num_tokens: int

    @property
    def cross_entropy(self) -> float:
        """Nats per token."""
        return self.nats / self.num_tokens

    @property
    def perplexity(self) -> float:
        """Per token."""
        return units.perplexity(self.cross_entropy)


@dataclasses.dataclass(frozen=True)
class TextScore(_Summed):
    """A text, read from its beginning.

    Attributes:
        nats: Cross entropy of the whole text, the `</s>` that ends it included.
        num_tokens: How many tokens that are.
        num_bytes: UTF-8 bytes of the text.
        tokens: Each token by itself; None unless asked for.
    """

    num_bytes: int
    tokens: tuple[TokenScore, ...] | None = None

    @property
    def bits_per_byte(self) -> float | None:
        """None where the text is empty."""
        return _bits(self.nats, self.num_bytes)


@dataclasses.dataclass(frozen=True)
class SplitScore(_Summed):
    """A held-out split, or a part of it.

    Attributes:
        nats: Cross entropy of all its tokens.
        num_tokens: How many were scored.
        num_words: Whitespace-separated words of its text; None where only a part was
            scored, of which nobody knows.
        num_bytes: UTF-8 bytes of its text, likewise.
    """

    num_words: int | None
    num_bytes: int | None

    @property
    def word_perplexity(self) -> float | None:
        """Per word; None where their number is not known, or 0."""
        return units.perplexity(self.nats / self.num_words) if self.num_words else None

    @property
    def bits_per_byte(self) -> float | None:
        """None where the number of bytes is not known, or 0."""
        return _bits(self.nats, self.num_bytes)


def total(texts: Sequence[TextScore]) -> TextScore:
    """Returns the score of all texts together; there must be one."""
    return TextScore(
        math.fsum(text.nats for text in texts),
        sum(text.num_tokens for text in texts),
        sum(text.num_bytes for text in texts),
    )


def _bits(nats: float, num_bytes: int | None) -> float | None:
    return units.bits_per_byte(nats, num_bytes) if num_bytes else None
