"""Stage 2: of documents that are alike, the one with the lowest id stays.

First, where it is asked for, lines that documents of a group share; then
documents, equal ones and near copies in one search. What is found depends on the
documents and their ids alone.
"""

from collections.abc import Mapping, Sequence

from data_prep import work
from data_prep.duplicates import copies, line_duplicates, signatures
from data_prep.engines import exchange
from data_prep.run import stages
from lmcodistill.settings import deduplication


def find(
    run: stages.Stages,
    folder: work.WorkFolder,
    parts: Sequence[work.Part],
    crawls: Sequence[str],
    settings: deduplication.Deduplication,
) -> Mapping[int, Mapping[str, int]]:
    """Finds the copies, and returns how many each part has, per reason.

    `parts` are all parts, in order; `crawls` has the crawl of every input file.
    """
    if settings.line_group_files:
        search = copies.of_lines(folder.root)
        search.make()
        lines = [
            line_duplicates.LineTask(
                number, part, folder.root, part.file // settings.line_group_files
            )
            for number, part in enumerate(parts)
        ]
        run.run("hash_lines", line_duplicates.hash_lines, lines)
        _search(run, search, len(parts), settings)
    search = copies.of_documents(folder.root)
    search.make()
    documents = [
        signatures.SignTask(
            number,
            part,
            folder.root,
            crawls[part.file] if settings.scope == "crawl" else "",
            settings,
        )
        for number, part in enumerate(parts)
    ]
    run.run("sign", signatures.sign, documents)
    _search(run, search, len(parts), settings, with_short=settings.line_group_files > 0)
    return search.count(len(parts))


def _search(
    run: stages.Stages,
    search: copies.Search,
    num_parts: int,
    settings: deduplication.Deduplication,
    *,
    with_short: bool = False,
) -> None:
    """Compares all rows, then gathers the copies of every part."""
    step = copies.find_step(search, settings.memory_bytes)
    ranges = copies.key_ranges(search, exchange.total_bytes(step))
    run.exchange(f"compare_{search.items}", step, ranges)
    gathering = copies.gather_step(
        search, len(ranges), settings.memory_bytes, with_short=with_short
    )
    run.exchange(
        f"gather_copies_of_{search.items}",
        gathering,
        copies.part_ranges(search, num_parts),
    )
