"""What the tests of storage share."""

import pytest

from lmcodistill.storage import faults


@pytest.fixture(autouse=True)
def count_passes_from_one():
    """Faults count the passes of a process, which all tests are in."""
    faults.forget()
