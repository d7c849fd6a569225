"""The parts of a page, and the page around them.

Each part is a function from plain text to one HTML element. `page` is the only
one that takes HTML: the parts that the others returned.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence

from lmcodistill.report import style

_NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+( ?%| s)?|-")
# A cell of more letters is a text that may be broken.
_LONG = 24


def page(title: str, parts: Iterable[str]) -> str:
    """Returns the whole page.

    Args:
        title: Plain text.
        parts: HTML, as the functions of this room return it.
    """
    body = "\n".join(parts)
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>{html.escape(title)}</title>\n"
        f"<style>{style.PAGE}{style.CHART}</style></head>\n"
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


def details(summary: str, part: str) -> str:
    """Returns a part that is folded away until somebody opens it.

    Args:
        summary: Plain text, always shown.
        part: HTML, as the functions of this room return it.
    """
    return f"<details><summary>{html.escape(summary)}</summary>{part}</details>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """Returns a table; columns of numbers are aligned to the right.

    Args:
        head: The columns' names.
        rows: Cells as text, formatted; the first names its row.
        caption: What the table shows, in plain text.
    """
    kept = [list(row) for row in rows]
    numeric = [
        bool(kept) and all(_NUMBER.fullmatch(row[column]) for row in kept)
        for column in range(len(head))
    ]

    def looks(cells: Sequence[str]) -> Iterable[tuple[str, str]]:
        """Yields each cell's text, escaped, and how it is shown."""
        for cell, is_number in zip(cells, numeric, strict=True):
            # Short words stay in one line; a long text may be broken anywhere.
            look = "n" if is_number else "text" if len(cell) > _LONG else ""
            yield html.escape(cell), f" class='{look}'" if look else ""

    def line(row: Sequence[str]) -> str:
        (name, look), *rest = looks(row)
        cells = "".join(f"<td{look}>{cell}</td>" for cell, look in rest)
        return f"<tr><th scope='row'{look}>{name}</th>{cells}</tr>\n"

    names = "".join(f"<th scope='col'{look}>{x}</th>" for x, look in looks(head))
    return _framed(
        f"<thead><tr>{names}</tr></thead>\n<tbody>{''.join(map(line, kept))}</tbody>",
        caption,
    )


def _framed(rows: str, caption: str) -> str:
    """Returns a table in a frame that scrolls, with the keyboard as well."""
    name = html.escape(caption or "Table", quote=True)
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return (
        f"<div class='wide' tabindex='0' role='region' aria-label='{name}'>"
        f"<table>{title}{rows}</table></div>"
    )


def bars(counts: Mapping[str, int], total: int, caption: str = "") -> str:
    """Returns a table of counts, each with its share of `total` as a bar.

    Args:
        counts: By name, in the order shown.
        total: What a full bar stands for; 0 shows empty bars.
        caption: What is counted, in plain text.
    """
    rows = []
    for name, count in counts.items():
        share = count / total if total else 0.0
        rows.append(([name, f"{count:,}", f"{share:.1%}"], share))
    return meters([], rows, caption)


def meters(
    head: Sequence[str],
    rows: Iterable[tuple[Sequence[str], float]],
    caption: str = "",
) -> str:
    """Returns a table whose rows end in a bar.

    Args:
        head: The columns' names, without the bars'; none for no head.
        rows: Cells as text, the first a name and the others numbers, and how full
            the bar is, from 0.0 to 1.0.
        caption: What the table shows, in plain text.
    """
    lines = []
    if head:
        first, *others = map(html.escape, head)
        names = "".join(f"<th scope='col' class='n'>{name}</th>" for name in others)
        lines.append(
            f"<thead><tr><th scope='col'>{first}</th>{names}<td class='bars'></td>"
            "</tr></thead>"
        )
    for (name, *numbers), share in rows:
        look = " class='text'" if len(name) > _LONG else ""
        cells = "".join(f"<td class='n'>{html.escape(text)}</td>" for text in numbers)
        lines.append(
            f"<tr><th scope='row'{look}>{html.escape(name)}</th>{cells}"
            f"<td class='bars'><svg role='img' aria-label='{share:.1%}'>"
            f"<rect width='{share:.2%}' height='12' class='bar'/></svg></td></tr>"
        )
    return _framed("".join(lines), caption)
