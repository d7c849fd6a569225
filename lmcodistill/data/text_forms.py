r"""How text reads to a tokenizer: cleaned, as it is, word by word, or marked.

Every change is a `Substitution` in what Python's `re` and RE2, TensorFlow's, have in
common, with `\z` for the end of the text: prep, `generate` and the graph of a served
model apply the same ones. Characters stand in the patterns as they are.
"""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple


class Substitution(NamedTuple):
    r"""Replaces every match of a pattern; `\1` is its first group."""

    pattern: str
    replacement: str


# SentencePiece writes a space as U+2581 and refuses a piece with a NUL in it.
CLEAN = (
    Substitution("\r\n", "\n"),
    Substitution("\r", "\n"),
    Substitution("\0", ""),
    Substitution("\u2581", "_"),
)
# White space as `str.split` knows it, but for the line end.
_BLANKS = (
    "\t\x0b\x0c\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
)
# Words and line ends, a single space between any two: a line end is a word as well.
WORDS = (
    Substitution(f"[{_BLANKS}]+", " "),
    Substitution("\n", " \n "),
    Substitution(" +", " "),
    Substitution(r"^ | \z", ""),
)

# Characters for private use, which become pieces.
PARAGRAPH_START, PARAGRAPH_END = "\ue000", "\ue001"
SENTENCE_START, SENTENCE_END = "\ue002", "\ue003"
MARKS = {
    "none": (),
    "paragraphs": (PARAGRAPH_START, PARAGRAPH_END),
    "sentences": (PARAGRAPH_START, PARAGRAPH_END, SENTENCE_START, SENTENCE_END),
}
_ANY_MARK = "[\ue000-\ue003]"
_BETWEEN = SENTENCE_END + SENTENCE_START
_SENTENCES = (
    Substitution(f"([.!?][\"'\u2019\u201d)\\]]*)([{_BLANKS}]+)", rf"\1{_BETWEEN}\2"),
    # A sentence must follow.
    Substitution(rf"{_BETWEEN}([{_BLANKS}]+)(\n|\z)", r"\1\2"),
)
# From the beginning of a line, or a long blank one would take the square of its time.
_PARAGRAPH = f"(?m)^([{_BLANKS}]*[^{_BLANKS}\n].*)"
MARKING: dict[str, tuple[Substitution, ...]] = {
    "none": (),
    "paragraphs": (
        Substitution(_ANY_MARK, "\ufffd"),
        Substitution(_PARAGRAPH, rf"{PARAGRAPH_START}\1{PARAGRAPH_END}"),
    ),
    "sentences": (
        Substitution(_ANY_MARK, "\ufffd"),
        *_SENTENCES,
        Substitution(
            _PARAGRAPH,
            rf"{PARAGRAPH_START}{SENTENCE_START}\1{SENTENCE_END}{PARAGRAPH_END}",
        ),
    ),
}
# What a model is to go on with has not ended.
OPENING = (Substitution(rf"{SENTENCE_END}?{PARAGRAPH_END}\z", ""),)
# What a model says is not for its reader. It knows NUL as a byte at most.
PLAIN = (Substitution("\0", ""), Substitution(_ANY_MARK, ""))
PLAIN_WITHOUT_MARKS = (Substitution("\0", ""),)

# How a digit is written; `split` keeps it and makes it a piece of its own.
DIGITS: dict[str, tuple[Substitution, ...]] = {
    "keep": (),
    "split": (),
    "generic": (Substitution("[1-9]", "0"),),
}


def clean(text: str) -> str:
    r"""Returns `text` as the tokenizer can give it back exactly.

    Line ends become `\n`, surrogates without a partner become U+FFFD, NUL goes, and
    the character that SentencePiece uses for a space becomes an underscore. Nothing
    else changes.
    """
    text = apply(CLEAN, text)
    return text.encode("utf-8", errors="surrogatepass").decode("utf-8", "replace")


def apply(rules: Sequence[Substitution], text: str) -> str:
    """Returns `text` with all rules applied, in order."""
    for pattern, replacement in rules:
        if _META.search(pattern):
            text = _compiled(pattern).sub(replacement, text)
        else:  # Ten times as fast, and all text goes through it.
            text = text.replace(pattern, replacement)
    return text


_META = re.compile(r"[.^$*+?{}\[\]\\|()]")


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(r"\z", r"\Z"))
