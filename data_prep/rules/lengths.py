"""Length in words and in paragraphs."""

import re

from lmcodistill.settings import filtering

_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")


def clean(
    text: str, rules: filtering.LengthRules, *, is_web: bool
) -> tuple[str, str | None]:
    """Returns the paragraphs that stay, and why the document must go or None.

    Args:
        text: The document's text.
        rules: How long it must be.
        is_web: Whether every line is a paragraph; else blank lines are between.
    """
    if rules.min_words or rules.max_words:
        most = rules.max_words or len(text)
        count = len(text.split(None, most))
        if count < rules.min_words:
            return text, "too_few_words"
        if count > most:
            return text, "too_many_words"
    if not rules.min_long_paragraphs and not rules.only_long_paragraphs:
        return text, None
    paragraphs = text.split("\n") if is_web else _BLANK_LINES.split(text)
    least = rules.long_paragraph_words
    long = [p for p in paragraphs if len(p.split(None, least)) >= least]
    if len(long) < max(rules.min_long_paragraphs, rules.only_long_paragraphs):
        return text, "too_few_long_paragraphs"
    if rules.only_long_paragraphs:
        text = ("\n" if is_web else "\n\n").join(long)
    return text, None
