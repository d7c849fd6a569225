"""Whether one shard and the index of its documents are what they should be."""

import pathlib

import numpy as np

from lmcodistill.data import documents_index, findings, shards


def check_index(
    path: pathlib.Path,
    label: str,
    shard: shards.Shard,
    num_inputs: int,
    found: findings.Findings,
) -> np.ndarray | None:
    """Returns the rows of a shard's index, or None if they are no good.

    Args:
        path: The index.
        label: What it is called in faults.
        shard: What the manifest says.
        num_inputs: How many input files there are.
        found: Where faults are noted.
    """
    size = shard.documents * documents_index.ROW.itemsize
    if not found.check_file(path, label, size, shard.index_sha256):
        return None
    rows = documents_index.read(path)
    position = first = 0
    for block in documents_index.blocks(rows):
        ends = np.cumsum(block["tokens"], dtype=np.uint64) + np.uint64(position)
        starts = ends - block["tokens"]
        strange = block["file"] >= num_inputs
        for name, wrong, wanted in (
            ("start", block["start"] != starts, starts),
            ("file", strange, np.full(len(block), max(0, num_inputs - 1))),
        ):
            if wrong.any():
                i = int(wrong.argmax())
                what = f"{name} of document {first + i:,}"
                place = (first + i) * documents_index.ROW.itemsize
                found.add(label, what, int(block[name][i]), int(wanted[i]), place)
                return None
        position, first = int(ends[-1]), first + len(block)
    return rows if found.compare(label, "tokens", position, shard.tokens) else None


def check_tokens(
    path: pathlib.Path,
    label: str,
    shard: shards.Shard,
    manifest: shards.Manifest,
    rows: np.ndarray | None,
    found: findings.Findings,
) -> None:
    """Looks at every token of a shard.

    Args:
        path: The shard.
        label: What it is called in faults.
        shard: What the manifest says.
        manifest: Of the folder.
        rows: Its index, if that is good.
        found: Where faults are noted.
    """
    look = _Tokens(label, manifest, rows, found)
    size = shard.tokens * look.dtype.itemsize
    found.check_file(path, label, size, shard.sha256, look)
    if look.position:
        found.compare(label, "documents", look.documents, shard.documents)
        found.compare(label, "end of the last document", look.end, look.position)


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
        found: findings.Findings,
    ):
        self._label, self._manifest = label, manifest
        self._rows, self._found = rows, found
        self.dtype = shards.token_dtype(manifest.vocab_size)
        self.position = self.documents = self.end = 0
        self._ids_are_good = True

    def __call__(self, content: bytes) -> None:
        width = self.dtype.itemsize
        tokens = np.frombuffer(content, self.dtype, len(content) // width)
        strange = tokens >= self._manifest.vocab_size
        # One of a kind is enough: a shard that was overwritten has thousands.
        if self._ids_are_good and strange.any():
            self._ids_are_good = False
            i = int(strange.argmax())
            self._found.add(
                self._label,
                "token",
                int(tokens[i]),
                f"less than {self._manifest.vocab_size:,}",
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
        wanted = rows["start"].astype(np.int64) + rows["tokens"]
        wrong = ends[: len(wanted)] != wanted
        if wrong.any():
            i = int(wrong.argmax())
            self._found.add(
                self._label,
                f"end of document {self.documents + i:,}, in tokens",
                int(ends[i]),
                int(wanted[i]),
                (min(int(ends[i]), int(wanted[i])) - 1) * self.dtype.itemsize,
            )
            self._rows = None
