"""Decides which documents are worth training on.

A rule is a pure function of a document's text that returns why the document
must go, or None to let it stay. The reason is a stable snake_case word: it is a
counter in `report.json`. Rules are ordered cheap to dear.
"""

import re
from typing import NamedTuple

from data_prep import documents, languages, repetition
from lmcodistill.settings import prep

_END_MARKS = (".", "?", "!", '"', "\u201d")
_ELLIPSES = ("...", "\u2026")
_POLICY_PHRASES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_SENTENCE_END = re.compile(r"[.!?][\"'\u2019\u201d)\]]*(?=\s|$)")
_BULLETS = ("-", "*", "\u2022", "\u2023", "\u25cf", "\u00b7", "\u25aa", "\u25e6")


class Rules(NamedTuple):
    """All rules that a document must pass."""

    language: prep.LanguageRule
    c4: prep.C4Rules
    gopher: prep.GopherRules


class Verdict(NamedTuple):
    """What became of a document.

    Attributes:
        reason: Why it must go, or None.
        text: Its text, without the lines that the line rules remove.
        language: The language it is in, as far as it was looked at.
    """

    reason: str | None
    text: str
    language: str


def judge(document: documents.Document, rules: Rules) -> Verdict:
    """Applies every rule that is meant for this document."""
    text = document.text
    if not text.strip():
        return Verdict("empty", text, "")
    # What the source declares costs nothing to look at; the model comes last.
    language = ""
    if document.language:
        reason, language = languages.drop_reason(document, rules.language)
        if reason is not None:
            return Verdict(reason, text, language)
    if _applies(rules.c4.apply_to, document):
        text, reason = c4(text, rules.c4)
        if reason is not None:
            return Verdict(reason, text, language)
    if _applies(rules.gopher.apply_to, document):
        reason = gopher_quality(text, rules.gopher)
        if reason is not None:
            return Verdict(reason, text, language)
    if not document.language:
        kept = documents.Document(id=document.id, text=text)
        reason, language = languages.drop_reason(kept, rules.language)
        if reason is not None:
            return Verdict(reason, text, language)
    if rules.gopher.repetition and _applies(rules.gopher.apply_to, document):
        return Verdict(repetition.drop_reason(text), text, language)
    return Verdict(None, text, language)


def _applies(scope: str, document: documents.Document) -> bool:
    return scope == "all" or (scope == "web" and document.is_web)


def c4(text: str, rules: prep.C4Rules) -> tuple[str, str | None]:
    """Returns the lines that stay, and why the page must go or None."""
    lowered = text.lower()
    if "lorem ipsum" in lowered:
        return text, "c4_lorem_ipsum"
    if "{" in text:
        return text, "c4_curly_bracket"
    lines = [
        line
        for line in (_CITATION.sub("", line).strip() for line in text.split("\n"))
        if _is_good_line(line, rules)
    ]
    kept = "\n".join(lines)
    if not kept:
        return kept, "c4_no_good_line"
    if len(_SENTENCE_END.findall(kept)) < rules.min_sentences:
        return kept, "c4_too_few_sentences"
    return kept, None


def _is_good_line(line: str, rules: prep.C4Rules) -> bool:
    if not line.endswith(_END_MARKS) or line.endswith(_ELLIPSES):
        return False
    words = line.split()
    if len(words) < rules.min_words_per_line:
        return False
    lowered = line.lower()
    if "javascript" in lowered or any(p in lowered for p in _POLICY_PHRASES):
        return False
    return max(map(len, words)) <= rules.max_word_characters


def gopher_quality(text: str, rules: prep.GopherRules) -> str | None:
    """Returns why a page is not prose, or None."""
    words = text.split()
    if len(words) < rules.min_words:
        return "gopher_too_few_words"
    if len(words) > rules.max_words:
        return "gopher_too_many_words"
    mean = sum(map(len, words)) / len(words)
    if not rules.min_mean_word_characters <= mean <= rules.max_mean_word_characters:
        return "gopher_mean_word_length"
    limit = rules.max_symbols_per_word * len(words)
    ellipses = sum(map(text.count, _ELLIPSES))
    if text.count("#") > limit or ellipses > limit:
        return "gopher_symbols"
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    bullets = sum(line.startswith(_BULLETS) for line in lines)
    if bullets > rules.max_bullet_lines * len(lines):
        return "gopher_bullet_lines"
    cut = sum(line.endswith(_ELLIPSES) for line in lines)
    if cut > rules.max_ellipsis_lines * len(lines):
        return "gopher_ellipsis_lines"
    alphabetic = sum(any(map(str.isalpha, word)) for word in words)
    if alphabetic < rules.min_alphabetic_words * len(words):
        return "gopher_few_alphabetic_words"
    found = {word.lower() for word in words} & set(rules.stop_words)
    if len(found) < rules.min_stop_words:
        return "gopher_few_stop_words"
    return None
