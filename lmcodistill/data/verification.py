"""Proves that a data folder is what its manifest says.

What is proven: the digests of shards, indices and vocabulary; that every token
is one of the vocabulary and every document ends with `</s>` just where its index
says; all counts; that no document is in two places; that of each input file every
document that was kept is there; and that the report gives a reason for each one
that was not. Memory does not grow with the folder.
"""

import hashlib
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from lmcodistill import errors
from lmcodistill.data import (
    documents_index,
    fault_list,
    repeated_ids,
    report_checks,
    shard_checks,
    shards,
    vocabulary,
)
from lmcodistill.storage import files, layout

# 8 bytes each: 256 MB.
IDS_AT_ONCE = 32_000_000
_MAX_VOCABULARY_BYTES = 64 << 20
_MANIFEST = "manifest.json"


class VerificationResult(NamedTuple):
    """The faults of a data folder.

    Attributes:
        faults: The first `fault_list.MAX_FAULTS`.
        num_faults: How many there are.
        unproven: What there was no means to prove, in words.
    """

    faults: tuple[fault_list.Fault, ...]
    num_faults: int
    unproven: tuple[str, ...]


def bytes_to_read(manifest: shards.Manifest) -> int:
    """Returns what `verify` advances by, in all."""
    width = shards.token_dtype(manifest.vocab_size).itemsize
    row = documents_index.ROW.itemsize * (2 if manifest.has_index else 0)
    return sum(s.tokens * width + s.documents * row for s in manifest.splits)


def verify(
    root: pathlib.Path,
    manifest: shards.Manifest,
    advance: Callable[[int], None] = lambda _: None,
    *,
    ids_at_once: int = IDS_AT_ONCE,
) -> VerificationResult:
    """Compares a data folder with its manifest.

    Args:
        root: The folder.
        manifest: What its `manifest.json` says.
        advance: Called with the bytes that were read since the last call.
        ids_at_once: Ids of documents held in memory, 8 bytes each.
    """
    verifier = _Verifier(root, manifest, advance)
    verifier.check_vocabulary()
    verifier.check_names()
    for split in manifest.splits:
        verifier.check_split(split)
    unproven = []
    num_shards = sum(len(split.shards) for split in manifest.splits)
    num_lost = num_shards - len(verifier.indices)
    if not manifest.has_index:
        unproven.append(
            "that no document is in two splits, that none is missing, and how many "
            "words and bytes there are: a folder of format version 1 has no index of "
            "its documents; `lmcodistill prep` of this version writes one"
        )
    else:
        verifier.check_disjoint(ids_at_once)
        if num_lost:
            unproven.append(
                f"that no document is missing: {num_lost} of {num_shards} indices "
                "cannot be relied on"
            )
        else:
            verifier.check_complete()
        report = layout.DataLayout(root).report_json
        if report.exists():
            report_checks.check(report, manifest.inputs, verifier.faults)
        else:
            unproven.append(
                "that every document which was left out has a reason: report.json is "
                "gone"
            )
    faults = verifier.faults
    return VerificationResult(tuple(faults.faults), faults.num_faults, tuple(unproven))


class _Verifier:
    """Looks at the parts of a data folder, one after the other.

    Attributes:
        faults: What was found.
        indices: Those that can be relied on, of the splits so far.
    """

    def __init__(
        self,
        root: pathlib.Path,
        manifest: shards.Manifest,
        advance: Callable[[int], None],
    ) -> None:
        self._root, self._manifest = root, manifest
        self._totals = documents_index.InputTotals(len(manifest.inputs))
        self.faults = fault_list.FaultList(advance)
        self.indices: list[pathlib.Path] = []

    def check_vocabulary(self) -> None:
        """The vocabulary is that of the manifest."""
        path, manifest = layout.DataLayout(self._root).vocabulary, self._manifest
        compare = self.faults.compare
        try:
            content = files.read_limited(path, _MAX_VOCABULARY_BYTES, False)
            digest = hashlib.sha256(content).hexdigest()
            # SentencePiece itself is spared what prep did not write.
            if not compare(path.name, "SHA-256", digest, manifest.vocabulary):
                return
            pieces = vocabulary.Vocabulary.load(path)
        except errors.DataError as error:
            self.faults.add(
                path.name, "content", error, "the vocabulary that prep wrote"
            )
            return
        compare(_MANIFEST, "vocab_size", manifest.vocab_size, pieces.size)
        compare(_MANIFEST, "end_id", manifest.end_id, pieces.end_id)

    def check_names(self) -> None:
        """Every split is listed once, under its own name, and every shard."""
        splits, compare = self._manifest.splits, self.faults.compare
        for name, split in self._manifest.held_out.items():
            compare(_MANIFEST, "name of a split", split.name, name)
        names = {split.name for split in splits}
        compare(_MANIFEST, "splits listed", len(splits), len(names))
        for split in splits:
            names = {shard.file for shard in split.shards}
            compare(split.name, "shards listed", len(split.shards), len(names))

    def check_split(self, split: shards.Split) -> None:
        """The shards of a split, their indices and all counts are the manifest's."""
        folder, compare = self._root / split.name, self.faults.compare
        if folder.is_symlink():
            self.faults.add(split.name, "kind", "a symbolic link", "a folder")
            return
        tokens = words = num_bytes = 0
        num_indices = len(self.indices) + len(split.shards)
        for shard in split.shards:
            path, rows = folder / shard.file, None
            label = f"{split.name}/{shard.file}"
            if self._manifest.has_index:
                compare(label, "first_token", shard.first_token, tokens)
                index = documents_index.path_of(path)
                rows = shard_checks.check_index(
                    index, shard, len(self._manifest.inputs), self.faults
                )
            if rows is not None:
                self.indices.append(index)
                for block in documents_index.blocks(rows):
                    self._totals.add(block)
                    words += int(block["words"].sum(dtype="u8"))
                    num_bytes += int(block["bytes"].sum(dtype="u8"))
            shard_checks.check_tokens(path, shard, self._manifest, rows, self.faults)
            tokens += shard.tokens
        documents = sum(shard.documents for shard in split.shards)
        compare(split.name, "documents", split.documents, documents)
        compare(split.name, "tokens", split.tokens, tokens)
        if self._manifest.has_index and len(self.indices) == num_indices:
            compare(split.name, "words", split.words, words)
            compare(split.name, "bytes", split.bytes, num_bytes)

    def check_disjoint(self, ids_at_once: int) -> None:
        """No document is in two splits, nor twice in one."""
        width = documents_index.ROW.itemsize
        repeated = repeated_ids.find(
            self.indices, ids_at_once, lambda rows: self.faults.advance(rows * width)
        )
        for id_, (first, *others) in repeated.items():
            for other in others:
                # Two records of a crawl file may have one id; then both are kept.
                in_one_split = first.file.parent == other.file.parent
                if in_one_split and first.source != other.source:
                    continue
                self.faults.add(
                    other.file.relative_to(self._root).as_posix(),
                    "document",
                    f"{id_}, which is in "
                    f"{first.file.relative_to(self._root).as_posix()} too",
                    "each document once",
                    other.row * width,
                )

    def check_complete(self) -> None:
        """What the splits hold of each input file is what was kept of it."""
        compare = self.faults.compare
        for number, source in enumerate(self._manifest.inputs):
            documents, ids = self._totals.of(number)
            compare(source.name, "documents in the splits", documents, source.documents)
            compare(source.name, "sum of their ids", ids, source.ids)
