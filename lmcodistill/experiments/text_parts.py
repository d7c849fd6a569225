"""Two parts of the validation text: one to tune on, one that judges the arms."""

from typing import NamedTuple

import numpy as np

from lmcodistill import errors
from lmcodistill.data import shards
from lmcodistill.experiments import arms as arms_lib


class TextPart(NamedTuple):
    """A part of the validation text.

    Attributes:
        first_token: Where it begins.
        tokens: Of it, to score between updates; 0: all from there on.
    """

    first_token: int
    tokens: int

    @property
    def bindings(self) -> arms_lib.Bindings:
        """What makes a run report on it."""
        return (
            ("Training.evaluation_first_token", str(self.first_token)),
            ("Training.evaluation_tokens", str(self.tokens)),
        )


def halves(
    tokens: shards.SplitTokens, end_id: int, first_token: int, max_tokens: int
) -> tuple[TextPart, TextPart]:
    """Returns the first half of a text, to tune on, and the second, to judge by.

    The second begins with the document that begins nearest to the middle, if one does
    within a quarter of the text.

    Args:
        tokens: The validation text.
        end_id: The token that ends a document.
        first_token: Where the first half begins.
        max_tokens: To score between updates, of either half; 0: all.

    Raises:
        DataError: there is too little text.
    """
    last = tokens.num_tokens
    middle = (first_token + last) // 2
    if middle <= first_token:
        raise errors.DataError(
            f"The validation text has {last:,} tokens, and --tune halves what is left "
            f"of it from token {first_token:,} on. Give prep more documents, raise "
            "VALIDATION_FRACTION, or lower EVALUATION_FIRST_TOKEN."
        )
    begins = np.flatnonzero(tokens.read(first_token, last - first_token) == end_id)
    begins += first_token + 1
    quarter = (last - first_token) // 4
    near = begins[np.abs(begins - middle) <= quarter]
    second = int(min(near, key=lambda begin: abs(begin - middle), default=middle))
    size = second - first_token
    return (
        TextPart(first_token, min(max_tokens or size, size)),
        TextPart(second, max_tokens),
    )
