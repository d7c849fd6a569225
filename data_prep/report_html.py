"""The report as one page that opens offline: tables and bars, no script.

Everything that comes from outside is escaped.
"""

import html
from collections.abc import Iterable, Mapping
from typing import Any

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem;
  color: #1c2330; background: #fff; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #dde2ea; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.lead { font-size: 1.05rem; } .quiet { color: #667085; }
svg { vertical-align: middle; } pre { white-space: pre-wrap; }
"""
_BAR_WIDTH = 260


def render(report: Mapping[str, Any]) -> str:
    """Returns the page."""
    total = report["total"]
    share = total["kept"] / max(1, total["read"])
    sections = [
        f"<p class='lead'>{total['kept']:,} of {total['read']:,} documents kept "
        f"({share:.1%}) from {total['files']:,} file(s), "
        f"{total['bytes'] / 1e6:,.1f} MB.</p>",
        _trouble(total),
        "<h2>Kept, and why not</h2>",
        _bars({"kept": total["kept"], **total["dropped"]}, total["read"], "kept"),
        "<h2>Splits</h2>",
        _splits(report["splits"]),
        "<h2>Vocabulary</h2>",
        _vocabulary(report["vocabulary"]),
        "<h2>Languages of the documents that passed the rules</h2>",
        _bars(total["languages"], sum(total["languages"].values()), ""),
        "<h2>Input files</h2>",
        _files(report["files"]),
        "<h2>Time</h2>",
        _table(
            ["stage", "seconds"],
            ([name, f"{s:.1f}"] for name, s in report["timings"]["seconds"].items()),
        ),
        "<h2>Settings</h2>",
        _settings(report["settings"]),
    ]
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<title>lmcodistill prep</title>"
        f"<style>{_STYLE}</style></head>\n<body><h1>lmcodistill prep</h1>\n"
        + "\n".join(filter(None, sections))
        + "\n</body></html>\n"
    )


def _trouble(total: Mapping[str, Any]) -> str:
    parts = [
        f"{total[name]:,} {words}"
        for name, words in (
            ("truncated_files", "truncated file(s)"),
            ("damaged_files", "damaged file(s)"),
            ("ignored_files", "file(s) without documents"),
        )
        if total[name]
    ]
    return f"<p>{'; '.join(parts)}: see below.</p>" if parts else ""


def _bars(counts: Mapping[str, int], total: int, highlight: str) -> str:
    rows = []
    for name, count in counts.items():
        width = _BAR_WIDTH * count / max(1, total)
        color = "#1f7a4d" if name == highlight else "#5b7db1"
        rows.append(
            f"<tr><td>{html.escape(name)}</td><td class='n'>{count:,}</td>"
            f"<td class='n'>{count / max(1, total):.1%}</td>"
            f"<td><svg width='{_BAR_WIDTH}' height='12' role='img' "
            f"aria-label='{count / max(1, total):.1%}'>"
            f"<rect width='{width:.1f}' height='12' fill='{color}'/></svg></td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _splits(splits: Mapping[str, Mapping[str, Any]]) -> str:
    names = ("documents", "tokens", "words", "bytes", "unknown", "inexact")
    return _table(
        ["split", *names, "bytes per token"],
        (
            [name, *(f"{split[n]:,}" for n in names), str(split["bytes_per_token"])]
            for name, split in splits.items()
        ),
    )


def _vocabulary(value: Mapping[str, Any]) -> str:
    return _table(
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
    return _table(
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
    return _table(["setting", "value"], rows)


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    def cells(values: list[str], tag: str) -> str:
        return "".join(
            f"<{tag}{_class(value) if tag == 'td' else ''}>{html.escape(value)}</{tag}>"
            for value in values
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><tr>{cells(head, 'th')}</tr>{body}</table>"


def _class(value: str) -> str:
    return " class='n'" if value.replace(",", "").replace(".", "").isdigit() else ""
