"""Commands run in this process, on a run whose students were never trained."""

import io
import sys

import pytest

from lmcodistill import cli
from tests.support import untrained_run


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory):
    return untrained_run.make(tmp_path_factory.mktemp("commands") / "RUN")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    return untrained_run.make_data(tmp_path_factory.mktemp("commands") / "DATA")


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs a command whose standard input is a pipe; returns code, out and err."""

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = cli.main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run
