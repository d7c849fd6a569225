"""What was kept and why not: the report, and the sentences that quote it."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from data_prep import counts as counts_lib
from data_prep import profile
from data_prep.rules import extract
from lmcodistill import errors
from lmcodistill.data import vocabulary

FORMAT_VERSION = 2
_TOP_HOSTS = 100
_NAMED_FILES = 5
NO_GUIDE = (
    "no document fell to the guide, the text that WEIGHT_SCHEDULE = 'auto' measures "
    "the teachers on; raise GUIDE_FRACTION to train with it"
)
TEXTS_ON_BOTH_SIDES = (
    "each text file is too much of all text to be held out whole, so sections are "
    "dealt one by one: validation has sections of files that are trained on too, and "
    "is easier than new text. Give more files"
)


def build(
    extracted: Sequence[extract.Extracted],
    left_out: Mapping[str, int],
    duplicates: Sequence[Mapping[str, int]],
    counts: Mapping[str, Mapping[str, int]],
    pieces: vocabulary.Vocabulary,
    sampled: Mapping[str, int],
    settings: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Returns the report: in every line, `read` = `kept` + sum of `dropped`.

    Args:
        extracted: What became of each input file.
        left_out: What was met beside them and is not read, by why.
        duplicates: Copies in each, dropped after that, per reason.
        counts: Documents, tokens, words and bytes of each split.
        pieces: The vocabulary.
        sampled: What it was trained on.
        settings: What decided, by class and field.
    """
    lines, shape = [], profile.Profile()
    total, copies = counts_lib.Counts(), collections.Counter[str]()
    for result, dropped in zip(extracted, duplicates, strict=True):
        lines.append(file_line(result, dropped))
        total.add(result.counts)
        shape.add(result.profile)
        copies.update(dropped)
    return {
        "format_version": FORMAT_VERSION,
        "total": {
            **_kept_and_dropped(total, copies),
            "files": len(lines),
            "bytes": sum(result.bytes for result in extracted),
            "damaged_files": sum(line["damaged"] > 0 for line in lines),
            "truncated_files": sum(line["truncated"] for line in lines),
            "recoded_files": sum(is_recoded(line) for line in lines),
            "ignored_files": sum(bool(line["note"]) for line in lines),
            "left_out": dict(left_out),
            "languages": _by_count(total.languages),
            "masked": _by_count(total.masked),
            "languages_found": _by_count(shape.languages),
            "lengths": [length._asdict() for length in shape.length_ranges()],
            "hosts": shape.top_hosts(_TOP_HOSTS),
            "paragraphs": dict(total.paragraphs),
        },
        "files": lines,
        "splits": {name: split_line(split) for name, split in counts.items()},
        "vocabulary": {
            "type": settings["PrepVocabulary"]["type"],
            "size": pieces.size,
            "fingerprint": pieces.fingerprint,
            "sample": dict(sampled),
        },
        "settings": dict(settings),
    }


def warnings_of(result: extract.Extracted) -> list[str]:
    """Returns what people should know about an input file: mostly nothing."""
    counts, warnings = result.counts, []
    if counts.note:
        warnings.append(f"{result.source} {counts.note}")
    kept = f"the {counts.read:,} complete document(s) in it were read"
    if counts.truncated:
        warnings.append(f"{result.source} ends in the middle of a record; {kept}")
    if counts.damaged:
        warnings.append(
            f"{result.source} is damaged in {counts.damaged} place(s); {kept}"
        )
    if counts.encodings:
        words = ", ".join(
            f"{n:,} as {e}" for e, n in _by_count(counts.encodings).items()
        )
        warnings.append(
            f"{result.source} is not all UTF-8; lines were read as what they look "
            f"like: {words}"
        )
    if counts.replaced:
        warnings.append(
            f"{result.source} has {counts.replaced:,} place(s) that are no text; "
            "U+FFFD stands there now"
        )
    if missing := counts.paragraphs["not_found"]:
        warnings.append(
            f"{result.source} does not have {missing:,} of the "
            f"{counts.paragraphs.total():,} paragraphs that the list names in it"
        )
    return warnings


