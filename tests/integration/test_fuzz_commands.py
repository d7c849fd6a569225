"""Odd command lines, every flag of every command: one message, the right code.

Ten thousand of them are `python -m tools.fuzz.commands`.
"""

import pytest

from lmcodistill.commands import catalogue
from tools.fuzz import command_lines, commands


def test_every_flag_ends_with_a_message_and_the_right_code(tmp_path):
    flags = command_lines.Grammar().every

    found = commands.run(seed=4, lines=4 * len(flags), workers=2, root=tmp_path)

    assert [f["what"] for f in found.failures] == []
    assert found.flags == set(flags)
    assert found.lines == 4 * len(flags)
    assert found.exit_codes["begins"] > 50
    assert found.exit_codes["2"] > 50


def test_the_grammar_knows_lines_of_every_command():
    assert command_lines.GOOD.keys() == catalogue.COMMANDS.keys()


@pytest.mark.parametrize(
    ("code", "err", "line", "says"),
    [
        (1, "oh", {}, "exit code 1"),
        (0, "", {"must_refuse": True}, "2 was expected"),
        (2, "no", {"must_work": True}, "is a line that works"),
        (2, "no\n" * 7, {}, "says 7 lines"),
        (2, "", {}, "says nothing"),
        (2, "Traceback (most recent call last)", {}, "prints a traceback"),
        (2, "no", {"arguments": ("plan", "--json")}, "--json printed"),
        (2, "no", {}, ""),
        (None, "", {"must_work": True}, ""),
    ],
)
def test_what_a_line_must_not_do_is_found(code, err, line, says):
    given = {"arguments": ("plan",), "flag": "plan --json", **line}

    fault = commands.fault_of(
        command_lines.Line(**given), commands.Outcome(code, "", err)
    )

    assert (says in fault) if says else not fault
