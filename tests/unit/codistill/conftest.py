"""What the tests of codistillation share with those of exports."""

from tests.unit.exports.conftest import (  # noqa: F401
    config,
    make_export,
    vocabulary,
)
