"""The dispatcher: what it imports, what it passes on, what it makes of errors."""

import errno
import importlib.util
import json
import subprocess
import sys
import time

import pytest

from lmcodistill import cli, commands
from lmcodistill.commands import catalogue

COMMANDS = [
    name
    for name in catalogue.COMMANDS
    if importlib.util.find_spec(f"lmcodistill.commands.{name}")
]

# A command as an engineer would write one.
PLAIN = '''
"""Says what it was given.

Examples:
  lmcodistill plain --word=tree
"""
import json
from lmcodistill import errors

def define_flags(define):
    define.string("word", "leaf", "What to say.")
    define.require("word")
    define.integer("count", 1, "How often.")
    define.heading("Voice")
    define.enum("tone", "low", ["low", "high"], "How.")
    define.bool("loud", False, "Whether.")
    define.float("speed", 1.0, "How fast.", 0.0)

def run(flag_values):
    flag_values.refuse_missing()
    if flag_values.word == "data":
        raise errors.DataError("DATA is empty.")
    if flag_values.word == "bug":
        raise KeyError("a bug")
    if flag_values.word == "memory":
        raise MemoryError("Unable to allocate 7. TiB")
    if flag_values.word == "tensors":
        raise type("ResourceExhaustedError", (Exception,), {})("OOM when\\nallocating")
    if flag_values.word.isdecimal():
        raise OSError(int(flag_values.word), "of the system", "a/file")
    if flag_values.word == "stop":
        raise KeyboardInterrupt
    if flag_values.word == "seven":
        return 7
    names = ("word", "count", "loud", "gin_file", "gin_bindings", "json")
    print(json.dumps({name: getattr(flag_values, name) for name in names}))
'''

POSITIONAL = '''
"""Takes one argument."""
ARGUMENTS = "RUN"

def define_flags(define):
    pass

def run(flag_values, arguments):
    print(arguments)
'''


@pytest.fixture
def main(tmp_path, monkeypatch, capsys):
    """Runs `cli.main` with the two commands above; returns code, out and err."""
    (tmp_path / "plain.py").write_text(PLAIN)
    (tmp_path / "positional.py").write_text(POSITIONAL)
    monkeypatch.setattr(commands, "__path__", [str(tmp_path), *commands.__path__])
    for name in ("plain", "positional"):
        monkeypatch.setitem(catalogue.COMMANDS, name, "A command.")
        monkeypatch.delitem(sys.modules, f"lmcodistill.commands.{name}", raising=False)

    def run(*arguments):
        code = cli.main(arguments)
        return code, *capsys.readouterr()

    return run


def test_command_gets_its_flags_and_the_common_ones(main):
    code, out, _ = main(
        "plain",
        "--word=tree",
        "--gin_file=a.gin",
        "--gin.SEED=3",
        "--gin_file",
        "b.gin",
        "--noloud",
        "--gin.Training.seed=%SEED",
        "--json",
    )

    assert json.loads(out) == {
        "word": "tree",
        "count": 1,
        "loud": False,
        "gin_file": ["a.gin", "b.gin"],
        "gin_bindings": ["SEED=3", "Training.seed=%SEED"],
        "json": True,
    }
    assert code == 0


def test_bindings_with_commas_and_equal_signs_stay_whole(main):
    _, out, _ = main("plain", "--gin.PATHS=('a=1', 'b')")

    assert json.loads(out)["gin_bindings"] == ["PATHS=('a=1', 'b')"]


def test_flags_may_follow_positional_arguments(main):
    assert main("positional", "RUN", "--json")[:2] == (0, "['RUN']\n")


def test_after_two_dashes_everything_is_positional(main):
    assert main("positional", "--", "--gin.X=1")[:2] == (0, "['--gin.X=1']\n")


def test_command_without_arguments_refuses_them(main):
    assert main("plain", "extra")[::2] == (
        2,
        "lmcodistill plain: 'extra' belongs to no flag, and plain takes flags only. A "
        "value with spaces or stars needs quotes.\n",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        *(("--count=few",), ("--tone=shrill",), ("--count=1.5",), ("--count=",)),
        *(("--noloud=1",), ("--loud=perhaps",), ("--nocount",), ("--noword=1",)),
        *(("--speed=nan",), ("--speed=inf",), ("--speed=-1",), ("--speed=1e999",)),
        *(("--count=" + "9" * 30,), ("--count=" + "9" * 5_000,), ("--count",)),
        *(("--flagfile=/dev/zero",), ("--speed=fast",), ("--=1",)),
    ],
)
def test_bad_flag_value_exits_2_without_a_traceback(main, arguments):
    code, _, err = main("plain", *arguments)

    assert code == 2
    assert err.startswith("lmcodistill plain: ")
    assert "Traceback" not in err
    assert err.count("\n") == 1


