"""The report as one page that opens offline: tables and bars, no script.

Everything that comes from outside is escaped.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from lmcodistill.report import pages


def render(report: Mapping[str, Any]) -> str:
    """Returns the page."""
    total = report["total"]
    share = total["kept"] / max(1, total["read"])
    return pages.page(
        "lmcodistill prep",
        [
            pages.paragraph(
                f"{total['kept']:,} of {total['read']:,} documents kept ({share:.1%}) "
                f"from {total['files']:,} file(s), {total['bytes'] / 1e6:,.1f} MB.",
                "lead",
            ),
            *_trouble(total),
            pages.heading("Kept, and why not"),
            pages.bars({"kept": total["kept"], **total["dropped"]}, total["read"]),
            pages.heading("Splits"),
            _splits(report["splits"]),
            pages.heading("Vocabulary"),
            _vocabulary(report["vocabulary"]),
            pages.heading("Languages of the documents that passed the rules"),
            pages.bars(total["languages"], sum(total["languages"].values())),
            pages.heading("Input files"),
            _files(report["files"]),
            pages.heading("Time"),
            pages.table(
                ["stage", "seconds"],
                ([n, f"{s:.1f}"] for n, s in report["timings"]["seconds"].items()),
            ),
            pages.heading("Settings"),
            _settings(report["settings"]),
        ],
    )


def _trouble(total: Mapping[str, Any]) -> list[str]:
    parts = [
        f"{total[name]:,} {words}"
        for name, words in (
            ("truncated_files", "truncated file(s)"),
            ("damaged_files", "damaged file(s)"),
            ("ignored_files", "file(s) without documents"),
        )
        if total[name]
    ]
    return [pages.paragraph(f"{'; '.join(parts)}: see below.")] if parts else []


def _splits(splits: Mapping[str, Mapping[str, Any]]) -> str:
    names = ("documents", "tokens", "words", "bytes", "unknown", "inexact")
    return pages.table(
        ["split", *names, "bytes per token"],
        (
            [name, *(f"{split[n]:,}" for n in names), str(split["bytes_per_token"])]
            for name, split in splits.items()
        ),
    )


def _vocabulary(value: Mapping[str, Any]) -> str:
    return pages.table(
        ["", "value"],
        [
            ["type", value["type"]],
            ["ids", f"{value['size']:,}"],
            ["fingerprint", value["fingerprint"][:16]],
            ["sample, documents", f"{value['sample']['documents']:,}"],
            ["sample, bytes", f"{value['sample']['bytes']:,}"],
        ],
    )


def _files(lines: Iterable[Mapping[str, Any]]) -> str:
    return pages.table(
        ["file", "bytes", "read", "kept", "dropped", "trouble"],
        (
            [
                line["name"],
                f"{line['bytes']:,}",
                f"{line['read']:,}",
                f"{line['kept']:,}",
                ", ".join(f"{k} {n:,}" for k, n in line["dropped"].items()),
                "; ".join(
                    filter(
                        None,
                        [
                            line["note"],
                            "truncated" if line["truncated"] else "",
                            f"damaged x{line['damaged']}" if line["damaged"] else "",
                        ],
                    )
                ),
            ]
            for line in lines
        ),
    )


def _settings(settings: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [f"{name}.{field}", repr(value)]
        for name, fields in settings.items()
        for field, value in fields.items()
    ]
    return pages.table(["setting", "value"], rows)
