"""Languages, lengths and hosts of a file's documents, for people.

Languages and hosts come from the input, so the number that is kept is limited.
"""

import collections
import dataclasses
import math
from typing import Any, NamedTuple

from data_prep import counts, documents

# With more hosts than this, those seen least so far are forgotten.
_MAX_HOSTS = 50_000
_HOSTS_OF_A_FILE = 500
_HOST_CHARACTERS = 253
_MAX_LANGUAGES, _LANGUAGE_CHARACTERS = 200, 20
# Of a document that a cheaper rule dropped first.
_NOT_LOOKED_AT, _OTHER = "not looked at", "other"


class LengthRange(NamedTuple):
    """Documents of about one length.

    Attributes:
        least: Bytes of text of the shortest that belong here.
        below: Bytes that all stay below.
        documents: How many there are.
    """

    least: int
    below: int
    documents: int


@dataclasses.dataclass
class Profile:
    """Languages of all documents; lengths and hosts of those that passed the rules.

    Attributes:
        languages: Documents by language, as far as it was looked at.
        lengths: Documents by twice the binary logarithm of their bytes, rounded
            down; -1 for empty ones.
        hosts: Documents by host, the most frequent hosts only.
    """

    languages: collections.Counter[str] = counts.counter()
    lengths: collections.Counter[int] = counts.counter()
    hosts: collections.Counter[str] = counts.counter()

    def find(self, language: str, count: int = 1) -> None:
        """Counts documents that were found, by language; empty is unknown."""
        name = language[:_LANGUAGE_CHARACTERS] or _NOT_LOOKED_AT
        if name not in self.languages and len(self.languages) >= _MAX_LANGUAGES:
            name = _OTHER
        self.languages[name] += count

    def keep(self, num_bytes: int, url: str) -> None:
        """Counts a document that passed the rules, of so many bytes of UTF-8."""
        # The same on every machine, as a logarithm might not be.
        self.lengths[(num_bytes * num_bytes).bit_length() - 1] += 1
        if host := documents.host_of(url):
            self.hosts[host[:_HOST_CHARACTERS]] += 1
            self._limit()

    def add(self, other: "Profile") -> None:
        for language, count in other.languages.items():
            self.find(language, count)
        self.lengths.update(other.lengths)
        self.hosts.update(other.hosts)
        self._limit()

    def length_ranges(self) -> list[LengthRange]:
        """Returns the lengths, from the shortest to the longest, without gaps."""
        if not self.lengths:
            return []
        bins = range(min(self.lengths), max(self.lengths) + 1)
        ranges = (LengthRange(_least(i), _least(i + 1), self.lengths[i]) for i in bins)
        # Twice the logarithm is never 1, for one.
        return [one for one in ranges if one.least < one.below]

    def top_hosts(self, count: int) -> dict[str, int]:
        """Returns the most frequent hosts, the first by name of equal ones."""
        order = sorted(self.hosts.items(), key=lambda item: (-item[1], item[0]))
        return dict(order[:count])

    def to_json(self) -> dict[str, Any]:
        return {
            "languages": dict(self.languages),
            "lengths": sorted(self.lengths.items()),
            "hosts": self.top_hosts(_HOSTS_OF_A_FILE),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Profile":
        return cls(
            collections.Counter(value["languages"]),
            collections.Counter(dict(value["lengths"])),
            collections.Counter(value["hosts"]),
        )

    def _limit(self) -> None:
        if len(self.hosts) > _MAX_HOSTS:
            self.hosts = collections.Counter(self.top_hosts(_MAX_HOSTS // 2))


def _least(length_bin: int) -> int:
    """Returns the least number whose square has `length_bin` more bits than one."""
    return math.isqrt((1 << length_bin) - 1) + 1 if length_bin >= 0 else 0
