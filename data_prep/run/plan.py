"""The plan of a run: all that decides its outcome, and how a run is known again.

`.work/plan.json` has it while the run is unfinished, the manifest afterwards.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import lmcodistill
from data_prep import work
from data_prep.reading import inputs
from data_prep.rules import hosts
from lmcodistill import errors
from lmcodistill.data import shards
from lmcodistill.settings import deduplication as deduplication_settings
from lmcodistill.settings import filtering
from lmcodistill.settings import paragraphs as paragraph_settings
from lmcodistill.settings import prep as prep_settings
from lmcodistill.storage import files, layout, places

_NO_DEDUPLICATION = deduplication_settings.Deduplication(exact=False)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is read, and what is made of it.

    Attributes:
        sources: The input files, in order.
        prep: How documents are cut and dealt out.
        vocabulary: What is trained.
        rules: What is kept.
        deduplication: Which documents are compared, unless the text comes
            pretokenized: see `compared`.
        paragraphs: How the list of paragraphs counts, with its digest.
        kind: What documents are, and which are kept: a name in `extract.KINDS`.
        paragraph_list: The list, for the kind `paragraph_list`.
        left_out: What was met beside the sources and is not read: see
            `inputs.Found`. It decides nothing.
    """

    sources: tuple[inputs.Input, ...]
    prep: prep_settings.Prep
    vocabulary: prep_settings.PrepVocabulary
    rules: filtering.Rules
    deduplication: deduplication_settings.Deduplication = (
        deduplication_settings.Deduplication()
    )
    paragraphs: paragraph_settings.ParagraphList = paragraph_settings.ParagraphList()
    kind: str = "documents"
    paragraph_list: pathlib.Path | None = None
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def compared(self) -> deduplication_settings.Deduplication:
        """What is compared: text that comes with its own splits is not."""
        is_split = self.kind == "pretokenized"
        return _NO_DEDUPLICATION if is_split else self.deduplication

    def to_json(self) -> dict[str, Any]:
        """Returns what a run is recognised by, settings as gin files name them.

        Raises:
            DataError: the file of blocked hosts cannot be read.
        """
        groups = (
            self.prep,
            self.vocabulary,
            self.deduplication,
            self.paragraphs,
            *(getattr(self.rules, name) for name in filtering.RULES),
        )
        # As JSON reads it back: tuples become lists.
        settings: dict[str, dict[str, Any]] = json.loads(
            json.dumps({type(x).__name__: dataclasses.asdict(x) for x in groups})
        )
        # Where the file is decides nothing, what is in it does.
        settings["UrlRules"]["blocked_hosts"] = hosts.digest_of(
            self.rules.urls.blocked_hosts
        )
        return {
            "program": lmcodistill.__version__,
            "settings": settings,
            "inputs": [
                {"name": s.name, "bytes": s.path.stat().st_size, "split": s.split}
                for s in self.sources
            ],
        }


def is_finished(output: places.Place, plan: dict[str, Any]) -> bool:
    """Returns whether `output` holds just what `plan` would make.

    Raises:
        UsageError: it holds something else.
    """
    manifest = output / layout.DataLayout.MANIFEST
    if not places.is_file(manifest):
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
    _refuse(output, _differences(old, new), f"remove {output}")
    return True


def check(folder: work.WorkFolder, plan: dict[str, Any]) -> list[str]:
    """Writes the plan of a new run, or compares it with the one being resumed.

    What was read is kept when only settings of later stages changed, so that an
    error about the vocabulary's size costs no second reading.

    Returns:
        The settings that changed.

    Raises:
        UsageError: the unfinished run had other inputs, or read them otherwise.
    """
    changed: dict[str, str] = {}
    if folder.plan.exists():
        old = files.read_json(folder.plan, max_bytes=1 << 30)
        changed = _differences(old, plan)
        if not changed.keys() <= prep_settings.later_settings():
            _refuse(folder.root.parent, changed, f"remove {folder.root}")
        if changed:
            folder.forget_all_but_kept()
    files.write_text(folder.plan, files.to_json(plan))
    return list(changed)


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


def _refuse(output: places.Place, changed: dict[str, str], remedy: str) -> None:
    if changed:
        raise errors.UsageError(
            f"{output} was begun with other settings: {'; '.join(changed.values())}. "
            f"Repeat the command that began it, give another --output_dir, or {remedy} "
            "to start anew."
        )
