"""Tables at a terminal, of which nothing is cut where it is narrow."""

import textwrap
from collections.abc import Sequence
from typing import Literal

import rich.box
import rich.console
import rich.measure
import rich.table
import rich.text

# Of several words one below the other.
_NARROW_COLUMNS = 10


def narrow(text: str) -> str:
    """Returns the words of a heading, or of a cell, one below the other."""
    return "\n".join(textwrap.wrap(text, _NARROW_COLUMNS, break_long_words=False))


def show(
    console: rich.console.Console,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str = "",
) -> None:
    """Prints a table; where it does not fit, each row as a block of lines.

    The first cell of a row is its name. Cells are printed as they are, without markup.
    """
    console.print()
    unbounded = console.options.update(width=1 << 16)
    for gap in (2, 1):
        table = _table(head, rows, title, gap)
        measured = rich.measure.Measurement.get(console, unbounded, table)
        if measured.maximum <= console.width:
            console.print(table)
            return
    if title:
        console.print(rich.text.Text(title, style="italic"))
    width = max(map(len, head[1:]), default=0)
    for name, *cells in rows:
        console.print(rich.text.Text(name))
        for heading, cell in zip(head[1:], cells, strict=True):
            value = " ".join(cell.split("\n"))
            line = rich.text.Text(f"  {heading:<{width}}  {value}")
            console.print(line, soft_wrap=True)


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], title: str, gap: int
) -> rich.table.Table:
    """Returns a table with so many spaces between its columns."""
    table = rich.table.Table(
        title=title or None,
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,  # Which has a space there already.
        show_edge=False,
        pad_edge=False,
        padding=(0, gap - 1, 0, 0),
    )
    for heading, *cells in zip(map(narrow, head), *rows, strict=True):
        is_text = any(c.isalpha() for cell in cells for c in cell)
        justify: Literal["left", "right"] = "left" if is_text else "right"
        table.add_column(rich.text.Text(heading), justify=justify, no_wrap=True)
    for row in rows:
        table.add_row(*map(rich.text.Text, row))
    return table
