"""Counts of one input file: every dropped document has a reason."""

import collections
import dataclasses
from typing import Any

_COUNTERS = (
    *("dropped", "records", "masked", "languages", "paragraphs"),
    "encodings",
)


def counter() -> Any:
    """Returns the field of a dataclass that begins as an empty counter."""
    return dataclasses.field(default_factory=collections.Counter)


@dataclasses.dataclass
class Counts:
    """Counts of one input file.

    Attributes:
        read: Documents found, kept or not: `kept` plus all of `dropped`.
        kept: Documents that passed every rule.
        kept_bytes: UTF-8 bytes of their text.
        dropped: Documents per reason.
        records: Records of an archive per type, text or not.
        masked: Stand-ins for personal data in kept documents, per kind.
        damaged: Places where the file could not be read and reading went on
            behind them.
        truncated: Whether the file ends in the middle of a record.
        languages: Kept documents per language, as declared or found.
        encodings: Lines of a text file that were not in UTF-8, per encoding that
            they were read as.
        replaced: Characters of a text file that could not be read; U+FFFD stands
            where they stood.
        paragraphs: Paragraphs of a published list that were `found`, `not_found`.
        crawl: Name of the crawl that the file says it is part of, or empty.
        is_one_text: Whether the documents are cut from one text.
        note: A sentence for people about the file as a whole, or empty.
    """

    read: int = 0
    kept: int = 0
    kept_bytes: int = 0
    dropped: collections.Counter[str] = counter()
    records: collections.Counter[str] = counter()
    masked: collections.Counter[str] = counter()
    damaged: int = 0
    truncated: bool = False
    languages: collections.Counter[str] = counter()
    paragraphs: collections.Counter[str] = counter()
    encodings: collections.Counter[str] = counter()
    replaced: int = 0
    crawl: str = ""
    is_one_text: bool = False
    note: str = ""

    def drop(self, reason: str) -> None:
        self.read += 1
        self.dropped[reason] += 1

    def keep(self, num_bytes: int, language: str) -> None:
        self.read += 1
        self.kept += 1
        self.kept_bytes += num_bytes
        self.languages[language or "unknown"] += 1

    def add(self, other: "Counts") -> None:
        for field in ("read", "kept", "kept_bytes", "damaged", "replaced"):
            setattr(self, field, getattr(self, field) + getattr(other, field))
        for field in _COUNTERS:
            getattr(self, field).update(getattr(other, field))

    def to_json(self) -> dict[str, Any]:
        # asdict would rebuild a Counter from pairs, which counts the pairs.
        value = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {k: dict(v) if isinstance(v, dict) else v for k, v in value.items()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Counts":
        return cls(**value | {f: collections.Counter(value[f]) for f in _COUNTERS})
