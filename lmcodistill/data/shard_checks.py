"""Whether one shard and the index of its documents are what they should be."""

import pathlib

import numpy as np

from lmcodistill.data import documents_index, fault_list, shards


def check_index(
    path: pathlib.Path,
    shard: shards.Shard,
    num_inputs: int,
    faults: fault_list.FaultList,
) -> np.ndarray | None:
    """Returns the rows of a shard's index, or None if they are no good.

    Args:
        path: The index.
        shard: What the manifest says.
        num_inputs: How many input files there are.
        faults: Where faults are noted.
    """
    label, width = _label(path), documents_index.ROW.itemsize
    if not faults.check_file(path, label, shard.documents * width, shard.index_sha256):
        return None
    rows = documents_index.read(path)
    position = first = 0
    for block in documents_index.blocks(rows):
        ends = np.cumsum(block["tokens"], dtype=np.uint64) + np.uint64(position)
        starts = ends - block["tokens"]
        inputs = np.minimum(block["file"], max(0, num_inputs - 1))
        for name, expected in (("start", starts), ("file", inputs)):
            i = _first_difference(block[name], expected)
            if i is not None:
                values = int(block[name][i]), int(expected[i])
                field = f"{name} of document {first + i:,}"
                faults.add(label, field, *values, (first + i) * width)
                return None
        position, first = int(ends[-1]), first + len(block)
    return rows if faults.compare(label, "tokens", position, shard.tokens) else None


def check_tokens(
    path: pathlib.Path,
    shard: shards.Shard,
    manifest: shards.Manifest,
    rows: np.ndarray | None,
    faults: fault_list.FaultList,
) -> None:
    """Looks at every token of a shard.

    Args:
        path: The shard.
        shard: What the manifest says.
        manifest: Of the folder.
        rows: Its index, if that is good.
        faults: Where faults are noted.
    """
    label = _label(path)
    tokens = _Tokens(label, manifest, rows, faults)
    size = shard.tokens * tokens.dtype.itemsize
    faults.check_file(path, label, size, shard.sha256, tokens)
    if tokens.position:
        faults.compare(label, "documents", tokens.documents, shard.documents)
        faults.compare(label, "end of the last document", tokens.end, tokens.position)


def _label(path: pathlib.Path) -> str:
    """Returns what a file of a split is called in faults."""
    return f"{path.parent.name}/{path.name}"


def _first_difference(values: np.ndarray, expected: np.ndarray) -> int | None:
    wrong = values != expected
    return int(wrong.argmax()) if wrong.any() else None


class _Tokens:
    """Looks at a shard, a piece after the other.

    Attributes:
        dtype: Of a token.
        position: Tokens seen.
        documents: Documents that ended.
        end: Where the last one ended, in tokens.
    """

    def __init__(
        self,
        label: str,
        manifest: shards.Manifest,
        rows: np.ndarray | None,
        faults: fault_list.FaultList,
    ) -> None:
        self._label, self._manifest = label, manifest
        self._rows, self._faults = rows, faults
        self.dtype = shards.token_dtype(manifest.vocab_size)
        self.position = self.documents = self.end = 0
        self._ids_are_good = True

    def __call__(self, content: bytes) -> None:
        width, vocab_size = self.dtype.itemsize, self._manifest.vocab_size
        tokens = np.frombuffer(content, self.dtype, len(content) // width)
        # One of a kind is enough: a shard that was overwritten has thousands.
        if self._ids_are_good and (strange := tokens >= vocab_size).any():
            self._ids_are_good = False
            i = int(strange.argmax())
            self._faults.add(
                self._label,
                "token",
                int(tokens[i]),
                f"less than {vocab_size:,}",
                (self.position + i) * width,
            )
        ends = np.flatnonzero(tokens == self._manifest.end_id) + self.position + 1
        if self._rows is not None:
            self._compare_ends(ends, self._rows)
        self.documents += len(ends)
        self.end = int(ends[-1]) if len(ends) else self.end
        self.position += len(tokens)

    def _compare_ends(self, ends: np.ndarray, rows: np.ndarray) -> None:
        rows = rows[self.documents : self.documents + len(ends)]
        expected = rows["start"].astype(np.int64) + rows["tokens"]
        i = _first_difference(ends[: len(expected)], expected)
        if i is not None:
            values = int(ends[i]), int(expected[i])
            self._faults.add(
                self._label,
                f"end of document {self.documents + i:,}, in tokens",
                *values,
                (min(values) - 1) * self.dtype.itemsize,
            )
            self._rows = None
