"""Gopher's quality rules (Rae et al. 2021, arXiv:2112.11446, A.1.1).

The paper has no code. A word is what stands between white space; datatrove counts
punctuation as words as well, and where 80 % of the words must have a letter drops 97
of 466 pages more, 54 of 268 from a crawl (2026-11).
"""

import functools
import re

from lmcodistill.settings import filtering

_ELLIPSES = ("...", "\u2026")
_BULLETS = ("-", "*", "\u2022", "\u2023", "\u25cf", "\u00b7", "\u25aa", "\u25e6")


def drop_reason(text: str, rules: filtering.GopherRules) -> str | None:
    """Returns why a page is not prose, or None."""
    words = text.split(None, rules.max_words)
    count = len(words)
    if count < rules.min_words:
        return "gopher_too_few_words"
    if count > rules.max_words:
        return "gopher_too_many_words"
    characters = len("".join(words))
    if characters < rules.min_mean_word_characters * count:
        return "gopher_mean_word_length"
    if characters > rules.max_mean_word_characters * count:
        return "gopher_mean_word_length"
    limit = rules.max_symbols_per_word * count
    ellipses = sum(map(text.count, _ELLIPSES))
    if text.count("#") > limit or ellipses > limit:
        return "gopher_symbols"
    lines = list(filter(None, map(str.strip, text.split("\n"))))
    bullets = sum(line.startswith(_BULLETS) for line in lines)
    if bullets > rules.max_bullet_lines * len(lines):
        return "gopher_bullet_lines"
    if ellipses:
        cut = sum(line.endswith(_ELLIPSES) for line in lines)
        if cut > rules.max_ellipsis_lines * len(lines):
            return "gopher_ellipsis_lines"
    if not _has_letters(words, rules.min_alphabetic_words * count):
        return "gopher_few_alphabetic_words"
    if not _has_stop_words(text, rules):
        return "gopher_few_stop_words"
    return None


def _has_letters(words: list[str], least: float) -> bool:
    """Returns whether at least that many words have a letter."""
    missing = least - sum(map(str.isalpha, words))
    if missing <= 0:
        return True
    for word in words:
        if not word.isalpha() and any(map(str.isalpha, word)):
            missing -= 1
            if missing <= 0:
                return True
    return False


def _has_stop_words(text: str, rules: filtering.GopherRules) -> bool:
    seen: set[str] = set()
    if not rules.min_stop_words:
        return True
    for match in _pattern(rules.stop_words).finditer(text):
        seen.add(match.group().lower())
        if len(seen) >= rules.min_stop_words:
            return True
    return False


@functools.cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Returns what finds any of the words between white space."""
    either = "|".join(map(re.escape, words))
    return re.compile(rf"(?<!\S)(?:{either})(?!\S)", re.IGNORECASE)
