"""A run whose students were never trained, and the text they are scored on."""

import pytest

from tests.support import untrained_run


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory):
    return untrained_run.make(tmp_path_factory.mktemp("inference") / "RUN")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    return untrained_run.make_data(tmp_path_factory.mktemp("inference") / "DATA")
