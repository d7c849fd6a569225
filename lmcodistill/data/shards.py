"""Token shards: flat little-endian files, memory-mapped, described by a manifest.

A split (one partition of the training text, or a held-out text) is one long
stream of token ids cut into shard files. Every document ends with `</s>`. The
format is specified in `data_prep/FORMAT.md`; the reader refuses versions it
does not know.
"""

import bisect
import dataclasses
import itertools
import pathlib
import re
from collections.abc import Sequence
from typing import Any, TypeVar, get_origin, get_type_hints

import numpy as np

from lmcodistill import errors
from lmcodistill.data import vocabulary as vocabulary_lib
from lmcodistill.storage import files, layout, places

# Version 1 had no index of documents and no counts of its inputs: it can be
# trained on as well, but not proven to be complete.
FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
# A whole crawl lists 70,000 inputs and as many shards, at some 300 bytes each.
MAX_MANIFEST_BYTES = 64 << 20

_CHUNK_TOKENS = 1 << 22
# No separators, nothing hidden, nothing above, no NUL.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_Row = TypeVar("_Row")


def token_dtype(vocab_size: int) -> np.dtype:
    """Returns the on-disk type of a token id: uint16, uint32 from 65,536 ids."""
    return np.dtype("<u2") if vocab_size < 65_536 else np.dtype("<u4")


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file of a split.

    Attributes:
        file: Name inside the split's folder.
        tokens: Number of ids in it, `</s>` included.
        documents: Number of documents that end in it.
        sha256: Digest of the file's bytes.
        first_token: Where it starts in the split's stream; None in version 1.
        index_sha256: Digest of the index of its documents, which lies beside it
            (`data/documents_index.py`); None where there is none.
    """

    file: str
    tokens: int
    documents: int
    sha256: str
    first_token: int | None = None
    index_sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class Split:
    """One stream of documents.

    Attributes:
        name: Folder name, such as `train-00000-of-00002` or `validation`.
        shards: Its files, in stream order.
        documents: Number of documents.
        tokens: Number of ids, one `</s>` per document included.
        words: Whitespace-separated words of the source text.
        bytes: UTF-8 bytes of the source text.
    """

    name: str
    shards: tuple[Shard, ...]
    documents: int
    tokens: int
    words: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class InputFile:
    """A file that the documents came from.

    Attributes:
        name: As ids and reports call it; nothing of this name is ever opened.
        bytes: Its size.
        sha256: Digest of its bytes.
        documents: Documents of it that were kept, copies not among them.
        ids: Sum of their ids modulo 2^128, in hexadecimal: equal for equal
            documents in any order.
    """

    name: str
    bytes: int
    sha256: str
    documents: int
    ids: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a data folder holds; `manifest.json` is this as JSON.

    Attributes:
        vocabulary: SHA-256 of `vocabulary.model`.
        vocab_size: Number of token ids, V.
        end_id: Id of `</s>`.
        train: The training partitions, disjoint by construction.
        held_out: Other splits by name; `validation` always, `test` perhaps.
        provenance: How it was made (settings, versions); not read back.
        inputs: What was read, in the order of the index's numbers; empty in
            version 1, whose provenance lists them.
        format_version: Of the folder.
    """

    vocabulary: str
    vocab_size: int
    end_id: int
    train: tuple[Split, ...]
    held_out: dict[str, Split]
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)
    inputs: tuple[InputFile, ...] = ()
    format_version: int = FORMAT_VERSION

    @property
    def splits(self) -> tuple[Split, ...]:
        """All splits: the training partitions, then the others."""
        return (*self.train, *self.held_out.values())

    @property
    def has_index(self) -> bool:
        """Whether an index of documents lies beside every shard."""
        return self.format_version > 1

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def read(cls, path: places.Place) -> "Manifest":
        """Reads a manifest.

        Raises:
            DataError: it is missing, too large, or not as this program writes it.
        """
        if not places.is_file(path):
            raise errors.DataError(
                f"{path.parent} has no {path.name}, so it is not a finished data "
                "folder. Make one with `lmcodistill prep --input ... --output_dir "
                f"{path.parent}`, or give an existing one."
            )
        return cls.from_json(files.read_json(path, MAX_MANIFEST_BYTES), path)

    @classmethod
    def from_json(cls, value: dict[str, Any], source: places.Place) -> "Manifest":
        """Builds a manifest from a JSON object read from `source`.

        Raises:
            DataError: another format version, or a field is missing or odd.
        """
        version = value.get("format_version")
        if version not in READABLE_VERSIONS:
            raise errors.DataError(
                f"{source} has format version {version!r}; this program reads "
                f"{' and '.join(map(str, READABLE_VERSIONS))}. Run `lmcodistill prep` "
                "of this version again."
            )
        try:
            return cls(
                vocabulary=str(value["vocabulary"]),
                vocab_size=int(value["vocab_size"]),
                end_id=int(value["end_id"]),
                train=tuple(_split(split) for split in value["train"]),
                held_out={k: _split(v) for k, v in value["held_out"].items()},
                provenance=dict(value["provenance"]),
                inputs=tuple(_row(InputFile, v) for v in value.get("inputs", ())),
                format_version=version,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise errors.DataError(
                f"{source} lacks or garbles a field ({error!r}); it was not written "
                "by `lmcodistill prep`, or was edited. Run prep again."
            ) from error


def _split(value: dict[str, Any]) -> Split:
    shards = tuple(_row(Shard, shard) for shard in value["shards"])
    split = _row(Split, {**value, "shards": shards})
    # Names come from a file: one that leaves the folder is an attack or a bug.
    for name in (split.name, *(shard.file for shard in shards)):
        if not _PLAIN_NAME.fullmatch(name):
            raise ValueError(f"the name {name[:200]!r}")
    return split


def _row(kind: type[_Row], value: dict[str, Any]) -> _Row:
    """Returns a row of the manifest, whose fields are of their types."""
    row = kind(**value)
    for name, expected in _TYPES[kind].items():
        field = getattr(row, name)
        if not isinstance(field, expected) or (isinstance(field, int) and field < 0):
            raise ValueError(f"{name} {field!r}")
    return row


_TYPES: dict[Any, dict[str, Any]] = {
    kind: {
        name: tuple if get_origin(hint) is tuple else hint
        for name, hint in get_type_hints(kind).items()
    }
    for kind in (Shard, Split, InputFile)
}


class SplitTokens:
    """The tokens of a split, or of several, as one array, memory-mapped.

    Attributes:
        num_tokens: Length of the stream.
    """

    def __init__(self, arrays: Sequence[np.ndarray]) -> None:
        self._arrays = arrays
        self._starts = list(itertools.accumulate(map(len, arrays), initial=0))
        self.num_tokens = self._starts[-1]

    def read(self, start: int, length: int) -> np.ndarray:
        """Returns `[length]` int32 tokens from position `start` on."""
        if start < 0 or start + length > self.num_tokens:
            raise IndexError(f"[{start}, {start + length}) of {self.num_tokens} tokens")
        index = bisect.bisect_right(self._starts, start) - 1
        pieces = [np.zeros(0, np.int32)]
        while length > 0:
            offset = start - self._starts[index]
            pieces.append(self._arrays[index][offset : offset + length])
            num_read = len(pieces[-1])
            start, length, index = start + num_read, length - num_read, index + 1
        return np.concatenate(pieces, dtype=np.int32, casting="same_kind")


class ShardSet:
    """A data folder, opened for reading.

    Attributes:
        manifest: Its checked manifest.
        vocabulary: Its vocabulary, whose fingerprint the manifest confirms.
    """

    def __init__(self, root: pathlib.Path) -> None:
        """Opens `root`.

        Raises:
            DataError: no data folder, damaged, or of another format.
        """
        self._layout = layout.DataLayout(root)
        self.manifest = Manifest.read(self._layout.manifest)
        self.vocabulary = vocabulary_lib.Vocabulary.load(self._layout.vocabulary)
        if self.vocabulary.fingerprint != self.manifest.vocabulary:
            raise errors.DataError(
                f"{self._layout.vocabulary} has fingerprint "
                f"{self.vocabulary.fingerprint[:12]}, the manifest beside it expects "
                f"{self.manifest.vocabulary[:12]}: the ids in the shards mean other "
                "pieces. Restore the vocabulary that prep wrote, or run prep again."
            )

    @property
    def num_bytes(self) -> int:
        """Of all its shards."""
        width = token_dtype(self.manifest.vocab_size).itemsize
        return width * sum(split.tokens for split in self.manifest.splits)

    def train_split(self, partition: int) -> Split:
        """Returns the description of one training partition.

        Raises:
            DataError: there are fewer partitions.
        """
        partitions = self.manifest.train
        if partition >= len(partitions):
            raise errors.DataError(
                f"{self._layout.root} has {len(partitions)} training partition(s), and "
                f"number {partition}, counted from 0, was asked for. Deal the text "
                f"anew: `lmcodistill split {self._layout.root} --partitions "
                f"{partition + 1}`; or let all students read what there is with "
                f"--gin.POOLED_PARTITIONS={len(partitions)}."
            )
        return partitions[partition]

    def held_out_split(self, name: str) -> Split:
        """Returns the description of a held-out split.

        Raises:
            DataError: there is none of that name.
        """
        if name not in self.manifest.held_out:
            raise errors.DataError(
                f"{self._layout.root} has no split {name!r}; it has "
                f"{sorted(self.manifest.held_out)}."
            )
        return self.manifest.held_out[name]

    def text_lost(self, split: Split) -> str | None:
        """Returns why the tokens of a split are not its text; None if they are.

        Then a figure per word or byte of the text is not one of what was scored.

        Raises:
            DataError: as `tokens_of`.
        """
        made: Any = self.manifest.provenance
        for name in ("settings", "PrepVocabulary"):
            made = made.get(name) if isinstance(made, dict) else None
        made = made if isinstance(made, dict) else {}  # Nobody reads it elsewhere.
        if made.get("digits") == "generic":
            return "every digit is written as 0"
        if made.get("marks", "none") != "none":
            return f"marks of {made['marks']} are tokens, and no text"
        tokens, unknown = self.tokens_of(split), 0
        for start in range(0, tokens.num_tokens, _CHUNK_TOKENS):
            length = min(_CHUNK_TOKENS, tokens.num_tokens - start)
            chunk = tokens.read(start, length)
            unknown += int((chunk == self.vocabulary.unknown_id).sum())
        if not unknown:
            return None
        return f"{unknown / tokens.num_tokens:.1%} of the tokens are unknown words"

    def tokens_of(self, *splits: Split) -> SplitTokens:
        """Maps the files of splits, which follow each other as one stream.

        Raises:
            DataError: a file is missing or is not as long as the manifest says.
        """
        pairs = ((split, shard) for split in splits for shard in split.shards)
        arrays = [self.tokens_of_shard(split, shard) for split, shard in pairs]
        return SplitTokens([array for array in arrays if len(array)])

    def tokens_of_shard(self, split: Split, shard: Shard) -> np.ndarray:
        """Maps one file of a split; raises as `tokens_of`."""
        dtype = token_dtype(self.manifest.vocab_size)
        path = self.path_of(split, shard)
        expected = shard.tokens * dtype.itemsize
        size = path.stat().st_size if path.is_file() else None
        if size != expected:
            raise errors.DataError(
                f"Shard {path} has {'no' if size is None else size} bytes; "
                f"the manifest says {expected:,}. It is truncated or was replaced; "
                "copy it again or run `lmcodistill prep`."
            )
        if not shard.tokens:  # An empty file cannot be mapped.
            return np.zeros(0, dtype)
        return np.memmap(path, dtype=dtype, mode="r")

    def path_of(self, split: Split, shard: Shard) -> pathlib.Path:
        """Returns where the tokens of a shard are."""
        return self._layout.root / split.name / shard.file
