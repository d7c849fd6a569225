"""How finely a small validation text tells models apart, as a sentence for people."""

from collections.abc import Sequence

import numpy as np

from data_prep.tokens import holding_out, partition
from lmcodistill.data import documents_index, shards


def warning(data: shards.ShardSet, whole_files: Sequence[int]) -> str | None:
    """Returns what to know about the validation text; None if there is enough of it.

    Args:
        data: The data folder.
        whole_files: Numbers of the input files that were dealt as a whole.
    """
    split = data.held_out_split(partition.VALIDATION)
    rows = [
        documents_index.read(documents_index.path_of(data.path_of(split, shard)))
        for shard in split.shards
    ]
    together = np.concatenate(rows)
    sources = _sources(together, whole_files)
    num_sources, least = int(sources.max()) + 1, holding_out.LEAST_SOURCES
    if num_sources >= least and split.tokens >= holding_out.LEAST_TOKENS:
        return None
    tokens = [data.tokens_of_shard(split, shard) for shard in split.shards]
    losses = _unigram_losses(tokens, rows, data.manifest.vocab_size)
    error = standard_error(
        np.bincount(sources, losses), np.bincount(sources, together["tokens"])
    )
    told = (
        "one of them tells nothing about others"
        if error is None
        else "a unigram model's cross entropy on it has a standard error of "
        f"{error:.2g} nats per token"
    )
    return (
        f"{split.name} has {num_sources:,} source document(s) and {split.tokens:,} "
        f"tokens; {least} and {holding_out.LEAST_TOKENS:,} are wanted: {told}. Give "
        "more text or raise VALIDATION_FRACTION"
    )


def standard_error(losses: np.ndarray, tokens: np.ndarray) -> float | None:
    """Returns that of a mean loss per token over sources drawn as wholes.

    Tokens of one source are not independent, so it is that of a ratio of two sums
    over sources (Cochran, Sampling Techniques, 1977, section 6.3). None for fewer
    than two.

    Args:
        losses: [sources] float, the sum of each, in nats.
        tokens: [sources], how many each has.
    """
    count = len(losses)
    if count < 2:
        return None
    left = losses - tokens * (losses.sum() / tokens.sum())
    return float(np.sqrt((left**2).sum() * count / (count - 1)) / tokens.sum())


def _sources(rows: np.ndarray, whole_files: Sequence[int]) -> np.ndarray:
    """Returns the source of each document, numbered from 0."""
    of_file = np.isin(rows["file"], whole_files)
    alone = rows["file"].max(initial=0) + 1 + np.arange(len(rows))
    return np.unique(np.where(of_file, rows["file"], alone), return_inverse=True)[1]


def _unigram_losses(
    tokens: Sequence[np.ndarray], rows: Sequence[np.ndarray], vocab_size: int
) -> np.ndarray:
    """Returns the nats of each document, by the frequencies of the split itself."""
    counts = np.zeros(vocab_size, np.int64)
    for ids in tokens:
        counts += np.bincount(ids, minlength=vocab_size)
    # Tokens that are nowhere are asked for nowhere.
    nats = np.log(counts.sum()) - np.log(np.maximum(counts, 1))
    losses = []
    for ids, documents in zip(tokens, rows, strict=True):
        sums = np.concatenate([[0.0], np.cumsum(nats[ids])])
        ends = np.cumsum(documents["tokens"], dtype=np.int64)
        losses.append(np.diff(sums[ends], prepend=0.0))
    return np.concatenate(losses)
