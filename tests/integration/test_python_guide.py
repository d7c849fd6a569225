"""The examples of the guide to the Python interface, run as they stand."""

import pathlib
import re
import shlex

import nbclient
import nbformat
import pytest

from lmcodistill import cli
from tests.support import untrained_run

GUIDE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "guide"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> pathlib.Path:
    """A working directory with RUN and DATA."""
    untrained_run.make(tmp_path / "RUN")
    untrained_run.make_data(tmp_path / "DATA", repeats=20)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_examples_run_in_their_order(folder, capsys):
    blocks = re.findall(
        r"^```(\w+)\n(.*?)^```$", (GUIDE / "python.md").read_text(), re.M | re.S
    )
    names: dict[str, object] = {}

    for language, block in blocks:
        if language == "python":
            exec(compile(block, f"the example {block[:60]!r}", "exec"), names)
        else:
            program, *arguments = shlex.split(block)
            assert (language, program) == ("bash", "lmcodistill")
            assert cli.main(arguments) == 0

    assert len(blocks) > 8
    assert len(names["validation"]) == 4
    # What the served model says is what the page's own score says.
    texts = [text.decode() for text in names["texts"].numpy()]
    for nats, score in zip(
        names["scores"]["cross_entropy"].numpy(),
        names["student"].score(texts),
        strict=True,
    ):
        assert nats > 0.0 and score.nats > 0.0
    assert "holds no committed export" in capsys.readouterr().out


def test_notebook_runs_to_its_end(folder, monkeypatch):
    root = GUIDE.parents[1]
    monkeypatch.setenv("PYTHONPATH", str(root))
    notebook = nbformat.read(GUIDE / "python.ipynb", as_version=4)

    nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(folder)}}
    ).execute()

    outputs = [
        output
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    drawn = [o for o in outputs if "image/png" in o.get("data", {})]
    said = "".join(o.text for o in outputs if o.output_type == "stream")
    assert len(drawn) == 2
    assert "ensemble of 2" in said
    assert [o.text for o in outputs if o.get("name") == "stderr"] == []


def test_notebook_is_kept_without_results(folder):
    # They would change with every machine, and be read as this version's.
    notebook = nbformat.read(GUIDE / "python.ipynb", as_version=4)

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
