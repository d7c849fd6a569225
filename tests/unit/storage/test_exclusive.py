"""Files that only one process creates."""

import errno
import os
import pathlib
import subprocess
import sys

import pytest
import upath

from lmcodistill import errors
from lmcodistill.storage import exclusive, places

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_only_the_first_creates_a_file(tmp_path):
    assert exclusive.create(tmp_path / "a", b"mine")
    assert not exclusive.create(tmp_path / "a", b"yours")

    assert (tmp_path / "a").read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_file_is_created_where_there_are_no_links(tmp_path, monkeypatch):
    # As on FAT, or some storage mounted through FUSE; none of it is at hand here.
    def refuse(*paths):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)

    assert exclusive.create(tmp_path / "a", b"mine")
    assert not exclusive.create(tmp_path / "a", b"yours")

    assert (tmp_path / "a").read_bytes() == b"mine"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_request_that_was_granted_and_repeated_is_still_granted(tmp_path, monkeypatch):
    # An NFS client whose server's answer was lost asks again, and is told no.
    link = os.link

    def link_twice(*paths):
        link(*paths)
        link(*paths)

    monkeypatch.setattr(os, "link", link_twice)

    assert exclusive.create(tmp_path / "a", b"mine")
    assert not exclusive.create(tmp_path / "a", b"yours")


CREATOR = """
import pathlib, sys
from lmcodistill.storage import exclusive
names = [pathlib.Path(sys.argv[1], str(index)) for index in range(200)]
sys.stdin.readline()  # All start together.
print(sum(exclusive.create(name, sys.argv[2].encode()) for name in names))
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
        exclusive.create(where, b"")


def test_server_that_overwrites_what_it_should_create_is_found_out(monkeypatch):
    where = places.place("memory://overwrites/lease")
    monkeypatch.setattr(
        type(where.fs), "pipe_file", lambda self, path, value, mode: None
    )

    with pytest.raises(errors.UsageError, match="overwrites what it was asked to"):
        exclusive.create(where, b"mine")
