"""`import lmcodistill`: what it names, what it costs, what it reads of a run."""

import importlib
import json
import pathlib
import re
import subprocess
import sys

import pytest

import lmcodistill
from lmcodistill import errors
from lmcodistill.storage import layout
from tests.support import untrained_run


def in_a_new_process(program):
    """Returns what a program prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys\n{program}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_is_free_of_tensorflow_and_of_all_that_is_heavy():
    heavy = in_a_new_process(
        "import lmcodistill\n"
        "dir(lmcodistill), lmcodistill.__version__, lmcodistill.errors.DataError\n"
        "print(json.dumps(sorted({'tensorflow', 'numpy'} & set(sys.modules))))"
    )

    assert heavy == []


@pytest.mark.parametrize("asked", ["lmcodistill.load", "lmcodistill.read_metrics"])
def test_functions_are_there_before_tensorflow_is(asked):
    loaded = in_a_new_process(
        f"import lmcodistill\n{asked}\nprint(json.dumps('tensorflow' in sys.modules))"
    )

    assert loaded is False


def test_mistake_is_told_before_tensorflow_is_imported(tmp_path):
    told = in_a_new_process(
        "import lmcodistill\n"
        f"try: lmcodistill.load({str(tmp_path)!r})\n"
        "except lmcodistill.errors.SnapshotError as error: said = str(error)\n"
        "print(json.dumps([said, 'tensorflow' in sys.modules]))"
    )

    assert told[0].startswith(f"{tmp_path} holds no committed export. Give ")
    assert told[1] is False


def test_every_public_name_is_there_and_explains_itself():
    for name in lmcodistill.__all__:
        value = getattr(lmcodistill, name)

        assert name in dir(lmcodistill)
        assert value.__doc__


def test_lazy_names_are_those_a_type_checker_sees():
    for name, module in lmcodistill._MODULES.items():
        defined = getattr(importlib.import_module(f"lmcodistill.{module}"), name)

        assert defined.__module__ == f"lmcodistill.{module}"


def test_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        lmcodistill.laod  # noqa: B018


def test_metrics_are_rows_of_all_students_in_order(tmp_path):
    run = untrained_run.make(tmp_path / "RUN")

    rows = lmcodistill.read_metrics(run)

    assert [(r["student"], r["kind"], r["step"]) for r in rows] == [
        (student, kind, step)
        for student in (0, 1)
        for step in (50, 100)
        for kind in ("train", "validation")
    ]
    assert rows[-1]["cross_entropy"] == 2.0


def test_line_that_is_still_written_is_left_out(tmp_path):
    run = untrained_run.make(tmp_path, students=1)
    with open(layout.RunLayout(run).student(0).metrics, "a") as file:
        file.write('{"kind": "trai')

    assert len(lmcodistill.read_metrics(run)) == 4


def test_folder_without_students_is_refused(tmp_path):
    with pytest.raises(errors.UsageError, match="holds no students"):
        lmcodistill.read_metrics(tmp_path)


def test_type_checkers_are_told_of_the_same_names():
    stub = pathlib.Path(lmcodistill.__file__).with_suffix(".pyi").read_text()

    told = re.findall(r"import (\w+) as \1$", stub, re.MULTILINE)
    assert sorted(told) == sorted(lmcodistill.__all__)
