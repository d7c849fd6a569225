"""What `compare` makes of its flags."""

import pytest

from lmcodistill.commands import compare
from lmcodistill.training import job


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], 32 * 32),
        (["WINDOW=16"], 32 * 16),
        (["Batches.window=8"], 32 * 8),
        (["GLOBAL_BATCH_SIZE=64", "WINDOW=16"], 64 * 16),
        (["Batches.global_batch_size=8"], 8 * 32),
    ],
)
def test_tokens_of_a_step_follow_what_a_variant_sets(settings, expected):
    config = job.load(["runs/experiment_ptb"], settings)

    assert compare._tokens_of_step(config) == expected
