"""What documents and docstrings point to is there: commands, links, files."""

import importlib.util
import pathlib
import re
import runpy
import sys

import pytest

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


@pytest.mark.parametrize("path", reference.PAGES, ids=lambda path: path.name)
def test_reference_is_what_the_code_says(path):
    assert path.read_text() == reference.PAGES[path](), "python -m tools.reference"
