"""All that decides the outcome of a run besides its inputs."""

import dataclasses
from typing import Any

from data_prep.rules import hosts
from lmcodistill.settings import deduplication as deduplication_settings
from lmcodistill.settings import filtering
from lmcodistill.settings import paragraphs as paragraph_settings
from lmcodistill.settings import prep as prep_settings


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The settings of prep, together."""

    prep: prep_settings.Prep
    vocabulary: prep_settings.PrepVocabulary
    rules: filtering.Rules
    deduplication: deduplication_settings.Deduplication = (
        deduplication_settings.Deduplication()
    )
    paragraphs: paragraph_settings.ParagraphList = paragraph_settings.ParagraphList()

    @property
    def paragraph_list(self) -> paragraph_settings.ParagraphList | None:
        """How the list of paragraphs counts, if one was given."""
        return self.paragraphs if self.paragraphs.sha256 else None

    def to_json(self) -> dict[str, Any]:
        """Returns them by class and field, as gin files name them.

        Raises:
            DataError: the file of blocked hosts cannot be read.
        """
        rules = (getattr(self.rules, name) for name in filtering.RULES)
        value = {
            type(part).__name__: _listed(dataclasses.asdict(part))
            for part in (
                self.prep,
                self.vocabulary,
                self.deduplication,
                self.paragraphs,
                *rules,
            )
        }
        # Where the file is decides nothing, what is in it does.
        value["UrlRules"]["blocked_hosts"] = hosts.digest_of(
            self.rules.urls.blocked_hosts
        )
        return value


def _listed(value: dict[str, Any]) -> dict[str, Any]:
    """Returns `value` as JSON reads it back."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}
