"""Decides which documents are worth training on.

A rule is a pure function of a document that returns why the document must go,
or None to let it stay. The reason is a stable snake_case word: it is a counter
in `report.json`. Rules are ordered cheap to dear; each has a module.
"""

import collections
import dataclasses
from typing import NamedTuple

from data_prep import documents
from data_prep.rules import (
    c4,
    fineweb,
    gopher,
    hosts,
    languages,
    lengths,
    masking,
    repetition,
)
from lmcodistill.settings import filtering


class Verdict(NamedTuple):
    """What became of a document.

    Attributes:
        reason: Why it must go, or None.
        text: Its text as the last rule saw it: without what the rules before
            have removed.
        language: The language it is in, as far as it was looked at.
        masked: What was replaced in it, counted by kind.
    """

    reason: str | None
    text: str
    language: str
    masked: collections.Counter[str] = collections.Counter()


def judge(document: documents.Document, rules: filtering.Rules) -> Verdict:
    """Applies every rule that is meant for this document.

    Raises:
        DataError: the list of blocked hosts cannot be read.
        UsageError: a language must be identified and the packages are missing.
    """
    if not document.text or document.text.isspace():
        return Verdict("empty", document.text, "")
    reason = hosts.drop_reason(document.url, rules.urls.blocked_hosts)
    if reason is not None:
        return Verdict(reason, document.text, "")
    # What the source declares costs nothing to look at; the model comes late.
    language = ""
    if document.language:
        reason, language = languages.drop_reason(document, rules.language)
        if reason is not None:
            return Verdict(reason, document.text, language)
    text, reason = _clean(document, rules)
    if reason is not None:
        return Verdict(reason, text, language)
    if not document.language or rules.language.check_declared:
        rest = dataclasses.replace(document, text=text, language="")
        reason, language = languages.drop_reason(rest, rules.language)
        if reason is not None:
            return Verdict(reason, text, language)
    if rules.gopher.repetition and _applies(rules.gopher.apply_to, document):
        reason = repetition.drop_reason(text)
        if reason is not None:
            return Verdict(reason, text, language)
    text, masked = masking.mask(text, rules.masking)
    return Verdict(None, text, language, masked)


def _clean(
    document: documents.Document, rules: filtering.Rules
) -> tuple[str, str | None]:
    """Applies the rules of length and form; returns what is left, and why not."""
    text, reason = document.text, None
    if _applies(rules.lengths.apply_to, document):
        text, reason = lengths.clean(text, rules.lengths, is_web=document.is_web)
    if reason is None and _applies(rules.c4.apply_to, document):
        text, reason = c4.clean(text, rules.c4)
    if reason is None and _applies(rules.gopher.apply_to, document):
        reason = gopher.drop_reason(text, rules.gopher)
    if reason is None and _applies(rules.fineweb.apply_to, document):
        reason = fineweb.drop_reason(text, rules.fineweb)
    return text, reason


def _applies(scope: str, document: documents.Document) -> bool:
    return scope == "all" or (scope == "web" and document.is_web)
