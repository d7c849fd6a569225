"""Decides which documents are worth training on: `RULES` has the rules in order.

A rule looks at a page, may change its text, and returns why the page must go, or
None to let it stay. The reason is a stable snake_case word: it is a counter in
`report.json`. Cheap rules come first; each has a module.
"""

import collections
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from data_prep import counts, documents
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


class Decision(NamedTuple):
    """What becomes of a document.

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


@dataclasses.dataclass
class Page:
    """A document on its way through the rules; see `Decision`."""

    document: documents.Document
    text: str
    language: str = ""
    masked: collections.Counter[str] = counts.counter()


def judge(document: documents.Document, rules: filtering.Rules) -> Decision:
    """Applies every rule that is meant for this document.

    Raises:
        DataError: the list of blocked hosts cannot be read.
        UsageError: a language must be identified and the packages are missing.
    """
    if not document.text or document.text.isspace():
        return Decision("empty", document.text, "")
    page = Page(document, document.text)
    for name, rule in RULES:
        settings = getattr(rules, name)
        scope = getattr(settings, "apply_to", "all")
        if scope == "all" or (scope == "web" and document.is_web):
            reason = rule(page, settings)
            if reason is not None:
                return Decision(reason, page.text, page.language)
    return Decision(None, page.text, page.language, page.masked)


def _declared_language(page: Page, rule: filtering.LanguageRule) -> str | None:
    # What the source declares costs nothing to look at; the model comes late.
    if not page.document.language:
        return None
    reason, page.language = languages.drop_reason("", page.document.language, rule)
    return reason


def _identified_language(page: Page, rule: filtering.LanguageRule) -> str | None:
    if page.document.language and not rule.check_declared:
        return None
    reason, page.language = languages.drop_reason(page.text, "", rule)
    return reason


def _lengths(page: Page, rules: filtering.LengthRules) -> str | None:
    page.text, reason = lengths.clean(page.text, rules, is_web=page.document.is_web)
    return reason


def _c4(page: Page, rules: filtering.C4Rules) -> str | None:
    page.text, reason = c4.clean(page.text, rules)
    return reason


def _repetition(page: Page, rules: filtering.GopherRules) -> str | None:
    return repetition.drop_reason(page.text) if rules.repetition else None


def _masking(page: Page, settings: filtering.Masking) -> None:
    page.text, page.masked = masking.mask(page.text, settings)


# In order, by the field of `filtering.Rules` that has their settings. Settings
# with `apply_to` say which documents the rule is meant for.
RULES: tuple[tuple[str, Callable[[Page, Any], str | None]], ...] = (
    ("urls", lambda page, rules: hosts.drop_reason(page.document.url, rules)),
    ("language", _declared_language),
    ("lengths", _lengths),
    ("c4", _c4),
    ("gopher", lambda page, rules: gopher.drop_reason(page.text, rules)),
    ("fineweb", lambda page, rules: fineweb.drop_reason(page.text, rules)),
    ("language", _identified_language),
    ("gopher", _repetition),
    ("masking", _masking),
)
