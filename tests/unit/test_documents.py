"""What documents and docstrings point to is there: commands, links, files."""

import importlib
import importlib.util
import pathlib
import re
import runpy
import sys

import pytest

from lmcodistill.commands import catalogue
from lmcodistill.supervision.states import StudentState
from tools import reference

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "data_prep/*.md", "lmcodistill/**/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"  # It tells of what was.
)
SOURCES = sorted(
    path
    for tree in ("lmcodistill", "data_prep", "tools", "tests", "gin")
    for path in (ROOT / tree).rglob("*")
    if path.suffix in (".py", ".sh", ".gin") and path != pathlib.Path(__file__)
)
# A call of the program, to the end of its line; and a flag of it.
CALL = re.compile(r"lmcodistill ([a-z]+) ((?:[^`\n])*)")
FLAG = re.compile(r"(?<![\w-])--(?:no)?([a-z]\w*)")
COMMAND = re.compile(r"python -m ((?:tools|tests)[\w.]*)( [a-z]+)?")


def commands() -> list[tuple[str, ...]]:
    """Returns the modules of this checkout that are run, with a benchmark's name."""
    found = set()
    for path in (*DOCUMENTS, *SOURCES):
        for module, word in COMMAND.findall(path.read_text()):
            is_named = module == "tools.bench" and word
            found.add((module, word.strip()) if is_named else (module,))
    return sorted(found)


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_program_that_a_document_names_gives_help(command, monkeypatch, capsys):
    module, *words = command
    if module == "tools.fuzz.guided" and importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed")
    monkeypatch.setattr(sys, "argv", [module, *words, "--help"])

    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")

    assert not ended.value.code
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text())

    lost = [x for x in links if "://" not in x and not (path.parent / x).exists()]
    assert lost == []


def test_documents_and_programs_that_are_named_exist():
    named = re.compile(r"(?<![\w/.])(?:docs|tools)/[\w./-]*\.(?:md|py|sh)\b")

    lost = {
        (str(path.relative_to(ROOT)), name)
        for path in (*DOCUMENTS, *SOURCES)
        for name in named.findall(path.read_text())
        if not (ROOT / name).exists()
    }
    assert lost == set()


def test_commands_that_are_shown_have_the_flags_they_are_given():
    known = {
        name: {flag.removeprefix("no") for flag in catalogue.flags_of(module)}
        | {"gin", "help"}
        for name in catalogue.COMMANDS
        for module in [importlib.import_module(f"lmcodistill.commands.{name}")]
    }

    unknown = {
        (str(path.relative_to(ROOT)), command, flag)
        for path in (*DOCUMENTS, *SOURCES)
        if path.parts[len(ROOT.parts)] != "tests"  # They make mistakes on purpose.
        for command, rest in CALL.findall(path.read_text().replace("\\\n", " "))
        if command in known
        for flag in FLAG.findall(rest)
        if flag not in known[command]
    }
    assert unknown == set()


@pytest.mark.parametrize("path", reference.PAGES, ids=lambda path: path.name)
def test_reference_is_what_the_code_says(path):
    assert path.read_text() == reference.PAGES[path](), "python -m tools.reference"


def test_troubleshooting_names_settings_states_and_refusals_that_exist():
    text = (ROOT / "docs/guide/troubleshooting.md").read_text()
    reference = (ROOT / "docs/guide/reference.md").read_text()
    program = "".join(p.read_text() for p in (ROOT / "lmcodistill").rglob("*.py"))
    knobs = set(re.findall(r"`([A-Z][A-Z0-9_]+)(?: = [^`]*)?`", text))
    flags = set(re.findall(r"--([a-z_]+)", text)) - {"json", "gin"}
    fields = {field for _, field in re.findall(r"`([A-Z]\w+)\.([a-z_]+)`", text)}
    states = re.findall(r"^\| ([a-z ]+) \|.*\|.*\|.*\|$", text, re.MULTILINE)
    kinds = re.findall(
        r"`([a-z_]+)`", text.partition("| kind |")[2].partition("\n\n")[0]
    )

    assert len(knobs) > 10 and len(flags) > 8 and len(fields) > 5 and len(kinds) > 8
    known = {"TF_CONFIG", "CUDA_VISIBLE_DEVICES"}
    assert {k for k in knobs - known if f"| `{k}` |" not in reference} == set()
    listed = re.findall(r"^\| `--([a-z_]+)", reference, re.MULTILINE)
    assert flags - {*listed} == set()
    assert {f for f in fields if f"| `{f}` |" not in reference} == set()
    assert {k for k in kinds if f'reason="{k}"' not in program} - {
        "missing_file"
    } == set()
    assert set(states) - {"state"} == {state.value for state in StudentState}
