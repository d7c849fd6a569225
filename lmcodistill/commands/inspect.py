r"""Show what a data folder holds, and prove that it is what it says.

With --verify every file is read: digests, sizes and counts must be those of the
manifest, every document must end where its index says, no document may be in
two splits, of every input file all documents that were kept must be there, and
all that were not must have a reason in the report.
The exit code is 0 if that is so, and 3 with every fault named if not.

Examples:
  lmcodistill inspect DATA
  lmcodistill inspect DATA --verify
  lmcodistill inspect DATA --sample 3
  lmcodistill inspect DATA --show_document 0a69bafe6f2a4bd95d5d9c6e1ac1f5d0
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags, operands, progress_lines
from lmcodistill.settings import prep
from lmcodistill.storage import files, layout

if TYPE_CHECKING:
    from lmcodistill.data import document_reader, shards, verification

ARGUMENTS = "DATA"
READS_GIN = False
_COUNTS = ("documents", "tokens", "words", "bytes")
_MAX_INPUTS_SHOWN = 20
_WIDE = 200


def define_flags(define: command_flags.Definer) -> None:
    """Defines what to show besides the table."""
    define.bool(
        "verify", False, "Read everything and prove that it is what the manifest says."
    )
    define.strings(
        "show_document",
        [],
        "Print one document: its number in the folder, from 0 on, or its id.",
    )
    define.integer(
        "sample", 0, "Print so many documents, evenly spread over the folder.", 0
    )


def run(flag_values: flags.FlagValues, arguments: list[str]) -> int:
    """Shows the folder; see the module's text."""
    root = operands.data_folder(arguments, "inspect DATA")
    # A mistake among the flags is found without NumPy.
    from lmcodistill.data import document_reader, shards

    manifest = shards.Manifest.read(layout.DataLayout(root).manifest)
    if flag_values.show_document or flag_values.sample:
        reader = document_reader.DocumentReader(root)
        documents = [
            *map(reader.find, flag_values.show_document),
            *reader.spread(flag_values.sample),
        ]
        if flag_values.json:
            print(json.dumps({"documents": [d._asdict() for d in documents]}))
        else:
            for document in documents:
                _print_document(document)
        return 0
    result = _verify(root, manifest) if flag_values.verify else None
    if flag_values.json:
        print(json.dumps(_overview(root, manifest, result)))
    else:
        _print_overview(root, manifest)
        if result is not None:
            _print_result(manifest, result)
    return errors.DataError.exit_code if result and result.num_faults else 0


def _verify(
    root: pathlib.Path, manifest: shards.Manifest
) -> verification.VerificationResult:
    from lmcodistill.data import verification

    total = verification.bytes_to_read(manifest)
    progress = progress_lines.ProgressLines("verify", total, "MB", 1e6)
    return verification.verify(root, manifest, progress.advance)


def _report(root: pathlib.Path) -> dict[str, Any]:
    """Returns what was kept and why not; nothing if the report is gone."""
    from lmcodistill.data import report_checks

    path = layout.DataLayout(root).report_json
    return (
        files.read_json(path, report_checks.MAX_REPORT_BYTES) if path.exists() else {}
    )


def _overview(
    root: pathlib.Path,
    manifest: shards.Manifest,
    result: verification.VerificationResult | None,
) -> dict[str, Any]:
    value: dict[str, Any] = {
        "data_dir": str(root),
        "format_version": manifest.format_version,
        "vocabulary": manifest.vocabulary,
        "vocab_size": manifest.vocab_size,
        "splits": {
            split.name: {
                **{name: getattr(split, name) for name in _COUNTS},
                "shards": len(split.shards),
            }
            for split in manifest.splits
        },
        "inputs": [dataclasses.asdict(source) for source in manifest.inputs],
        "read": _report(root).get("total", {}),
        **manifest.provenance,
    }
    if result is not None:
        faults = [dataclasses.asdict(fault) for fault in result.faults]
        value["verification"] = {**result._asdict(), "faults": faults}
    return value