def test_help_shows_docstring_and_the_flags_of_the_command_by_group(main):
    code, out, _ = main("plain", "--help")

    assert code == 0
    assert (
        out
        == """\
Usage: lmcodistill plain [flags]

Says what it was given.

Examples:
  lmcodistill plain --word=tree

Flags:
  --word VALUE (required)
      What to say. (default: leaf)
  --count N
      How often. (default: 1)

Voice:
  --tone low|high
      How. (default: low)
  --[no]loud
      Whether. (default: false)
  --speed NUMBER
      How fast. (default: 1.0)

Configuration:
  --gin_file VALUE
      A gin file, or the name of a shipped one. Later files win, and
      --gin.NAME=VALUE wins over files. May be given again.
  --gin.NAME=VALUE
      Sets a knob, or a field: Class.field. What one means:
      `lmcodistill configs explain NAME`.

Of every command:
  --[no]json
      Print one JSON object on standard output, for programs. (default: false)
  --help
      Show this.
"""
    )


def test_flag_that_is_required_is_asked_for(main):
    assert main("plain", "--word=") == (
        2,
        "",
        "lmcodistill plain: --word is missing; `--help` has examples.\n",
    )


def test_error_keeps_its_exit_code_and_json_carries_it(main):
    assert main("plain", "--word=data", "--json") == (
        3,
        '{"error": "DATA is empty.", "exit_code": 3}\n',
        "lmcodistill plain: DATA is empty.\n",
    )


@pytest.mark.parametrize(
    ("word", "code", "says"),
    [
        ("memory", 2, "not enough memory (Unable to allocate 7. TiB)"),
        ("tensors", 2, "not enough memory (OOM when allocating)"),
        (f"{errno.EACCES}", 2, "a/file: of the system. Give another path"),
        (f"{errno.EROFS}", 2, "a/file: of the system. Give another path"),
        (f"{errno.ENOSPC}", 3, "a/file: of the system. Storage failed"),
    ],
)
def test_what_the_system_refuses_is_one_message(main, word, code, says):
    exit_code, _, err = main("plain", f"--word={word}")

    assert exit_code == code
    assert says in err
    assert err.count("\n") == 1


def test_other_words_of_the_system_are_a_bug(main):
    with pytest.raises(OSError, match="of the system"):
        main("plain", f"--word={errno.EINVAL}")


def test_number_that_a_command_returns_is_the_exit_code(main):
    assert main("plain", "--word=seven")[0] == 7


def test_interrupt_exits_130(main):
    assert main("plain", "--word=stop")[0] == 130


def test_bug_keeps_its_traceback(main):
    with pytest.raises(KeyError, match="a bug"):
        main("plain", "--word=bug")


QUICK = [
    *(("--help",), ("--version",), ("configs", "list"), ("configs", "--help")),
    *(("train", "--help"), ("help", "check"), ("generate", "--help")),
]
QUICK_MISTAKES = [
    *(("confgs",), ("train", "--steps=5"), ("check", "--gin.SEED", "5")),
    *((command, "--nosuchflag") for command in catalogue.COMMANDS),
]


def answer(arguments, expected_code=0):
    """Runs a command in a fresh process; returns its heavy imports and seconds."""
    program = (
        "import json, sys\nfrom lmcodistill import cli\n"
        f"code = cli.main({list(arguments)})\n"
        "heavy = {'tensorflow', 'numpy', 'data_prep', 'rich', 'fsspec'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules))), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert done.returncode == expected_code, done.stderr
    return json.loads(done.stderr.splitlines()[-1]), time.monotonic() - started


@pytest.mark.parametrize("arguments", QUICK, ids=" ".join)
def test_quick_answers_come_without_heavy_imports_within_a_second(arguments):
    # The best of three, because other tests may keep the machine busy.
    answers = [answer(arguments) for _ in range(3)]

    assert answers[0][0] == []
    assert min(seconds for _, seconds in answers) < 1.0


@pytest.mark.parametrize("arguments", QUICK_MISTAKES, ids=" ".join)
def test_mistakes_are_answered_without_heavy_imports(arguments):
    assert answer(arguments, expected_code=2)[0] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_comes_without_tensorflow(command):
    heavy, _ = answer((command, "--help"))

    assert "tensorflow" not in heavy


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command):
    module = importlib.import_module(f"lmcodistill.commands.{command}")

    assert f"Examples:\n  lmcodistill {command}" in module.__doc__
