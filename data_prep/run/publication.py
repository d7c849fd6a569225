"""The last files of a data folder.

`manifest.json` is written last. A folder that has one is never written to
again; a folder that has none is unfinished.
"""

import gzip
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from data_prep import documents as documents_lib
from data_prep import work
from data_prep.reports import page
from lmcodistill.data import shards
from lmcodistill.storage import files, layout

# Files of documents, by name.
Documents = Iterable[tuple[str, Iterable[documents_lib.Document]]]


def publish(
    output: pathlib.Path,
    folder: work.WorkFolder,
    manifest: shards.Manifest,
    model: bytes,
    report: dict[str, Any],
    *,
    dropped: Sequence[pathlib.Path],
    documents: Documents,
) -> None:
    """Writes everything but the shards, the manifest last; removes the work folder.

    Args:
        output: The data folder.
        folder: Its work folder.
        manifest: What the folder holds.
        model: The vocabulary's model file.
        report: What was kept and why not, with the time it took.
        dropped: Files with examples of dropped documents, perhaps empty.
        documents: Kept documents to write beside the shards, perhaps none.
    """
    paths = layout.DataLayout(output)
    files.write_bytes(paths.vocabulary, model)
    for name, kept in documents:
        path = output / "documents" / name
        path.parent.mkdir(exist_ok=True)
        with (
            work.writing(path) as raw,
            # No name and no time in the header: equal documents, equal bytes.
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
        ):
            for document in kept:
                packed.write(document.to_json().encode() + b"\n")
    if any(path.stat().st_size for path in dropped):
        with work.writing(output / "dropped.jsonl") as file:
            for path in dropped:
                file.write(path.read_bytes())
    files.write_text(paths.report_json, files.to_json(report))
    files.write_text(paths.report_html, page.render(report))
    for partial in output.rglob(".*.partial"):
        partial.unlink()  # Of an attempt that was killed.
    files.write_text(paths.manifest, files.to_json(manifest.to_json()))
    folder.remove()
