"""Places: what a person may name, and what they say of themselves.

How an object store behaves is in `tests/integration/test_object_store.py`.
"""

import errno
import os
import pathlib

import pytest

from lmcodistill import errors
from lmcodistill.storage import faults, places

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_path_is_local_and_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")

    assert places.place("run") == tmp_path / "run"
    assert places.place("~/run") == pathlib.Path("/home/somebody/run")
    assert places.is_local(places.place("run"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("~nobody-of-this-name/run", "nobody of that name has a home folder here"),
        ("x" * 300, "File name too long"),
        ("gr\udcfcn", "no UTF-8 text"),
        ("a\0b", "cannot be a path"),
    ],
)
def test_what_no_path_can_be_is_refused(text, says):
    for name in (places.place, places.local):
        with pytest.raises(errors.UsageError, match=says):
            name(text)


def test_links_that_lead_in_a_circle_are_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    with pytest.raises(errors.UsageError, match="cannot be a path"):
        places.place(str(tmp_path / "a" / "run"))


@pytest.mark.parametrize("text", ["s3://bucket/run", "memory://a", "nothing://a"])
def test_a_url_is_refused_where_a_path_must_be(text):
    for name in (places.local, places.pattern):
        with pytest.raises(errors.UsageError, match="is a URL, and a path was"):
            name(text)


def test_the_url_of_a_file_is_a_path_and_patterns_stay_what_they_are(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")

    assert places.local("file:///a/run") == pathlib.Path("/a/run")
    assert places.pattern("~/*.jsonl") == "/home/somebody/*.jsonl"
    assert places.pattern("gr\udcfcn/*") == "gr\udcfcn/*"


@pytest.mark.parametrize("text", ["file:///a/run", "local:///a/run"])
def test_url_of_a_file_is_a_path(text):
    assert places.place(text) == pathlib.Path("/a/run")


@pytest.mark.parametrize("text", ["memory://a/run", "memory://a/run/", "s3://a/run/"])
def test_url_is_remote_and_its_end_does_not_matter(text):
    where = places.place(text)

    assert not places.is_local(where)
    assert str(where / "students/0").endswith("://a/run/students/0")
    assert (where.name, (where / "students/0").name) == ("run", "0")


@pytest.mark.parametrize("text", ["s4://bucket/run", "s3://", "s3:///"])
def test_url_that_cannot_be_used_is_refused(text):
    with pytest.raises(errors.UsageError, match="cannot be used|names no bucket"):
        places.place(text)


def test_names_are_those_of_the_folder(tmp_path):
    for name in ("b", ".hidden", "a"):
        (tmp_path / name).touch()

    assert sorted(places.names_in(tmp_path)) == [".hidden", "a", "b"]
    assert places.names_in(tmp_path / "not there") == []
    assert places.names_in(tmp_path / "a") == []


def test_what_is_no_regular_file_is_none(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")

    found = [places.is_file(tmp_path / n) for n in ("file", "folder", "pipe", "no")]

    assert found == [True, False, False, False]
    assert not places.is_file(tmp_path / "file" / "below")


@pytest.mark.parametrize("look", [places.is_file, places.names_in, places.remove_file])
def test_failure_is_not_taken_for_an_absence(tmp_path, look):
    with pytest.raises(OSError, match="too long"):
        look(tmp_path / ("x" * 300))


def test_whatever_a_library_raises_is_an_os_error():
    with pytest.raises(OSError, match="NoCredentials: none") as raised:  # noqa: SIM117
        with places.storage_errors():
            raise type("NoCredentials", (Exception,), {})("none")

    assert raised.value.errno == errno.EIO


@pytest.mark.parametrize("error", [FileNotFoundError("x"), errors.DataError("x")])
def test_errors_with_a_meaning_keep_it(error):
    with pytest.raises(type(error)), places.storage_errors():
        raise error


def test_removing_what_is_not_there_does_nothing(tmp_path):
    places.remove_file(tmp_path / "a")
    places.remove_tree(tmp_path / "b")


def test_file_is_read_up_to_the_limit_and_one_byte_more(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)

    sizes = [
        sum(map(len, places.read_chunks(tmp_path / "a", limit)))
        for limit in (0, 10, 2_999_999, 3_000_000, 4_000_000)
    ]

    assert sizes == [1, 11, 3_000_000, 3_000_000, 3_000_000]


def test_links_are_followed_only_where_asked(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "link").symlink_to("a")

    with pytest.raises(places.SpecialFileError):
        list(places.read_chunks(tmp_path / "link", 10))
    assert list(places.read_chunks(tmp_path / "link", 10, follow_links=True)) == [b"x"]


def test_refused_files_are_not_left_open(tmp_path):
    (tmp_path / "folder").mkdir()
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(10):
        with pytest.raises(places.SpecialFileError):
            list(places.read_chunks(tmp_path / "folder", 10))

    assert len(os.listdir("/proc/self/fd")) == before


def test_reading_is_a_point_of_faults(tmp_path, monkeypatch):
    monkeypatch.setenv(faults.VARIABLE, "storage.read@1:fail")
    (tmp_path / "a").write_bytes(b"x")

    with pytest.raises(OSError, match="asked for at storage.read"):
        list(places.read_chunks(tmp_path / "a", 10))


def test_folder_that_everybody_may_write_to_is_known(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    seen = []

    for mode in (0o755, 0o777, 0o1777):  # The last is as /tmp is: own files only.
        folder.chmod(mode)
        seen.append(places.is_open_to_all(folder / "."))

    assert seen == [False, True, False]


@pytest.mark.parametrize(
    ("number", "code"), [(errno.EROFS, 4), (errno.EACCES, 4), (errno.EIO, 75)]
)
def test_failing_storage_ends_a_process_with_a_code_that_says_what_helps(number, code):
    with pytest.raises(errors.LmcodistillError) as failure, places.failures_named():
        raise OSError(number, "as asked for")

    assert failure.value.exit_code == code
