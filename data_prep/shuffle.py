"""Stage 5: the global shuffle, and the shard files.

All-to-all, with bounded memory: a shard is a range of keys, so one task gathers
that range from every part, sorts it and writes one file. Documents of equal key
are ordered by id; nothing depends on the parts.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable

import numpy as np

from data_prep import tokenize_part, work
from lmcodistill.data import shards
from lmcodistill.storage import layout


@dataclasses.dataclass(frozen=True)
class Task:
    """One shard to write.

    Attributes:
        root: The work folder.
        output: The data folder.
        split: Name of the split.
        split_number: Its number in the index.
        shard: Number of the shard in the split.
        low: Lowest key of its documents.
        high: One above the highest.
        parts: All parts of the run.
        vocab_size: Decides the type of a token.
    """

    root: pathlib.Path
    output: pathlib.Path
    split: str
    split_number: int
    shard: int
    low: int
    high: int
    parts: tuple[work.Part, ...]
    vocab_size: int


def write_shard(task: Task, advance: Callable[[int], None]) -> None:
    """Writes the shard and a marker that holds its line of the manifest."""
    folder = work.WorkFolder(task.root)
    dtype = shards.token_dtype(task.vocab_size)
    rows, arrays = [], []
    for part in task.parts:
        index = np.load(folder.index(part), mmap_mode="r")
        begin = np.searchsorted(index["split"], task.split_number, side="left")
        end = np.searchsorted(index["split"], task.split_number, side="right")
        keys = index["key"][begin:end]
        first = begin + np.searchsorted(keys, np.uint64(task.low), side="left")
        last = begin + np.searchsorted(keys, np.uint64(task.high - 1), side="right")
        if first == last:
            continue
        found = np.array(index[first:last])
        start = int(found["start"][0])
        length = int(found["tokens"].sum())
        tokens = np.fromfile(
            folder.tokens(part), dtype, length, offset=start * dtype.itemsize
        )
        advance(length)
        rows.append(found)
        arrays.extend(np.split(tokens, np.cumsum(found["tokens"])[:-1].astype(int)))
    index = np.concatenate([np.zeros(0, tokenize_part.INDEX), *rows])
    order = np.lexsort((index["id_low"], index["id_high"], index["key"]))
    content = b"".join(arrays[i].tobytes() for i in order)
    path = task.output / task.split / layout.DataLayout.shard_name(task.shard)
    path.parent.mkdir(parents=True, exist_ok=True)
    with work.writing(path) as file:
        file.write(content)
    shard = shards.Shard(
        file=path.name,
        tokens=int(index["tokens"].sum()),
        documents=len(index),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    marker = folder.shard_marker(task.split, task.shard)
    work.write_marker(marker, dataclasses.asdict(shard))
