"""Stage 5: the global shuffle, and the shard files.

All-to-all: a shard is a range of places, and collects its documents from every
part in order of place. Documents of equal place are ordered by id; nothing
depends on the parts.
"""

import dataclasses
import functools
import hashlib
import itertools
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from data_prep import work
from data_prep.engines import exchange
from data_prep.tokens import partition, tokenize_part
from lmcodistill.data import documents_index, shards
from lmcodistill.storage import files, layout


def buckets(
    root: pathlib.Path,
    output: pathlib.Path,
    splits: partition.Splits,
    counts: Mapping[str, Mapping[str, int]],
) -> dict[str, list[exchange.Bucket]]:
    """Returns a bucket for every shard of the splits counted, in order of place."""
    folder = work.WorkFolder(root)
    return {
        split: [
            exchange.Bucket(
                low=(number, low),
                high=(number, high),
                output=output / split / layout.DataLayout.shard_name(shard),
                commit_file=folder.shard_commit(split, shard),
            )
            for shard, (low, high) in enumerate(
                splits.shard_ranges(split, counts[split]["tokens"])
            )
        ]
        for number, split in enumerate(splits.names)
        if split in counts
    }


def step(root: pathlib.Path) -> exchange.Step:
    """Returns the all-to-all step."""
    return exchange.Step(
        find_runs=functools.partial(_runs, root),
        dtype=tokenize_part.INDEX,
        order=tokenize_part.ORDER,
        collect=write_shard,
    )


def write_shard(target: exchange.Bucket, blocks: Iterator[exchange.Block]) -> None:
    """Writes the shard, its index, and a commit file with its manifest line."""
    path = target.output
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, index_digest = hashlib.sha256(), hashlib.sha256()
    num_tokens = num_documents = 0
    index_path = documents_index.path_of(path)
    with files.writing(path) as file, files.writing(index_path) as index_file:
        for block in blocks:
            for payload in block.payloads:
                digest.update(payload)
                file.write(payload)
            index = _index(block.rows, num_tokens).tobytes()
            index_digest.update(index)
            index_file.write(index)
            num_tokens += int(block.rows["tokens"].sum())
            num_documents += len(block.rows)
    shard = shards.Shard(
        file=path.name,
        tokens=num_tokens,
        documents=num_documents,
        sha256=digest.hexdigest(),
        index_sha256=index_digest.hexdigest(),
    )
    work.write_commit(target.commit_file, dataclasses.asdict(shard))


def read_shards(buckets: Sequence[exchange.Bucket]) -> tuple[shards.Shard, ...]:
    """Returns the manifest's lines about the shards of a split, all written."""
    written = [shards.Shard(**work.read_commit(b.commit_file)) for b in buckets]
    starts = itertools.accumulate((shard.tokens for shard in written), initial=0)
    return tuple(
        dataclasses.replace(shard, first_token=start)
        for shard, start in zip(written, starts, strict=False)
    )


def _index(rows: np.ndarray, first_token: int) -> np.ndarray:
    """Returns the rows of the shard's index for consecutive documents."""
    index = np.zeros(len(rows), documents_index.ROW)
    for name in documents_index.ROW.names or ():
        index[name] = rows[name]
    ends = np.cumsum(rows["tokens"], dtype=np.uint64) + np.uint64(first_token)
    index["start"] = ends - rows["tokens"]
    return index


def _runs(root: pathlib.Path) -> Sequence[exchange.Run]:
    folder = work.WorkFolder(root)
    return [
        exchange.Run(folder.index(part), folder.tokens(part))
        for part in folder.read_parts()
    ]
