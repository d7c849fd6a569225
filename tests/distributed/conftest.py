"""Real runs: real prep, real processes, real TF_CONFIG; models of a few weights."""

import pathlib
import subprocess
from collections.abc import Callable

import pytest

from tests.support import tiny_run

# Files of minutes, the longest first: one that began last would run on alone.
LONGEST = ("test_supervisor", "test_soak", "test_comparison", "test_asynchronous")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first; tools/test.sh keeps xdist from sorting them."""
    of_file = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: of_file.get(item.path.stem, len(of_file)))


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
