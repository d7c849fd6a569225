"""Deals the training text of a finished folder into another number of partitions.

What prep with that number would have written, without reading the text again: the
index of documents has their ids, from which their places follow.
"""

import dataclasses
import hashlib
import itertools
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_prep import progress
from data_prep.reports import page, report
from data_prep.tokens import partition
from lmcodistill import errors
from lmcodistill.data import documents_index, shards
from lmcodistill.storage import files, layout

_PLACED = np.dtype([("partition", "<u4"), ("key", "<u8"), ("shard", "<u4")])
_TRAIN = "train:"
_BYTES_AT_ONCE = 1 << 24


class _Documents(NamedTuple):
    """The training documents.

    Attributes:
        rows: Of the indices, those of all shards after one another.
        placed: Of each, its new partition and key, and the shard that it is in.
        tokens: Of each shard, memory-mapped.
    """

    rows: np.ndarray
    placed: np.ndarray
    tokens: list[np.ndarray]


def redeal(
    data: pathlib.Path,
    num_partitions: int,
    output: pathlib.Path,
    display: progress.Display,
) -> shards.Manifest:
    """Writes the folder; returns its manifest.

    Needs some 70 bytes of memory for each training document. Held-out splits are
    linked where the file system can, else copied.

    Args:
        data: A finished folder of format 2.
        num_partitions: Of the training text.
        output: A folder that has no manifest yet.
        display: Where to show how far it is.

    Raises:
        DataError: the folder is damaged, or of format 1, which has no index; or a
            partition would get nothing.
    """
    opened = shards.ShardSet(data)
    manifest = opened.manifest
    if not manifest.has_index:
        raise errors.DataError(
            f"{data} has format version 1, which does not say where documents begin "
            "and what they are called. Run `lmcodistill prep` of this version."
        )
    settings = manifest.provenance["settings"]
    documents = _read(opened, num_partitions, display)
    source, target = layout.DataLayout(data), layout.DataLayout(output)
    output.mkdir(parents=True, exist_ok=True)
    total = sum(split.tokens for split in manifest.train)
    with display.stage("partitions", total, "tokens") as stage:
        train = tuple(
            _write_split(number, num_partitions, manifest, documents, output, stage)
            for number in range(num_partitions)
        )
    for name in ("validation", "test", "guide"):
        if name in manifest.held_out:
            _link_all(data / name, output / name)
    shutil.copyfile(source.vocabulary, target.vocabulary)
    settings = {
        **settings,
        "Prep": {**settings["Prep"], "num_partitions": num_partitions},
    }
    written = dataclasses.replace(
        manifest,
        train=train,
        provenance={**manifest.provenance, "settings": settings},
    )
    # Without a report, which is for people, the folder is whole already.
    files.write_text(target.manifest, files.to_json(written.to_json()))
    before = files.read_json(source.report_json, 1 << 30)
    summary = _report(before, shards.ShardSet(output), settings)
    files.write_text(target.report_json, files.to_json(summary))
    files.write_text(target.report_html, page.render(summary))
    return written


def _read(
    opened: shards.ShardSet, num_partitions: int, display: progress.Display
) -> _Documents:
    """Returns the training documents with their new places."""
    manifest = opened.manifest
    every = [(split, shard) for split in manifest.train for shard in split.shards]
    rows, placed, tokens = [], [], []
    total = sum(split.documents for split in manifest.train)
    with display.stage("places", total, "documents") as stage:
        rules = _rules(manifest, num_partitions)
        for number, (split, shard) in enumerate(every):
            tokens.append(opened.tokens_of_shard(split, shard))
            path = opened.path_of(split, shard)
            for block in documents_index.blocks(
                documents_index.read(documents_index.path_of(path))
            ):
                rows.append(block)
                placed.append(_places(block, rules, number))
                stage.update(stage.done + len(block))
    return _Documents(np.concatenate(rows), np.concatenate(placed), tokens)


def _rules(manifest: shards.Manifest, num_partitions: int) -> list[partition.Rule]:
    """Returns what deals out the documents of each input file."""
    settings = manifest.provenance["settings"]["Prep"]
    by_hash = partition.ByHash(settings["seed"], num_partitions)
    return [
        partition.ByOrder("train", 0, source.documents, num_partitions, 0.0)
        if source.name.startswith(_TRAIN)
        else by_hash
        for source in manifest.inputs
    ]


def _places(
    block: np.ndarray, rules: Sequence[partition.Rule], shard: int
) -> np.ndarray:
    placed = np.zeros(len(block), _PLACED)
    placed["shard"] = shard
    for i, row in enumerate(block):
        rule = rules[row["file"]]
        place = rule.place(documents_index.id_of(row), int(row["number"]))
        names = partition.train_names(rule.num_partitions)
        placed["partition"][i] = names.index(place.split)
        placed["key"][i] = place.key
    return placed


