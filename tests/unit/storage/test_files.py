"""Small files: whole or not at all, and refused where they are no manifest."""

import hashlib
import os

import pytest

from lmcodistill import errors
from lmcodistill.storage import files


def test_write_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    files.write_text(path, "für alle")

    assert path.read_bytes() == b"f\xc3\xbcr alle"
    assert list(tmp_path.iterdir()) == [path]


def test_reader_who_opened_the_old_file_goes_on_reading_it(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    with open(path) as reader:
        files.write_text(path, "new")
        assert reader.read() == "old"


def test_json_comes_back(tmp_path):
    value = {"b": [1, 2.5, None], "a": "ü"}
    files.write_text(tmp_path / "a.json", files.to_json(value))

    assert files.read_json(tmp_path / "a.json") == value


def test_json_of_16_levels_is_read(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ' + "[" * 15 + "]" * 15 + "}")

    assert "a" in files.read_json(tmp_path / "a.json")


def test_json_text_does_not_depend_on_the_order_of_keys():
    assert files.to_json({"b": 1, "a": 2}) == files.to_json({"a": 2, "b": 1})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1', "not readable JSON"),
        (b"", "not readable JSON"),
        (b"\xff\xfe", "not readable JSON"),
        (b"[" * 100_000, "not readable JSON"),
        (b"[1]", "holds a JSON list; an object was expected"),
        (b"null", "holds a JSON NoneType"),
        (b'{"a": ' * 17 + b"1" + b"}" * 17, "more than 16 levels deep"),
        (b'{"a": ' + b"[" * 16 + b"]" * 16 + b"}", "more than 16 levels deep"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path, content, reason):
    path = tmp_path / "a.json"
    path.write_bytes(content)

    with pytest.raises(errors.DataError, match=reason):
        files.read_json(path)


def test_json_is_read_up_to_the_limit_and_no_further(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')

    assert files.read_json(path, max_bytes=8) == {"a": 1}
    with pytest.raises(errors.DataError, match="more than the 7 bytes"):
        files.read_json(path, max_bytes=7)


def test_terabytes_are_refused_without_being_read(tmp_path):
    path = tmp_path / "a.json"
    path.touch()
    os.truncate(path, 1 << 40)

    with pytest.raises(errors.DataError, match="more than the 1,048,576 bytes"):
        files.read_json(path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: None])
def test_what_is_no_regular_file_is_refused(tmp_path, make):
    make(tmp_path / "a.json")

    with pytest.raises(errors.DataError, match="no regular file|does not exist"):
        files.read_json(tmp_path / "a.json")


def test_digest_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")

    assert files.sha256_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