def is_recoded(line: Mapping[str, Any]) -> bool:
    """Returns whether a text file was not all UTF-8, from its line of the report."""
    return bool(line["encodings"] or line["replaced"])


def refuse_damage(lines: Sequence[Mapping[str, Any]]) -> None:
    """Ends a run that shall not go on without what damage has cost.

    Raises:
        DataError: a file of these lines of the report is damaged or cut, or a text
            file whose encoding had to be guessed.
    """
    for hurt, words, advice in (
        (
            [line["name"] for line in lines if line["damaged"] or line["truncated"]],
            "are damaged or cut",
            "Replace them, or leave --strict out to go on with the records that are "
            "whole.",
        ),
        (
            [line["name"] for line in lines if is_recoded(line)],
            "are not in UTF-8",
            "Convert them with `iconv`, or leave --strict out to read them as what "
            "they look like.",
        ),
    ):
        if not hurt:
            continue
        names = ", ".join(
            errors.printable(name, kept="") for name in hurt[:_NAMED_FILES]
        )
        unnamed = len(hurt) - _NAMED_FILES
        more = f" and {unnamed} more" if unnamed > 0 else ""
        raise errors.DataError(
            f"{len(hurt)} of {len(lines)} input file(s) {words} ({names}{more}), and "
            f"--strict was given. {advice}"
        )


def nothing_kept(extracted: Sequence[extract.Extracted]) -> str:
    """Returns the message for a run whose every document was dropped."""
    total = counts_lib.Counts()
    for result in extracted:
        total.add(result.counts)
    if not total.read:
        kinds = ", ".join(f"{n} {k}" for k, n in sorted(total.records.items()))
        return (
            f"No document was found in {len(extracted)} input file(s)"
            f"{f' (records: {kinds})' if kinds else ''}. Give WET or WARC files with "
            "pages, JSON Lines or plain text."
        )
    reasons = ", ".join(f"{n} {k}" for k, n in _by_count(total.dropped).items())
    if total.dropped.keys() <= {"no_text_field", "bad_json"}:
        return (
            f"All {total.read:,} documents were dropped: {reasons}. Set "
            "--gin.Prep.jsonl_text_field to the name of the field that holds the text, "
            "or give other input."
        )
    return (
        f"All {total.read:,} documents were dropped: {reasons}. Give other input, or "
        "relax the rules: LANGUAGE = '' keeps every language, QUALITY_RULES = 'none' "
        "every page."
    )


def empty_split(split: str, counts: Mapping[str, Mapping[str, int]]) -> str:
    """Returns the message for a split that no document fell into."""
    total = sum(of_split["documents"] for of_split in counts.values())
    return (
        f"Split {split} got none of the {total:,} kept documents. Give more text, "
        "lower NUM_PARTITIONS, or change VALIDATION_FRACTION or SEED; plain text can "
        "be cut into more documents with a lower Prep.text_section_bytes."
    )


def file_line(result: extract.Extracted, copies: Mapping[str, int]) -> dict[str, Any]:
    """Returns the report's line of an input file, with its copies dropped."""
    return {
        "name": result.source,
        "bytes": result.bytes,
        **_kept_and_dropped(result.counts, copies),
        "records": dict(sorted(result.counts.records.items())),
        "damaged": result.counts.damaged,
        "truncated": result.counts.truncated,
        "encodings": _by_count(result.counts.encodings),
        "replaced": result.counts.replaced,
        "paragraphs": dict(result.counts.paragraphs),
        "note": result.counts.note,
    }


def _kept_and_dropped(
    counts: counts_lib.Counts, copies: Mapping[str, int]
) -> dict[str, Any]:
    return {
        "read": counts.read,
        "kept": counts.kept - sum(copies.values()),
        "dropped": _by_count({**counts.dropped, **copies}),
    }


def split_line(split: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the report's line about a split."""
    tokens = split["tokens"] - split["documents"]
    return {
        **split,
        "bytes_per_token": round(split["bytes"] / tokens, 4) if tokens else None,
    }


def _by_count(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
