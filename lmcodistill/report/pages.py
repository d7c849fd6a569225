"""The parts of a page, and the page around them.

Each part is a function from plain text to one HTML element. `page` is the only
one that takes HTML: the parts that the others returned.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence

from lmcodistill.report import charts

_NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+( ?%| s)?|-")
_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2330; --quiet: #5d6778;
  --line: #dde2ea; --panel: #f5f7fa; --bar: #5b7db1; --warn: #8a4b00; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181f; --ink: #e4e8ef;
  --quiet: #98a2b3; --line: #313947; --panel: #1c222c; --bar: #7b9fd6;
  --warn: #f0b46a; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 54rem;
  padding: 0 1rem; color: var(--ink); background: var(--paper); }
h1 { font-size: 1.5rem; line-height: 1.25; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
.lead { font-size: 1.08rem; } .quiet { color: var(--quiet); }
.warn { color: var(--warn); font-weight: 600; }
.bar { fill: var(--bar); } .bars { width: 45%; }
.bars svg { display: block; width: 100%; height: 12px; margin: .35rem 0; }
td { overflow-wrap: anywhere; } td:first-child { min-width: 11rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .7rem .3rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--quiet); font-weight: 600; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: .8rem 1rem;
  background: var(--panel); border-radius: 6px; font-size: .9rem; }
figure { margin: 1.4rem 0; } figcaption { font-weight: 600; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Returns the whole page.

    Args:
        title: Plain text.
        parts: HTML, as the functions of this room return it.
    """
    body = "\n".join(parts)
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width'>\n"
        f"<title>{html.escape(title)}</title>\n"
        f"<style>{_STYLE}{charts.STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def heading(text: str) -> str:
    """Returns the heading of a section."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str, look: str = "") -> str:
    """Returns a paragraph.

    Args:
        text: Plain text.
        look: `lead` for what is to be read first, `quiet` for remarks, `warn` for
            what went wrong.
    """
    kind = f" class='{html.escape(look)}'" if look else ""
    return f"<p{kind}>{html.escape(text)}</p>"


def preformatted(text: str) -> str:
    """Returns text whose line breaks count."""
    return f"<pre>{html.escape(text)}</pre>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table; columns of numbers are aligned to the right.

    Args:
        head: The columns' names.
        rows: Cells as text, formatted.
    """
    kept = [list(row) for row in rows]
    numeric = [
        bool(kept) and all(_NUMBER.fullmatch(row[column]) for row in kept)
        for column in range(len(head))
    ]

    def line(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=n' if is_number else ''}>{html.escape(cell)}</{tag}>"
            for cell, is_number in zip(cells, numeric, strict=True)
        )

    body = "".join(f"<tr>{line('td', row)}</tr>\n" for row in kept)
    return f"<div class='wide'><table><tr>{line('th', head)}</tr>\n{body}</table></div>"


def bars(counts: Mapping[str, int], total: int) -> str:
    """Returns a table of counts, each with its share of `total` as a bar.

    Args:
        counts: By name, in the order shown.
        total: What a full bar stands for; 0 shows empty bars.
    """
    rows = []
    for name, count in counts.items():
        share = count / total if total else 0.0
        rows.append(([name, f"{count:,}", f"{share:.1%}"], share))
    return meters([], rows)


def meters(head: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]) -> str:
    """Returns a table whose rows end in a bar.

    Args:
        head: The columns' names, without the bars'; none for no head.
        rows: Cells as text, the first a name and the others numbers, and how full
            the bar is, from 0.0 to 1.0.
    """
    lines = []
    if head:
        names = "".join(f"<th class='n'>{html.escape(name)}</th>" for name in head[1:])
        lines.append(
            f"<tr><th>{html.escape(head[0])}</th>{names}<th class='bars'></th></tr>"
        )
    for (name, *numbers), share in rows:
        cells = "".join(f"<td class='n'>{html.escape(text)}</td>" for text in numbers)
        lines.append(
            f"<tr><td>{html.escape(name)}</td>{cells}"
            f"<td class='bars'><svg role='img' aria-label='{share:.1%}'>"
            f"<rect width='{share:.2%}' height='12' class='bar'/></svg></td></tr>"
        )
    return f"<div class='wide'><table>{''.join(lines)}</table></div>"
