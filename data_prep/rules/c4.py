"""C4's line and page rules (Raffel et al. 2020, arXiv:1910.10683, section 2.2).

Differs from its published code, which looks for curly brackets and "lorem ipsum" only
in the lines that stay, and takes no curly quote for an end mark: of 452 pages 13 go
here that stay there, and 9 of 318 that both keep have other lines (2026-11). The paper
says "any page".
"""

import re

from lmcodistill.settings import filtering

_END_MARKS = (".", "?", "!", '"', "\u201d")
_ELLIPSES = ("...", "\u2026")
_UNWANTED_PHRASES = (
    "javascript",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_SENTENCE_END = re.compile(r"[.!?][\"'\u2019\u201d)\]]*(?=\s|$)")


def clean(text: str, rules: filtering.C4Rules) -> tuple[str, str | None]:
    """Returns the lines that stay, and why the page must go or None.

    A page of which no line stays is returned whole, so that people can see it.
    """
    lowered = text.lower()
    if "lorem ipsum" in lowered:
        return text, "c4_lorem_ipsum"
    if "{" in text:
        return text, "c4_curly_bracket"
    # Most pages have none of them, and then no line needs to be looked through.
    unwanted = tuple(phrase for phrase in _UNWANTED_PHRASES if phrase in lowered)
    if "[" in text:
        text = _CITATION.sub("", text)
    lines = [
        line
        for line in map(str.strip, text.split("\n"))
        if _is_good(line, rules, unwanted)
    ]
    if not lines:
        return text, "c4_no_good_line"
    kept = "\n".join(lines)
    if not has_sentences(kept, rules.min_sentences):
        return kept, "c4_too_few_sentences"
    return kept, None


def has_sentences(text: str, least: int) -> bool:
    """Returns whether at least that many sentences end in `text`."""
    ends = _SENTENCE_END.finditer(text)
    return all(next(ends, None) is not None for _ in range(least))


def _is_good(line: str, rules: filtering.C4Rules, unwanted: tuple[str, ...]) -> bool:
    if not line:
        return False
    if rules.end_marks and (not line.endswith(_END_MARKS) or line.endswith(_ELLIPSES)):
        return False
    least = rules.min_words_per_line
    # One cut more than there must be words gives as many pieces if there are.
    if least > 1 and len(line.split(None, least - 1)) < least:
        return False
    longest = rules.max_word_characters
    if len(line) > longest and max(map(len, line.split())) > longest:
        return False
    if not unwanted:
        return True
    lowered = line.lower()
    return not any(phrase in lowered for phrase in unwanted)
