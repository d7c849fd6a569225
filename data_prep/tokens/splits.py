"""The splits of a run, and how the documents of each part find their places."""

from collections.abc import Sequence

from data_prep import work
from data_prep.reading import inputs
from data_prep.tokens import partition
from lmcodistill.settings import prep
from lmcodistill.storage import layout


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
    ):
        self._sources, self._parts, self._settings = sources, parts, settings
        count = settings.num_partitions
        train = [layout.DataLayout.train_name(i, count) for i in range(count)]
        given = {source.split for source in sources}
        test = [partition.TEST] if partition.TEST in given else []
        self.names: tuple[str, ...] = (*train, partition.VALIDATION, *test)

    def place(self, part: work.Part) -> partition.ByHash | partition.ByOrder:
        """Returns how the documents of a part find their places."""
        settings = self._settings
        split = self._sources[part.file].split
        if split is None:
            return partition.ByHash(
                settings.seed, settings.validation_fraction, settings.num_partitions
            )
        parts = [other for other in self._parts if other.file == part.file]
        return partition.ByOrder(
            split=split,
            first=sum(other.documents for other in parts[: part.index]),
            num_documents=sum(other.documents for other in parts),
            num_partitions=settings.num_partitions,
        )

    def shard_ranges(self, split: str, tokens: int) -> list[tuple[int, int]]:
        """Returns the range of places of each shard of a split, in order."""
        low, high = self._range(split)
        count = -(-tokens // self._settings.shard_tokens)
        return partition.equal_ranges(low, high, count)

    def _range(self, split: str) -> tuple[int, int]:
        name = "train" if split.startswith("train-") else split
        for part in self._parts:
            if self._sources[part.file].split in (None, name):
                return self.place(part).key_range(split)
        raise KeyError(split)
