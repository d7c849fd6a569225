"""Single documents of a data folder, given back as text with their source."""

import bisect
import dataclasses
import itertools
import pathlib
import re
from typing import NamedTuple

import numpy as np

from lmcodistill import errors
from lmcodistill.data import documents_index, shards

_ID = re.compile(r"[0-9a-f]{32}")


class StoredDocument(NamedTuple):
    """A document and where it stands.

    Attributes:
        number: Its position among all documents of the folder.
        id: 32 hexadecimal digits.
        split: The split it is in.
        shard: The shard there.
        first_token: Where its tokens start in the shard.
        tokens: How many there are, `</s>` included.
        source: Name of the input file.
        source_number: Its position among the documents found in that file.
        text: Its tokens, decoded.
    """

    number: int
    id: str
    split: str
    shard: str
    first_token: int
    tokens: int
    source: str
    source_number: int
    text: str


class DocumentReader:
    """Finds documents by number and by id.

    Attributes:
        num_documents: Documents of all splits; they are numbered in the order
            of the manifest, the training partitions first.
    """

    def __init__(self, root: pathlib.Path) -> None:
        """Opens a data folder.

        Raises:
            DataError: it is no data folder, or one without indices.
        """
        self._root, self._data = root, shards.ShardSet(root)
        if self._data.manifest.format_version == 1:
            raise errors.DataError(
                f"{root} is of format version 1, which has no index of its documents, "
                "so single ones cannot be found. Run `lmcodistill prep` of this "
                "version again."
            )
        splits = self._data.manifest.splits
        self._shards = [(split, shard) for split in splits for shard in split.shards]
        counts = (shard.documents for _, shard in self._shards)
        self._starts = list(itertools.accumulate(counts, initial=0))
        self.num_documents = self._starts[-1]

    def spread(self, count: int) -> list[StoredDocument]:
        """Returns `count` documents, evenly spread, or all if they are fewer."""
        total = self.num_documents
        count = min(count, total)
        return [self.read((2 * i + 1) * total // (2 * count)) for i in range(count)]

    def find(self, name: str) -> StoredDocument:
        """Returns the document with a number or an id.

        Raises:
            UsageError: there is none.
            DataError: see `read`.
        """
        if _ID.fullmatch(name):
            high, low = int(name[:16], 16), int(name[16:], 16)
            for i, start in enumerate(self._starts[:-1]):
                rows = self._rows(i)
                is_it = (rows["id_high"] == high) & (rows["id_low"] == low)
                if is_it.any():
                    return self.read(start + int(is_it.argmax()))
        elif name.isdecimal() and int(name) < self.num_documents:
            return self.read(int(name))
        raise errors.UsageError(
            f"{self._root} has no document {name}; it has {self.num_documents:,}, "
            "found by a number from 0 on or by an id of 32 hexadecimal digits."
        )

    def read(self, number: int) -> StoredDocument:
        """Returns the document at a position.

        Raises:
            DataError: an index or a shard is missing or damaged.
        """
        manifest = self._data.manifest
        i = bisect.bisect_right(self._starts, number) - 1
        split, shard = self._shards[i]
        row = self._rows(i)[number - self._starts[i]]
        first, tokens, file = int(row["start"]), int(row["tokens"]), int(row["file"])
        if first + tokens > shard.tokens or file >= len(manifest.inputs):
            raise self._damaged(i)
        of_shard = self._data.tokens_of(dataclasses.replace(split, shards=(shard,)))
        ids = of_shard.read(first, tokens)[:-1].tolist()
        if max(ids, default=0) >= manifest.vocab_size:
            raise self._damaged(i)
        return StoredDocument(
            number=number,
            id=documents_index.id_of(row),
            split=split.name,
            shard=shard.file,
            first_token=first,
            tokens=tokens,
            source=manifest.inputs[file].name,
            source_number=int(row["number"]),
            text=self._data.vocabulary.decode(ids),
        )

    def _rows(self, i: int) -> np.ndarray:
        split, shard = self._shards[i]
        path = documents_index.path_of(self._root / split.name / shard.file)
        try:
            rows = documents_index.read(path)
        except (OSError, ValueError) as error:
            raise self._damaged(i) from error
        if len(rows) != shard.documents:
            raise self._damaged(i)
        return rows

    def _damaged(self, i: int) -> errors.DataError:
        split, shard = self._shards[i]
        return errors.DataError(
            f"{self._root / split.name / shard.file} or the index beside it is not "
            f"what the manifest says. `lmcodistill inspect {self._root} --verify` "
            "tells what is damaged."
        )
