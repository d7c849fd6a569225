"""What several rooms' tests need: the checkout, and the program as people run it."""

import gc
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator

import pytest

from lmcodistill import tf_environment
from tests.support import object_store as object_store_lib

# Before any test imports TensorFlow, as the program does.
tf_environment.prepare()


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Starts TensorFlow as a worker does, and keeps what test files make."""
    if session.config.getoption("numprocesses", None):
        return (yield)  # It collects nothing: its processes do.
    tf_environment.start()
    gc.disable()
    result = yield
    gc.freeze()
    gc.enable()
    return result


ROOT = pathlib.Path(__file__).resolve().parents[1]

# Files of minutes, the longest first: one that began last would run on alone.
_LONGEST = (
    *("test_comparison", "test_supervisor", "test_soak", "test_resume"),
    *("test_transformer", "test_asynchronous", "test_variants"),
    # Of the unit tests.
    *("test_student", "test_guide", "test_recompute"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts real runs first, the longest files before all; xdist keeps the order.

    Real runs wait a lot, and the unit tests fill the cores meanwhile.
    """
    of_file = {name: rank for rank, name in enumerate(_LONGEST)}

    def rank(item: pytest.Item) -> tuple[bool, int]:
        is_real = item.get_closest_marker("distributed") is not None
        return not is_real, of_file.get(item.path.stem, len(of_file))

    items.sort(key=rank)


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def lmcodistill(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `lmcodistill ARGUMENTS...` in another process, in an empty folder."""

    def run(*arguments: str, timeout: float = 120.0, **environment: str):
        folder = tmp_path / "working_directory"
        folder.mkdir(exist_ok=True)
        return subprocess.run(
            [sys.executable, "-m", "lmcodistill", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def _object_store() -> Iterator[object_store_lib.ObjectStore]:
    with object_store_lib.running() as store:
        yield store


@pytest.fixture
def object_store(_object_store, monkeypatch) -> Iterator[object_store_lib.ObjectStore]:
    """An S3 server on loopback; this process and its children are its clients."""
    for name, value in _object_store.environment.items():
        monkeypatch.setenv(name, value)
    yield _object_store
    _object_store.start()
    _object_store.delay(0.0)