def _print_overview(root: pathlib.Path, manifest: shards.Manifest) -> None:
    _print(
        f"{root}: format {manifest.format_version}, {manifest.vocab_size:,} token ids, "
        f"vocabulary {manifest.vocabulary[:12]}"
    )
    _print_table(
        ["split", "shards", *_COUNTS, "bytes/token"],
        [
            [
                split.name,
                f"{len(split.shards):,}",
                *(f"{getattr(split, name):,}" for name in _COUNTS),
                f"{split.bytes / max(1, split.tokens - split.documents):.2f}",
            ]
            for split in manifest.splits
        ],
    )
    if manifest.inputs:
        shown = manifest.inputs[:_MAX_INPUTS_SHOWN]
        _print_table(
            ["input", "bytes", "kept documents"],
            [[i.name, f"{i.bytes:,}", f"{i.documents:,}"] for i in shown],
        )
        if len(shown) < len(manifest.inputs):
            _print(
                f"... and {len(manifest.inputs) - len(shown):,} more; --json has all"
            )
    try:
        _print_reasons(_report(root), manifest.provenance)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise errors.DataError(
            f"{root}: report.json or the manifest's provenance garbles a field "
            f"({error!r}); it was edited. Restore it, or run prep again."
        ) from error


def _print_reasons(report: dict[str, Any], provenance: dict[str, Any]) -> None:
    """Prints what was kept and why not, and the settings that decided it."""
    if report:
        total = report["total"]
        dropped = sorted(total["dropped"].items(), key=lambda item: -item[1])
        _print_table(
            ["documents read", f"{total['read']:,}"],
            [[name, f"{n:,}"] for name, n in [("kept", total["kept"]), *dropped]],
        )
    changed = _changed(provenance.get("settings", {}))
    if changed:
        _print("Settings that are not the defaults; --json has all:")
    for line in changed:
        _print(f"  {line}")


def _changed(settings: dict[str, dict[str, Any]]) -> list[str]:
    """Returns the settings that are not what they are by default, as gin has them."""
    defaults = {
        f"{cls.__name__}.{field.name}": field.default
        for cls in prep.PREP_SETTINGS
        for field in dataclasses.fields(cls)
    }
    given = {f"{n}.{k}": v for n, fields in settings.items() for k, v in fields.items()}
    # JSON has no tuples.
    was = {name: list(d) if isinstance(d, tuple) else d for name, d in defaults.items()}
    return [f"{n} = {v!r}" for n, v in given.items() if n not in was or was[n] != v]


def _print_result(
    manifest: shards.Manifest, result: verification.VerificationResult
) -> None:
    for fault in result.faults:
        _print(f"fault: {fault}")
    if len(result.faults) < result.num_faults:
        _print(f"... and {result.num_faults - len(result.faults):,} more faults")
    for words in result.unproven:
        _print(f"not proven: {words}")
    num_shards = sum(len(split.shards) for split in manifest.splits)
    if result.num_faults:
        _print(
            f"{result.num_faults:,} fault(s). Restore the files named above from a "
            "good copy, or run the `lmcodistill prep` that made the folder again."
        )
    elif not result.unproven:
        documents = sum(split.documents for split in manifest.splits)
        _print(
            f"Proven: {num_shards:,} shard(s) are what the manifest says; each of the "
            f"{documents:,} documents that were kept of {len(manifest.inputs):,} "
            f"input(s) is in exactly one of {len(manifest.splits)} splits, and each "
            "one that was not has a reason."
        )
    else:
        _print(f"The rest is proven: {num_shards:,} shard(s), digests and counts.")


def _print_document(document: document_reader.StoredDocument) -> None:
    _print(
        f"document {document.number:,}, id {document.id}: {document.tokens:,} tokens "
        f"from {document.first_token:,} on in {document.split}/{document.shard}; "
        f"document {document.source_number:,} of {document.source}"
    )
    _print(document.text + "\n")


def _print_table(head: list[str], rows: list[list[str]]) -> None:
    import rich.console

    from lmcodistill.report import terminal

    # Programs want a line for each row, however long.
    width = None if sys.stdout.isatty() else _WIDE
    console = rich.console.Console(highlight=False, width=width)
    terminal.show(console, head, [[*map(errors.printable, row)] for row in rows])


def _print(text: str) -> None:
    print(errors.printable(text, "\n\t"))
