"""Which split a document belongs to, and where in it.

Web and book text: a hash of the document's id decides, so that partitions are
disjoint by construction, growing the corpus moves no document between them, and no
random number generator can change between versions. Whether a section of a text file
is held out follows from the file's id. Pre-tokenized text: its place in the file
decides.

The guide is dealt from what would be training text, so that without it nothing
else changes place.
"""

import dataclasses
import functools
import hashlib
import itertools
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data_prep import work
from data_prep.reading import inputs
from lmcodistill.settings import prep
from lmcodistill.storage import layout

KEY_END = 1 << 64
VALIDATION, TEST, GUIDE = "validation", "test", "guide"
# Runs of consecutive documents that the guide of a text in order is made of.
_GUIDE_RUNS = 16


class Place(NamedTuple):
    """Where a document goes.

    Attributes:
        split: Name of the split.
        key: The documents of a split are in ascending order of this.
    """

    split: str
    key: int


class Draw(NamedTuple):
    """Independent uniform numbers that belong to a document id."""

    validation: float
    partition: int
    key: int
    sample: float


def draw(document_id: str, seed: int) -> Draw:
    """Returns the numbers of a document: the same on every machine, for ever."""
    digest = hashlib.blake2b(f"{seed}\0{document_id}".encode(), digest_size=32)
    validation, partition, key, sample = struct.unpack("<4Q", digest.digest())
    return Draw(validation / KEY_END, partition, key, sample / KEY_END)


class HeldOut(NamedTuple):
    """Which of the uniform numbers that say it mean held-out text.

    Attributes:
        validation: Those below are validation's.
        guide_start: From here on,
        guide_end: and below here, they are the guide's.
    """

    validation: float
    guide_start: float
    guide_end: float


@dataclasses.dataclass(frozen=True)
class ByHash:
    """Deals documents out by a hash of their ids.

    Attributes:
        seed: Of the hash.
        num_partitions: Disjoint slices of the training text.
        held_out: What is not training text.
        chance: The number that says so for all documents alike, since they are cut
            from one text; None: each has its own.
    """

    seed: int
    num_partitions: int
    held_out: HeldOut = HeldOut(0.0, 0.0, 0.0)
    chance: float | None = None

    def place(self, document_id: str, number: int) -> Place:
        """Returns where a document goes; its number in the file is unused."""
        drawn = draw(document_id, self.seed)
        chance = drawn.validation if self.chance is None else self.chance
        if chance < self.held_out.validation:
            return Place(VALIDATION, drawn.key)
        if self.held_out.guide_start <= chance < self.held_out.guide_end:
            return Place(GUIDE, drawn.key)
        partition = drawn.partition % self.num_partitions
        return Place(train_names(self.num_partitions)[partition], drawn.key)

    def key_range(self, split: str) -> tuple[int, int]:
        """Returns the lowest key a split can have, and one above the highest."""
        return 0, KEY_END


@dataclasses.dataclass(frozen=True)
class ByOrder:
    """Keeps documents in the order and the split that they come in.

    The guide is the end of each of a few equal stretches of the training text: of
    every part of it, and yet of neighbours, for a state that is carried.

    Attributes:
        split: `train`, `validation` or `test`.
        first: Number of this part's first document in its file.
        num_documents: Documents of the whole file.
        num_partitions: Consecutive slices of the training text.
        guide_fraction: Share of the training documents that are the guide's.
    """

    split: str
    first: int
    num_documents: int
    num_partitions: int
    guide_fraction: float

    def place(self, document_id: str, number: int) -> Place:
        """Returns where the document with this number in its part goes."""
        key = self.first + number
        if self.split != "train":
            return Place(self.split, key)
        if self._is_guide(key):
            return Place(GUIDE, key)
        partition = key * self.num_partitions // self.num_documents
        return Place(train_names(self.num_partitions)[partition], key)

    def key_range(self, split: str) -> tuple[int, int]:
        """Returns the lowest key of a split, and one above the highest."""
        if split in (VALIDATION, TEST, GUIDE):
            return 0, self.num_documents
        partition = train_names(self.num_partitions).index(split)
        low = -(-partition * self.num_documents // self.num_partitions)
        high = -(-(partition + 1) * self.num_documents // self.num_partitions)
        return low, high

    def _is_guide(self, key: int) -> bool:
        total = round(self.guide_fraction * self.num_documents)
        if not total:
            return False
        runs = min(_GUIDE_RUNS, total)
        run = key * runs // self.num_documents
        end = -(-(run + 1) * self.num_documents // runs)
        return key >= end - ((run + 1) * total // runs - run * total // runs)


Rule = ByHash | ByOrder


class Splits:
    """What decides where documents go, known once everything is read.

    Attributes:
        names: All splits; a split's number is its position here.
    """

    def __init__(
        self,
        sources: Sequence[inputs.Input],
        parts: Sequence[work.Part],
        settings: prep.Prep,
        held_out: HeldOut,
        chances: Mapping[int, float],
    ):
        """Builds the splits.

        Args:
            sources: All input files.
            parts: All parts of them.
            settings: What is dealt out.
            held_out: Of text that prep splits itself, which documents are.
            chances: By number of the file, see `ByHash.chance`.
        """
        self._sources, self._parts, self._settings = sources, parts, settings
        self._held_out, self._chances = held_out, chances
        optional = {
            TEST: any(source.split == TEST for source in sources),
            GUIDE: settings.guide_fraction > 0.0,
        }
        self.names = (
            *train_names(settings.num_partitions),
            VALIDATION,
            *(name for name, is_there in optional.items() if is_there),
        )

    def place(self, part: work.Part) -> Rule:
        """Returns how the documents of a part find their places."""
        settings = self._settings
        split = self._sources[part.file].split
        if split is None:
            return ByHash(
                settings.seed,
                settings.num_partitions,
                self._held_out,
                self._chances.get(part.file),
            )
        parts = [other for other in self._parts if other.file == part.file]
        return ByOrder(
            split=split,
            first=sum(other.documents for other in parts[: part.index]),
            num_documents=sum(other.documents for other in parts),
            num_partitions=settings.num_partitions,
            guide_fraction=settings.guide_fraction,
        )

    def shard_ranges(self, split: str, tokens: int) -> list[tuple[int, int]]:
        """Returns the range of places of each shard of a split, in order."""
        name = split if split in (VALIDATION, TEST) else "train"
        part = next(
            part
            for part in self._parts
            if self._sources[part.file].split in (None, name)
        )
        low, high = self.place(part).key_range(split)
        count = -(-tokens // self._settings.shard_tokens)
        return equal_ranges(low, high, count)


@functools.cache
def train_names(num_partitions: int) -> tuple[str, ...]:
    """Returns the names of the training splits, in order."""
    numbers = range(num_partitions)
    return tuple(layout.DataLayout.train_name(i, num_partitions) for i in numbers)


def equal_ranges(low: int, high: int, count: int) -> list[tuple[int, int]]:
    """Cuts [low, high) into `count` ranges of equal width, in order."""
    edges = [low + (high - low) * i // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))