def _write_split(
    number: int,
    num_partitions: int,
    manifest: shards.Manifest,
    documents: _Documents,
    output: pathlib.Path,
    stage: progress.Stage,
) -> shards.Split:
    rows, placed, _ = documents
    name = partition.train_names(num_partitions)[number]
    (own,) = np.nonzero(placed["partition"] == number)
    if not len(own):
        raise errors.DataError(
            f"Partition {number} of {num_partitions} would get none of the "
            f"{len(rows):,} training documents. Ask for fewer."
        )
    columns = (rows["id_low"][own], rows["id_high"][own], placed["key"][own])
    own = own[np.lexsort(columns)]
    num_tokens = int(rows["tokens"][own].sum())
    rule = _rules(manifest, num_partitions)[rows["file"][own[0]]]
    size = manifest.provenance["settings"]["Prep"]["shard_tokens"]
    low, high = rule.key_range(name)
    ranges = partition.equal_ranges(low, high, -(-num_tokens // size))
    written: list[shards.Shard] = []
    (output / name).mkdir(exist_ok=True)
    for low, high in ranges:
        keys = placed["key"][own]
        inside = own[(keys >= np.uint64(low)) & (keys <= np.uint64(high - 1))]
        path = output / name / layout.DataLayout.shard_name(len(written))
        written.append(_write_shard(path, inside, documents, stage))
    starts = itertools.accumulate((shard.tokens for shard in written), initial=0)
    return shards.Split(
        name=name,
        shards=tuple(
            dataclasses.replace(shard, first_token=start)
            for shard, start in zip(written, starts, strict=False)
        ),
        documents=len(own),
        tokens=num_tokens,
        words=int(rows["words"][own].sum()),
        bytes=int(rows["bytes"][own].sum()),
    )


def _write_shard(
    path: pathlib.Path,
    own: np.ndarray,
    documents: _Documents,
    stage: progress.Stage,
) -> shards.Shard:
    index = np.array(documents.rows[own])
    ends = np.cumsum(index["tokens"], dtype=np.uint64)
    index["start"] = ends - index["tokens"]
    digest = hashlib.sha256()
    with files.writing(path) as file:
        for payload in _payloads(own, documents):
            digest.update(payload)
            file.write(payload)
    stage.update(stage.done + int(index["tokens"].sum()))
    content = index.tobytes()
    files.write_bytes(documents_index.path_of(path), content)
    return shards.Shard(
        file=path.name,
        tokens=int(index["tokens"].sum()),
        documents=len(own),
        sha256=digest.hexdigest(),
        index_sha256=hashlib.sha256(content).hexdigest(),
    )


def _payloads(own: np.ndarray, documents: _Documents) -> Iterator[bytes]:
    """Yields the tokens of documents, many at once."""
    pieces: list[np.ndarray] = []
    size = 0
    for i in own:
        row = documents.rows[i]
        start, count = int(row["start"]), int(row["tokens"])
        pieces.append(documents.tokens[documents.placed["shard"][i]][start:][:count])
        size += pieces[-1].nbytes
        if size >= _BYTES_AT_ONCE:
            yield np.concatenate(pieces).tobytes()
            pieces, size = [], 0
    if pieces:
        yield np.concatenate(pieces).tobytes()


def _link_all(source: pathlib.Path, target: pathlib.Path) -> None:
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        copy = target / path.name
        copy.unlink(missing_ok=True)  # Of an attempt that was killed.
        try:
            os.link(path, copy)
        except OSError:
            shutil.copyfile(path, copy)


def _report(
    summary: dict[str, Any], written: shards.ShardSet, settings: dict[str, Any]
) -> dict[str, Any]:
    """Returns prep's report with the new splits."""
    before = summary["splits"]
    of_train = [before[name] for name in before if name.startswith("train-")]
    train = {}
    for split in written.manifest.train:
        unknown = sum(
            np.count_nonzero(
                written.tokens_of_shard(split, shard) == written.vocabulary.unknown_id
            )
            for shard in split.shards
        )
        counted = {
            "documents": split.documents,
            "tokens": split.tokens,
            "words": split.words,
            "bytes": split.bytes,
            "unknown": int(unknown),
            # Which documents these were is not known any more.
            "inexact": None if any(line["inexact"] for line in of_train) else 0,
        }
        train[split.name] = report.split_line(counted)
    held_out = {name: before[name] for name in written.manifest.held_out}
    return {**summary, "splits": {**train, **held_out}, "settings": settings}
