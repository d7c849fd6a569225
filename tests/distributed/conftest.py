"""Real runs: real prep, real processes, real TF_CONFIG; models of a few weights."""

import pathlib
import subprocess
from collections.abc import Callable

import pytest

from tests.support import tiny_run


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[str]]:
    """Starts `lmcodistill ARGUMENTS...` and returns at once."""
    return tiny_run.start


@pytest.fixture(scope="session")
def finish() -> Callable[..., str]:
    """Runs a command to its end and returns what it printed; it must succeed."""
    return tiny_run.finish


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> pathlib.Path:
    """Two partitions of the language reference that Python carries."""
    return tiny_run.make_data(tmp_path_factory.mktemp("data"))
