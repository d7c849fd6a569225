"""Data folders for the tests of the proof, made document by document.

`write` makes everything consistent, digests included, so that a test can tell a
damaged file from a folder that was made wrongly.
"""

import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lmcodistill.data import documents_index, shards
from lmcodistill.storage import files, layout

END = 2
TRAIN = ("train-00000-of-00002", "train-00001-of-00002")


class Doc(NamedTuple):
    """A document: its tokens come without the end."""

    id: int
    tokens: tuple[int, ...]
    file: int = 0
    number: int = 0


Splits = Mapping[str, Sequence[Sequence[Doc]]]


def documents(count: int, *, seed: int = 0) -> list[Doc]:
    """Returns documents of two files, with ids that are spread as hashes are."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        id_ = int.from_bytes(rng.bytes(16), "big")
        # With the lowest bit flipped, none of these becomes the end.
        tokens = tuple(rng.integers(4, 12, rng.integers(2, 9)).tolist())
        found.append(Doc(id_, tokens, i % 2, i // 2))
    return found


def splits_of(docs: Sequence[Doc]) -> dict[str, list[list[Doc]]]:
    """Deals 12 documents out to two shards of each of three splits."""
    assert len(docs) == 12
    names = (*TRAIN, "validation")
    return {
        name: [list(docs[4 * i : 4 * i + 3]), list(docs[4 * i + 3 : 4 * i + 4])]
        for i, name in enumerate(names)
    }


def kept_of(docs: Sequence[Doc]) -> tuple[shards.InputFile, ...]:
    """Returns what the manifest says of the input files."""
    found = []
    for file in range(2):
        ids = [doc.id for doc in docs if doc.file == file]
        total = documents_index.sum_of_ids(sum(ids))
        found.append(shards.InputFile(f"{file}.txt", 10, "ab" * 32, len(ids), total))
    return tuple(found)


def report_of(inputs: Sequence[shards.InputFile]) -> dict[str, Any]:
    """Returns a report of archives in which a page each was dropped."""
    lines = [
        {
            "name": source.name,
            "read": source.documents + 1,
            "kept": source.documents,
            "dropped": {"revisit": 1},
            "records": {"response": source.documents, "revisit": 1, "request": 9},
        }
        for source in inputs
    ]
    kept = sum(source.documents for source in inputs)
    total = {
        "read": kept + len(lines),
        "kept": kept,
        "dropped": {"revisit": len(lines)},
    }
    return {"files": lines, "total": total}


def write(
    root: pathlib.Path,
    model: bytes,
    splits: Splits,
    inputs: tuple[shards.InputFile, ...],
    edit_tokens: Callable[[str, np.ndarray], np.ndarray] = lambda _, tokens: tokens,
    edit_rows: Callable[[str, np.ndarray], np.ndarray] = lambda _, rows: rows,
) -> pathlib.Path:
    """Writes a folder, whose shards and indices were perhaps edited before that."""
    made = {}
    for name, content in splits.items():
        (root / name).mkdir(parents=True)
        found: list[shards.Shard] = []
        for i, docs in enumerate(content):
            tokens = np.array([t for d in docs for t in (*d.tokens, END)], "<u2")
            rows = np.zeros(len(docs), documents_index.ROW)
            start = 0
            for row, doc in zip(rows, docs, strict=True):
                row["id_high"], row["id_low"] = doc.id >> 64, doc.id % (1 << 64)
                row["start"], row["tokens"] = start, len(doc.tokens) + 1
                row["file"], row["number"] = doc.file, doc.number
                row["words"], row["bytes"] = len(doc.tokens), 5 * len(doc.tokens)
                start += len(doc.tokens) + 1
            file = layout.DataLayout.shard_name(i)
            tokens = edit_tokens(f"{name}/{file}", tokens)
            rows = edit_rows(f"{name}/{file}", rows)
            path = root / name / file
            path.write_bytes(tokens.tobytes())
            documents_index.path_of(path).write_bytes(rows.tobytes())
            found.append(
                shards.Shard(
                    file=file,
                    tokens=len(tokens),
                    documents=len(rows),
                    sha256=hashlib.sha256(tokens.tobytes()).hexdigest(),
                    first_token=sum(shard.tokens for shard in found),
                    index_sha256=hashlib.sha256(rows.tobytes()).hexdigest(),
                )
            )
        words = sum(len(doc.tokens) for docs in content for doc in docs)
        made[name] = shards.Split(
            name=name,
            shards=tuple(found),
            documents=sum(shard.documents for shard in found),
            tokens=sum(shard.tokens for shard in found),
            words=words,
            bytes=5 * words,
        )
    manifest = shards.Manifest(
        vocabulary=hashlib.sha256(model).hexdigest(),
        vocab_size=12,
        end_id=END,
        train=tuple(made[name] for name in made if name in TRAIN),
        held_out={n: split for n, split in made.items() if n not in TRAIN},
        inputs=inputs,
    )
    (root / "vocabulary.model").write_bytes(model)
    files.write_text(root / "report.json", files.to_json(report_of(inputs)))
    files.write_text(root / "manifest.json", files.to_json(manifest.to_json()))
    return root


def edit_manifest(root: pathlib.Path, change: Callable[[Any], Any]) -> None:
    """Changes the JSON of a folder's manifest."""
    path = root / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def as_version_1(root: pathlib.Path) -> None:
    """Takes away what version 1 did not have."""

    def change(manifest: dict[str, Any]) -> None:
        manifest["format_version"] = 1
        del manifest["inputs"]
        for split in (*manifest["train"], *manifest["held_out"].values()):
            for shard in split["shards"]:
                del shard["first_token"], shard["index_sha256"]

    edit_manifest(root, change)
    for path in root.glob("*/*.documents"):
        path.unlink()
