"""Stage 4: from kept documents to token ids, each with its place in the shuffle.

Every document is decoded again and compared: perplexities by word and by byte
mean something only if the tokens give the text back. Documents with words
outside a `word` vocabulary cannot; their unknown tokens are counted instead.
"""

import collections
import dataclasses
import itertools
import pathlib
from collections.abc import Sequence

import numpy as np

from data_prep import progress, work
from data_prep.duplicates import survivors
from data_prep.tokens import partition
from lmcodistill.data import documents_index, shards, vocabulary
from lmcodistill.storage import files

_BATCH = 256

INDEX = np.dtype(
    [
        ("split", "<u4"),
        ("key", "<u8"),
        ("id_high", "<u8"),
        ("id_low", "<u8"),
        ("start", "<u8"),
        ("size", "<u8"),
        ("tokens", "<u8"),
        ("words", "<u8"),
        ("bytes", "<u8"),
        ("file", "<u4"),
        ("number", "<u8"),
    ]
)
ORDER = ("split", "key", "id_high", "id_low")

# What is counted for every split.
COUNTS = ("documents", "tokens", "words", "bytes", "unknown", "inexact")


@dataclasses.dataclass(frozen=True)
class TokenizeTask(work.PartTask):
    """One part to tokenize.

    Attributes:
        survivors: Reads the documents that stay.
        place: Which split each document goes to, and where in it.
        splits: Names of all splits.
    """

    survivors: survivors.Survivors
    place: partition.Rule
    splits: tuple[str, ...]

    @property
    def commit_file(self) -> pathlib.Path:
        return self.folder.tokens_commit(self.part)


def tokenize(task: TokenizeTask, advance: progress.Advance) -> None:
    """Writes tokens in order of split and place, their index, and a commit file."""
    folder = task.folder
    pieces = vocabulary.Vocabulary.load(folder.vocabulary_model)
    dtype = shards.token_dtype(pieces.size)
    rows: list[tuple[int, ...]] = []
    arrays: list[np.ndarray] = []
    unknown, inexact = collections.Counter[str](), collections.Counter[str]()
    num_kept = ids_kept = 0
    split_numbers = {name: i for i, name in enumerate(task.splits)}
    survivors_left = task.survivors.read(task.number, task.part, advance)
    while kept := list(itertools.islice(survivors_left, _BATCH)):
        num_kept += len(kept)
        ids_kept += sum(int(document.id, 16) for _, document in kept)
        texts = [pieces.form(document.text) for _, document in kept]
        encoded = pieces.encode_many(texts)
        for (number, document), text, ids in zip(kept, texts, encoded, strict=True):
            place = task.place.place(document.id, number)
            num_unknown = int(np.count_nonzero(ids == pieces.unknown_id))
            unknown[place.split] += num_unknown
            if not num_unknown and not pieces.gives_back(ids, text):
                inexact[place.split] += 1
            rows.append(
                (
                    split_numbers[place.split],
                    place.key,
                    int(document.id[:16], 16),
                    int(document.id[16:], 16),
                    0,
                    (len(ids) + 1) * dtype.itemsize,
                    len(ids) + 1,
                    len(document.text.split()),
                    len(document.text.encode()),
                    task.part.file,
                    document.number,
                )
            )
            arrays.append(np.append(ids, pieces.end_id).astype(dtype))
    index = np.array(rows, INDEX)
    order = np.lexsort([index[name] for name in reversed(ORDER)])
    index = index[order]
    index["start"] = np.cumsum(index["size"]) - index["size"]
    with files.writing(folder.tokens(task.part)) as file:
        for i in order:
            file.write(arrays[i].tobytes())
    with files.writing(folder.index(task.part)) as file:
        file.write(index.tobytes())
    kept_ids = documents_index.sum_of_ids(ids_kept)
    result = {
        **_counts(task, index, unknown, inexact),
        "kept": {"documents": num_kept, "ids": kept_ids},
    }
    work.write_commit(task.commit_file, result)


def count(
    folder: work.WorkFolder, parts: Sequence[work.Part], splits: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Returns what `COUNTS` names of every split, all parts together."""
    counts = {split: dict.fromkeys(COUNTS, 0) for split in splits}
    for part in parts:
        result = work.read_commit(folder.tokens_commit(part))
        for split, total in counts.items():
            for name in COUNTS:
                total[name] += result[split][name]
    return counts


def count_kept(
    folder: work.WorkFolder, parts: Sequence[work.Part], num_files: int
) -> list[tuple[int, str]]:
    """Returns the documents kept of each input file, and the sum of their ids.

    The shuffle writes the index of documents later and elsewhere: that both agree
    is what `lmcodistill inspect --verify` calls complete.
    """
    documents, ids = [0] * num_files, [0] * num_files
    for part in parts:
        kept = work.read_commit(folder.tokens_commit(part))["kept"]
        documents[part.file] += kept["documents"]
        ids[part.file] += int(kept["ids"], 16)
    return list(zip(documents, map(documents_index.sum_of_ids, ids), strict=True))


def _counts(
    task: TokenizeTask,
    index: np.ndarray,
    unknown: collections.Counter[str],
    inexact: collections.Counter[str],
) -> dict[str, dict[str, int]]:
    counts = {}
    for i, split in enumerate(task.splits):
        rows = index[index["split"] == i]
        counts[split] = {
            "documents": len(rows),
            **{name: int(rows[name].sum()) for name in ("tokens", "words", "bytes")},
            "unknown": unknown[split],
            "inexact": inexact[split],
        }
    return counts
