"""The report as one page that opens offline: tables and drawings, no script.

Everything that comes from outside is escaped, in `lmcodistill.report`.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from lmcodistill.report import charts, pages

# A crawl has 70,000 files, and its text comes from a million hosts.
_MAX_FILES, _MAX_HOSTS, _MAX_LANGUAGES = 500, 25, 15
_DUPLICATES = {
    "duplicate": "equal to another, but for case and white space",
    "near_duplicate": "near copy of another",
    "duplicate_lines": "too short without the lines that others have",
}


def render(report: Mapping[str, Any]) -> str:
    """Returns the page."""
    total = report["total"]
    return pages.page(
        "lmcodistill prep",
        [
            pages.paragraph(_summary(report), "lead"),
            *_trouble(total),
            pages.heading("Kept, and why not"),
            pages.bars(
                {"kept": total["kept"], **total["dropped"]},
                total["read"],
                "Documents kept, and dropped for each reason",
            ),
            *_duplicates(total),
            pages.heading("Splits"),
            *_splits(report["splits"]),
            pages.heading("Lengths"),
            _lengths(total["lengths"]),
            pages.heading("Languages of all documents"),
            _languages(total),
            *_hosts(total),
            *_masked(total),
            pages.heading("Vocabulary"),
            _vocabulary(report["vocabulary"]),
            pages.heading("Time"),
            *_time(report["timings"]),
            pages.heading("Input files"),
            *_files(report["files"]),
            pages.heading("Settings"),
            _settings(report["settings"]),
        ],
    )


def _summary(report: Mapping[str, Any]) -> str:
    total, splits = report["total"], report["splits"].values()
    tokens = sum(split["tokens"] for split in splits)
    return (
        f"{total['kept']:,} of {total['read']:,} documents kept "
        f"({total['kept'] / max(1, total['read']):.1%}) from {total['files']:,} "
        f"file(s), {total['bytes'] / 1e6:,.1f} MB: {tokens:,} tokens."
    )


def _trouble(total: Mapping[str, Any]) -> list[str]:
    parts = [
        f"{total[name]:,} {words}"
        for name, words in (
            ("truncated_files", "truncated file(s)"),
            ("damaged_files", "damaged file(s)"),
            ("recoded_files", "file(s) that are not UTF-8"),
            ("ignored_files", "file(s) without documents"),
        )
        if total[name]
    ]
    return [pages.paragraph(f"{'; '.join(parts)}: see below.", "warn")] if parts else []


def _passed(total: Mapping[str, Any]) -> int:
    """Returns how many documents passed the rules, copies among them."""
    copies = sum(total["dropped"].get(reason, 0) for reason in _DUPLICATES)
    return total["kept"] + copies


def _duplicates(total: Mapping[str, Any]) -> list[str]:
    passed = _passed(total)
    copies = {
        words: total["dropped"][reason]
        for reason, words in _DUPLICATES.items()
        if reason in total["dropped"]
    }
    number = sum(copies.values())
    return [
        pages.heading("Duplicates"),
        pages.paragraph(
            f"{number:,} of the {passed:,} documents that passed the rules went as "
            f"copies of others ({number / max(1, passed):.1%})."
        ),
        *([pages.bars(copies, passed, "Copies by their kind")] if copies else []),
    ]


def _splits(splits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = ("documents", "tokens", "words", "bytes", "unknown", "inexact")
    best = max((x["bytes_per_token"] or 0.0 for x in splits.values()), default=0)
    return [
        pages.table(
            ["split", *names],
            (
                [name, *("-" if split[n] is None else f"{split[n]:,}" for n in names)]
                for name, split in splits.items()
            ),
            "What each split holds",
        ),
        pages.heading("Compression"),
        pages.meters(
            ["split", "bytes per token"],
            (
                ([name, f"{ratio:.3f}"], ratio / best)
                for name, split in splits.items()
                if (ratio := split["bytes_per_token"])
            ),
            "How many bytes of text a token stands for",
        ),
    ]


def _lengths(ranges: Sequence[Mapping[str, int]]) -> str:
    return charts.column_chart(
        [
            charts.Column(
                label=_size(bin_["least"]),
                height=bin_["documents"],
                tip=f"{bin_['documents']:,} documents of {bin_['least']:,} to "
                f"{bin_['below'] - 1:,} bytes",
            )
            for bin_ in ranges
        ],
        title="Documents that passed the rules, by length",
        x_label="bytes of text, from",
        y_label="documents",
    )


def _size(num_bytes: int) -> str:
    for unit, scale in (("M", 1e6), ("k", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.3g}{unit}"
    return str(num_bytes)


def _languages(total: Mapping[str, Any]) -> str:
    counts = total["languages_found"]
    shown = dict(itertools.islice(counts.items(), _MAX_LANGUAGES))
    if len(counts) > _MAX_LANGUAGES:
        name = f"{len(counts) - _MAX_LANGUAGES:,} others"
        shown[name] = sum(counts.values()) - sum(shown.values())
    return pages.bars(shown, total["read"], "Documents by language")


def _hosts(total: Mapping[str, Any]) -> list[str]:
    shown = dict(itertools.islice(total["hosts"].items(), _MAX_HOSTS))
    heading = pages.heading("Hosts of most documents that passed the rules")
    table = pages.bars(shown, _passed(total), "Documents by host")
    return [heading, table] if shown else []


def _masked(total: Mapping[str, Any]) -> list[str]:
    rows = [[kind, f"{count:,}"] for kind, count in total.get("masked", {}).items()]
    heading = pages.heading("Personal data that was masked")
    table = pages.table(["kind", "places"], rows, "Places that were masked")
    return [heading, table] if rows else []


def _vocabulary(value: Mapping[str, Any]) -> str:
    return pages.table(
        ["property", "value"],
        [
            ["type", value["type"]],
            ["ids", f"{value['size']:,}"],
            ["fingerprint", value["fingerprint"][:16]],
            ["sample, documents", f"{value['sample']['documents']:,}"],
            ["sample, bytes", f"{value['sample']['bytes']:,}"],
        ],
        "What the vocabulary is, and was made from",
    )


def _time(timings: Mapping[str, Mapping[str, float]]) -> list[str]:
    seconds, cpu = timings["seconds"], timings["cpu_seconds"]
    most = max(cpu.values(), default=0.0) or 1.0
    return [
        pages.paragraph(
            "Seconds are of the last attempt, CPU seconds of all processes and "
            "attempts; the bars show CPU seconds.",
            "quiet",
        ),
        pages.meters(
            ["stage", "seconds", "CPU seconds"],
            (
                (
                    [name, f"{value:.1f}", f"{cpu.get(name, 0.0):.1f}"],
                    cpu.get(name, 0.0) / most,
                )
                for name, value in seconds.items()
            ),
            "What each stage took; the bars are CPU seconds",
        ),
    ]


def _files(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    # Damaged files come first, so that no limit hides them.
    ordered = sorted(lines, key=lambda line: not _trouble_of(line))
    table = pages.table(
        ["file", "bytes", "read", "kept", "dropped", "trouble"],
        (
            [
                line["name"],
                *(f"{line[count]:,}" for count in ("bytes", "read", "kept")),
                ", ".join(f"{k} {n:,}" for k, n in line["dropped"].items()),
                _trouble_of(line),
            ]
            for line in ordered[:_MAX_FILES]
        ),
        "What was read of each file",
    )
    hidden = len(lines) - _MAX_FILES
    note = pages.paragraph(f"{hidden:,} more are in report.json.", "quiet")
    return [table, note] if hidden > 0 else [table]


def _trouble_of(line: Mapping[str, Any]) -> str:
    words = [
        line["note"],
        "truncated" if line["truncated"] else "",
        f"damaged x{line['damaged']}" if line["damaged"] else "",
        *(f"{n:,} lines read as {e}" for e, n in line["encodings"].items()),
        f"{line['replaced']:,} x U+FFFD" if line["replaced"] else "",
    ]
    return "; ".join(filter(None, words))


def _settings(settings: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [f"{c}.{f}", repr(v)]
        for c, fields in settings.items()
        for f, v in fields.items()
    ]
    return pages.table(["setting", "value"], rows, "Every setting of this run")
