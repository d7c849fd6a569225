"""What the tests of exports share: an export on disk to spoil."""

import pytest

from tests.support import spoilt_exports


@pytest.fixture(scope="session")
def whole_bench(tmp_path_factory):
    return spoilt_exports.Bench(tmp_path_factory.mktemp("bench"), seed=4)


@pytest.fixture
def bench(whole_bench):
    """An export on disk to spoil, whole when a test begins."""
    whole_bench.repair()
    return whole_bench
