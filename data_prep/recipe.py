"""All that decides the outcome of a run besides its inputs."""

import dataclasses
from typing import Any

from data_prep import filters
from lmcodistill.settings import deduplication as deduplication_settings
from lmcodistill.settings import prep as prep_settings


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The settings of prep, together."""

    prep: prep_settings.Prep
    vocabulary: prep_settings.PrepVocabulary
    language: prep_settings.LanguageRule
    c4: prep_settings.C4Rules
    gopher: prep_settings.GopherRules
    deduplication: deduplication_settings.Deduplication = (
        deduplication_settings.Deduplication()
    )

    def to_json(self) -> dict[str, Any]:
        """Returns them by class and field, as gin files name them."""
        parts = (getattr(self, field.name) for field in dataclasses.fields(self))
        return {
            type(part).__name__: _listed(dataclasses.asdict(part)) for part in parts
        }

    @property
    def rules(self) -> filters.Rules:
        """What a document must pass."""
        return filters.Rules(self.language, self.c4, self.gopher)


def _listed(value: dict[str, Any]) -> dict[str, Any]:
    """Returns `value` as JSON reads it back."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}
