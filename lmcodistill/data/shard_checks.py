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
    label, dtype = _label(path), shards.token_dtype(manifest.vocab_size)
    ends, position, ids_are_good = [np.zeros(0, np.int64)], 0, True

    def look(content: bytes) -> None:
        nonlocal position, ids_are_good
        tokens = np.frombuffer(content, dtype, len(content) // dtype.itemsize)
        ends.append(np.flatnonzero(tokens == manifest.end_id) + position + 1)
        # One of a kind is enough: a shard that was overwritten has thousands.
        if ids_are_good and (strange := tokens >= manifest.vocab_size).any():
            ids_are_good, i = False, int(strange.argmax())
            expected = f"less than {manifest.vocab_size:,}"
            offset = (position + i) * dtype.itemsize
            faults.add(label, "token", int(tokens[i]), expected, offset)
        position += len(tokens)

    faults.check_file(path, label, shard.tokens * dtype.itemsize, shard.sha256, look)
    if not position:
        return
    document_ends = np.concatenate(ends)
    if rows is not None:
        expected = rows["start"].astype(np.int64) + rows["tokens"]
        num_common = min(len(document_ends), len(expected))
        i = _first_difference(document_ends[:num_common], expected[:num_common])
        if i is not None:
            values = int(document_ends[i]), int(expected[i])
            field = f"end of document {i:,}, in tokens"
            faults.add(label, field, *values, (min(values) - 1) * dtype.itemsize)
    last = int(document_ends[-1]) if len(document_ends) else 0
    faults.compare(label, "documents", len(document_ends), shard.documents)
    faults.compare(label, "end of the last document", last, position)


def _label(path: pathlib.Path) -> str:
    """Returns what a file of a split is called in faults."""
    return f"{path.parent.name}/{path.name}"


def _first_difference(values: np.ndarray, expected: np.ndarray) -> int | None:
    wrong = values != expected
    return int(wrong.argmax()) if wrong.any() else None
