"""The data folder: what is checked before writing to it, and its last files.

`manifest.json` is written last. A folder that has one is never written to
again; a folder that has none is unfinished.
"""

import dataclasses
import gzip
import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import lmcodistill
from data_prep import documents as documents_lib
from data_prep import work
from data_prep.reading import inputs
from data_prep.reports import page
from data_prep.run import recipe
from lmcodistill import errors
from lmcodistill.data import shards
from lmcodistill.settings import deduplication, prep
from lmcodistill.storage import files, layout

# What reading the inputs does not depend on.
_LATER_SETTINGS = frozenset(
    {
        "Prep.num_partitions",
        "Prep.validation_fraction",
        "Prep.seed",
        "Prep.shard_tokens",
        "Prep.keep_documents",
        *(f"PrepVocabulary.{f.name}" for f in dataclasses.fields(prep.PrepVocabulary)),
        *(
            f"Deduplication.{f.name}"
            for f in dataclasses.fields(deduplication.Deduplication)
        ),
    }
)


def plan_of(sources: Sequence[inputs.Input], settings: recipe.Recipe) -> dict[str, Any]:
    """Returns what a run is recognised by when it is resumed."""
    return {
        "program": lmcodistill.__version__,
        "settings": settings.to_json(),
        "inputs": [
            {"name": s.name, "bytes": s.path.stat().st_size, "split": s.split}
            for s in sources
        ],
    }


def is_finished(output: pathlib.Path, plan: dict[str, Any]) -> bool:
    """Returns whether `output` holds just what `plan` would make.

    Raises:
        UsageError: it holds something else.
    """
    manifest = layout.DataLayout(output).manifest
    if not manifest.exists():
        return False
    made = shards.Manifest.read(manifest)
    old = {
        "settings": made.provenance.get("settings", {}),
        "inputs": [(i.name, i.bytes) for i in made.inputs],
    }
    new = {
        "settings": plan["settings"],
        "inputs": [(i["name"], i["bytes"]) for i in plan["inputs"]],
    }
    _refuse_differences(output, old, new, f"remove {output}")
    return True


def check_plan(folder: work.WorkFolder, plan: dict[str, Any]) -> list[str]:
    """Writes the plan of a new run, or compares it with the one being resumed.

    What was read is kept when only settings of later stages changed, so that an
    error about the vocabulary's size costs no second reading.

    Returns:
        The settings that changed.

    Raises:
        UsageError: the unfinished run had other inputs, or read them otherwise.
    """
    changed: list[str] = []
    if folder.plan.exists():
        old = files.read_json(folder.plan, max_bytes=1 << 30)
        changed = list(_differences(old, plan))
        if not all(name in _LATER_SETTINGS for name in changed):
            _refuse_differences(folder.root.parent, old, plan, f"remove {folder.root}")
        if changed:
            folder.forget_all_but_kept()
    files.write_text(folder.plan, files.to_json(plan))
    return changed


def publish(
    output: pathlib.Path,
    folder: work.WorkFolder,
    manifest: shards.Manifest,
    model: bytes,
    report: dict[str, Any],
    *,
    dropped: list[pathlib.Path],
    documents: Iterable[tuple[str, Iterable[documents_lib.Document]]] | None,
) -> None:
    """Writes everything but the shards, the manifest last."""
    paths = layout.DataLayout(output)
    files.write_bytes(paths.vocabulary, model)
    if documents is not None:
        _write_documents(output / "documents", documents)
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


def _write_documents(
    output: pathlib.Path,
    documents: Iterable[tuple[str, Iterable[documents_lib.Document]]],
) -> None:
    output.mkdir(exist_ok=True)
    for name, kept in documents:
        with (
            work.writing(output / name) as raw,
            # No name and no time in the header: equal documents, equal bytes.
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0, compresslevel=6) as file,
        ):
            for document in kept:
                file.write(document.to_json().encode() + b"\n")


def _differences(old: dict[str, Any], new: dict[str, Any]) -> dict[str, str]:
    """Returns what changed between two plans, each with a phrase about it."""
    changed = {}
    for name in sorted({*old["settings"], *new["settings"]}):
        before = old["settings"].get(name, {})
        after = new["settings"].get(name, {})
        for field in sorted({*before, *after}):
            if before.get(field) != after.get(field):
                changed[f"{name}.{field}"] = (
                    f"{name}.{field} was {json.dumps(before.get(field))}, "
                    f"is {json.dumps(after.get(field))}"
                )
    if old["inputs"] != new["inputs"]:
        changed["inputs"] = (
            f"the inputs were {len(old['inputs'])} file(s), are {len(new['inputs'])} "
            "(names or sizes differ)"
        )
    if old.get("program") != new.get("program"):
        changed["program"] = (
            f"the program was version {old.get('program')}, is {new.get('program')}"
        )
    return changed


def _refuse_differences(
    output: pathlib.Path, old: dict[str, Any], new: dict[str, Any], remedy: str
) -> None:
    changed = _differences(old, new)
    if changed:
        phrases = "; ".join(changed.values())
        raise errors.UsageError(
            f"{output} was begun with other settings: {phrases}. Repeat the "
            f"command that began it, give another --output_dir, or {remedy} to start "
            "anew."
        )
