"""Tables at a terminal, of which nothing is cut."""

import io

import pytest
import rich.console

from lmcodistill.report import terminal

HEAD = ("arm", "nats per token", "difference (95 %)")
ROWS = [
    ("pooled", "3.0000", "-"),
    ("codistilled", "12.9000", "-0.1 (-0.2 to [0.0])"),
]


@pytest.fixture
def shown():
    """Returns the lines of a table at a terminal of so many columns."""

    def show(columns, **more):
        out = io.StringIO()
        terminal.show(rich.console.Console(file=out, width=columns), HEAD, ROWS, **more)
        return [line.rstrip() for line in out.getvalue().splitlines()]

    return show


def test_table_folds_headings_and_puts_numbers_below_each_other(shown):
    # 11 + 8 + 20 columns (`nats per`; the longest cell) and two gaps of 2 spaces.
    assert shown(43) == [
        "",
        "             nats per  difference",
        "arm             token  (95 %)",
        "─" * 43,
        "pooled         3.0000  -",
        "codistilled   12.9000  -0.1 (-0.2 to [0.0])",
    ]


def test_gaps_shrink_before_the_table_is_given_up(shown):
    assert shown(42)[-1] == "codistilled  12.9000 -0.1 (-0.2 to [0.0])"


def test_row_is_a_block_of_lines_where_the_table_does_not_fit(shown):
    assert shown(40, title="all tokens") == [
        "",
        "all tokens",
        "pooled",
        "  nats per token     3.0000",
        "  difference (95 %)  -",
        "codistilled",
        "  nats per token     12.9000",
        "  difference (95 %)  -0.1 (-0.2 to [0.0])",
    ]


def test_narrowed_cell_is_folded_in_a_table_and_one_line_of_a_block():
    cell = terminal.narrow("no difference that matters")
    lines = {}
    for columns in (13, 11):
        out = io.StringIO()
        console = rich.console.Console(file=out, width=columns)
        terminal.show(console, ("a", "b"), [("x", cell)])
        lines[columns] = [line.rstrip() for line in out.getvalue().splitlines()]

    assert lines[13][3:] == ["x  no", "   difference", "   that", "   matters"]
    assert lines[11][1:] == ["x", "  b  no difference that matters"]
