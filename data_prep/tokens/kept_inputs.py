"""What was kept of each input file, counted where it was tokenized.

The index of documents is written by the shuffle, later and elsewhere: that both
agree is what `lmcodistill inspect --verify` calls complete.
"""

from collections.abc import Sequence

from data_prep import work
from data_prep.rules import extract
from lmcodistill.data import documents_index, shards


def count(
    folder: work.WorkFolder,
    extracted: Sequence[extract.Extracted],
    parts: Sequence[work.Part],
) -> tuple[shards.InputFile, ...]:
    """Returns the manifest's lines about the input files."""
    documents, ids = [0] * len(extracted), [0] * len(extracted)
    for part in parts:
        kept = (work.read_marker(folder.tokens_marker(part)) or {})["kept"]
        documents[part.file] += kept["documents"]
        ids[part.file] += int(kept["ids"], 16)
    return tuple(
        shards.InputFile(
            name=found.source,
            bytes=found.bytes,
            sha256=found.sha256,
            documents=documents[i],
            ids=documents_index.sum_of_ids(ids[i]),
        )
        for i, found in enumerate(extracted)
    )
