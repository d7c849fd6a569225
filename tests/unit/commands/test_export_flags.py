"""The key that exports are signed with, as the flag gives it."""

import pytest
from absl import flags

from lmcodistill import errors
from lmcodistill.commands import command_flags, export_flags

KEY = b"sixteen bytes or more"


def key_of(path):
    values = flags.FlagValues()
    export_flags.define_key(command_flags.Definer(values))
    values(["lmcodistill", *([f"--export_key_file={path}"] if path else [])])
    return export_flags.key(values)


def test_key_is_the_bytes_of_its_file_and_none_without_one(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(KEY)
    path.chmod(0o600)

    assert key_of(path) == KEY
    assert key_of(None) is None


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (None, None, "does not exist. Make one: head -c 32"),
        (b"short", 0o600, "has 5 bytes; a key has at least 16"),
        (KEY, 0o644, "can be read by everybody .* chmod 600"),
        (KEY * 1_000, 0o600, "more than the 4,096 bytes"),
    ],
)
def test_file_that_can_be_no_key_is_refused_with_what_to_do(
    tmp_path, content, mode, says
):
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)

    with pytest.raises(errors.UsageError, match=says):
        key_of(path)
