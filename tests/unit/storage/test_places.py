"""Places: what they say of themselves, and files that only one process creates.

How an object store behaves is in `tests/integration/test_object_store.py`.
"""

import errno
import os
import pathlib
import subprocess
import sys

import pytest
import upath

from lmcodistill import errors
from lmcodistill.storage import faults, places

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_path_is_local_and_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")

    assert places.place("run") == tmp_path / "run"
    assert places.place("~/run") == pathlib.Path("/home/somebody/run")
    assert places.is_local(places.place("run"))


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


def test_only_the_first_creates_a_file(tmp_path):
    assert places.create(tmp_path / "a", b"mine")
    assert not places.create(tmp_path / "a", b"yours")

    assert (tmp_path / "a").read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_file_is_created_where_there_are_no_links(tmp_path, monkeypatch):
    # As on FAT, or some storage mounted through FUSE; none of it is at hand here.
    def refuse(*paths):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)

    assert places.create(tmp_path / "a", b"mine")
    assert not places.create(tmp_path / "a", b"yours")

    assert (tmp_path / "a").read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_request_that_was_granted_and_repeated_is_still_granted(tmp_path, monkeypatch):
    # An NFS client whose server's answer was lost asks again, and is told no.
    link = os.link

    def link_twice(*paths):
        link(*paths)
        link(*paths)

    monkeypatch.setattr(os, "link", link_twice)

    assert places.create(tmp_path / "a", b"mine")
    assert not places.create(tmp_path / "a", b"yours")


CREATOR = """
import pathlib, sys
from lmcodistill.storage import places
names = [pathlib.Path(sys.argv[1], str(index)) for index in range(200)]
sys.stdin.readline()  # All start together.
print(sum(places.create(name, sys.argv[2].encode()) for name in names))
"""


@pytest.mark.parametrize("links", ["with links", "without links"])
def test_every_file_has_one_creator_of_many_processes(tmp_path, links):
    without = "import os\ndef no(*a): raise OSError(95, 'no')\nos.link = no\n"
    code = (without if links == "without links" else "") + CREATOR
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), f"process {index}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(4)
    ]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    created = [int(process.communicate()[0]) for process in processes]

    assert sum(created) == 200
    assert len(list(tmp_path.iterdir())) == 200
    for path in tmp_path.iterdir():
        assert path.read_bytes().startswith(b"process ")


def test_storage_that_cannot_create_exclusively_is_refused():
    where = upath.UPath("ftp://nowhere/run/lease", skip_instance_cache=True)
    where._fs_cached = None  # Nobody is asked.

    with pytest.raises(errors.UsageError, match="ftp:// cannot create a file only if"):
        places.create(where, b"")


def test_server_that_overwrites_what_it_should_create_is_found_out(monkeypatch):
    where = places.place("memory://overwrites/lease")
    monkeypatch.setattr(
        type(where.fs), "pipe_file", lambda self, path, value, mode: None
    )

    with pytest.raises(errors.UsageError, match="overwrites what it was asked to"):
        places.create(where, b"mine")


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
