"""Proves that a data folder is what its manifest says.

What is proven: the digests of shards, indices and vocabulary; that every token
is one of the vocabulary and every document ends with `</s>` just where its index
says; all counts; that no document is in two places; and that of each input file
every document that was kept is there. Memory does not grow with the folder.
"""

import hashlib
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from lmcodistill import errors
from lmcodistill.data import (
    documents_index,
    findings,
    repeated_ids,
    shard_checks,
    shards,
    vocabulary,
)
from lmcodistill.storage import files, layout

# 8 bytes each: 256 MB.
IDS_AT_ONCE = 32_000_000
_MAX_VOCABULARY_BYTES = 64 << 20
_MANIFEST = "manifest.json"


class Verdict(NamedTuple):
    """The outcome.

    Attributes:
        faults: What is wrong; the first `findings.MAX_FAULTS`.
        num_faults: How many there are.
        unproven: What there was no means to prove, in words.
    """

    faults: tuple[findings.Fault, ...]
    num_faults: int
    unproven: tuple[str, ...]


def bytes_to_read(manifest: shards.Manifest) -> int:
    """Returns what `verify` advances by, in all."""
    width = shards.token_dtype(manifest.vocab_size).itemsize
    row = documents_index.ROW.itemsize * (2 if manifest.format_version > 1 else 0)
    return sum(s.tokens * width + s.documents * row for s in manifest.splits)


def verify(
    root: pathlib.Path,
    manifest: shards.Manifest,
    advance: Callable[[int], None] = lambda _: None,
    *,
    ids_at_once: int = IDS_AT_ONCE,
) -> Verdict:
    """Compares a data folder with its manifest.

    Args:
        root: The folder.
        manifest: What its `manifest.json` says.
        advance: Called with the bytes that were read since the last call.
        ids_at_once: Ids of documents held in memory, 8 bytes each.
    """
    found = findings.Findings(advance)
    _check_vocabulary(root, manifest, found)
    _check_names(manifest, found)
    has_index = manifest.format_version > 1
    totals = documents_index.InputTotals(len(manifest.inputs))
    indices: list[pathlib.Path] = []
    for split in manifest.splits:
        indices += _check_split(root, manifest, split, totals, found)
    unproven = []
    num_shards = sum(len(split.shards) for split in manifest.splits)
    if not has_index:
        unproven.append(
            "that no document is in two splits, that none is missing, and how many "
            "words and bytes there are: a folder of format version 1 has no index of "
            "its documents; `lmcodistill prep` of this version writes one"
        )
    else:
        _check_disjoint(root, manifest, indices, ids_at_once, found)
    if has_index and len(indices) < num_shards:
        unproven.append(
            f"that no document is missing: {num_shards - len(indices)} of "
            f"{num_shards} indices cannot be relied on"
        )
    elif has_index:
        _check_complete(manifest, totals, found)
    return Verdict(tuple(found.faults), found.num_faults, tuple(unproven))


def _check_vocabulary(
    root: pathlib.Path, manifest: shards.Manifest, found: findings.Findings
) -> None:
    path = layout.DataLayout(root).vocabulary
    try:
        content = files.read_limited(path, _MAX_VOCABULARY_BYTES, follow_links=False)
        digest = hashlib.sha256(content).hexdigest()
        # SentencePiece itself is spared what prep did not write.
        if not found.compare(path.name, "SHA-256", digest, manifest.vocabulary):
            return
        pieces = vocabulary.Vocabulary.load(path)
    except errors.DataError as error:
        found.add(path.name, "content", error, "the vocabulary that prep wrote")
        return
    found.compare(_MANIFEST, "vocab_size", manifest.vocab_size, pieces.size)
    found.compare(_MANIFEST, "end_id", manifest.end_id, pieces.end_id)


def _check_names(manifest: shards.Manifest, found: findings.Findings) -> None:
    """Every split is listed once, under its own name, and every shard."""
    for name, split in manifest.held_out.items():
        found.compare(_MANIFEST, "name of a split", split.name, name)
    names = {split.name for split in manifest.splits}
    found.compare(_MANIFEST, "splits listed", len(manifest.splits), len(names))
    for split in manifest.splits:
        shard_names = {shard.file for shard in split.shards}
        found.compare(split.name, "shards listed", len(split.shards), len(shard_names))


def _check_split(
    root: pathlib.Path,
    manifest: shards.Manifest,
    split: shards.Split,
    totals: documents_index.InputTotals,
    found: findings.Findings,
) -> list[pathlib.Path]:
    """Returns the indices of its shards that can be relied on."""
    folder, indices = root / split.name, []
    if folder.is_symlink():
        found.add(split.name, "kind", "a symbolic link", "a folder")
        return []
    documents = tokens = words = num_bytes = 0
    for shard in split.shards:
        label = f"{split.name}/{shard.file}"
        rows = None
        if manifest.format_version > 1:
            found.compare(label, "first_token", shard.first_token, tokens)
            path = documents_index.path_of(folder / shard.file)
            rows = shard_checks.check_index(
                path, f"{split.name}/{path.name}", shard, len(manifest.inputs), found
            )
            if rows is not None:
                indices.append(path)
                for block in documents_index.blocks(rows):
                    totals.add(block)
                    words += int(block["words"].sum(dtype="u8"))
                    num_bytes += int(block["bytes"].sum(dtype="u8"))
        shard_checks.check_tokens(
            folder / shard.file, label, shard, manifest, rows, found
        )
        documents, tokens = documents + shard.documents, tokens + shard.tokens
    found.compare(split.name, "documents", split.documents, documents)
    found.compare(split.name, "tokens", split.tokens, tokens)
    if manifest.format_version > 1 and len(indices) == len(split.shards):
        found.compare(split.name, "words", split.words, words)
        found.compare(split.name, "bytes", split.bytes, num_bytes)
    return indices


def _check_disjoint(
    root: pathlib.Path,
    manifest: shards.Manifest,
    indices: list[pathlib.Path],
    ids_at_once: int,
    found: findings.Findings,
) -> None:
    """No document is in two splits, nor twice in one."""
    width = documents_index.ROW.itemsize
    repeated = repeated_ids.find(
        indices, ids_at_once, lambda rows: found.advance(rows * width)
    )
    for id_, places in repeated.items():
        first = places[0]
        for other in places[1:]:
            # Two records of a crawl file may have one id; then both are kept.
            if first.file.parent == other.file.parent and first.source != other.source:
                continue
            found.add(
                other.file.relative_to(root).as_posix(),
                "document",
                f"{id_}, which is in {first.file.relative_to(root).as_posix()} too",
                "each document once",
                other.row * width,
            )


def _check_complete(
    manifest: shards.Manifest,
    totals: documents_index.InputTotals,
    found: findings.Findings,
) -> None:
    """What the splits hold of each input file is what was kept of it."""
    for number, source in enumerate(manifest.inputs):
        documents, ids = totals.of(number)
        found.compare(
            source.name, "documents in the splits", documents, source.documents
        )
        found.compare(source.name, "sum of their ids", ids, source.ids)
